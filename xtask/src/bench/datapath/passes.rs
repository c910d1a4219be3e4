//! How often a packet passes the backlog: the kernel's own tracepoint `net:netif_rx`, counted.

use std::{
    fs,
    net::UdpSocket,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{arms::Sites, udp};
use crate::process;

/// Packets that are sent to count the passes of.
const PACKETS: usize = 500;

/// Bytes of an IPv4 packet that nothing else here has: what the tracepoint calls `len`.
const LENGTH: usize = 999;

/// A trace instance of ours, without anybody else's events; removed when it is dropped.
struct Instance(PathBuf);

impl Instance {
    fn new(folder: &Path) -> Result<Self> {
        let mount = folder.join("tracefs");
        fs::create_dir_all(&mount)?;
        process::read(Command::new("mount").args(["-t", "tracefs", "tracefs"]).arg(&mount))?;
        let instance = Self(mount.join("instances/veth-agent-bench"));
        fs::create_dir_all(&instance.0).context("a trace instance")?;
        instance.write("events/net/netif_rx/filter", &format!("len == {LENGTH}"))?;
        instance.write("events/net/netif_rx/enable", "1")?;
        Ok(instance)
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.0.join(file);
        fs::write(&path, text).with_context(|| format!("{}", path.display()))
    }

    /// Events since it was last cleared.
    fn count(&self) -> Result<usize> {
        let trace = fs::read_to_string(self.0.join("trace")).context("trace")?;
        Ok(trace.lines().filter(|line| line.contains("netif_rx: ")).count())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
        let mount = self.0.parent().and_then(Path::parent);
        if let Some(mount) = mount {
            let _ = process::read(Command::new("umount").arg(mount));
        }
    }
}

/// Passes of a packet over each of these ways.
pub fn count(folder: &Path, ways: &[Sites]) -> Result<Vec<f64>> {
    let instance = Instance::new(folder)?;
    let mut passes = Vec::new();
    for sites in ways {
        instance.write("trace", "")?;
        let received = udp::exchange(sites, |from: &UdpSocket, to: &UdpSocket| {
            let mut buffer = [0; LENGTH];
            for _ in 0..PACKETS {
                // One after the other, so that none is lost.
                from.send(&[0x5a; LENGTH - 28])?;
                to.recv(&mut buffer)?;
            }
            Ok(PACKETS)
        })?;
        passes.push(instance.count()? as f64 / received as f64);
    }
    Ok(passes)
}
