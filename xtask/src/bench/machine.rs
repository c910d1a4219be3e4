//! The network that the benchmarks build, by iproute2 and as a topology file: both must come to
//! the same.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process;

/// How long the kernel may take to clear away what was deleted.
const PATIENCE: Duration = Duration::from_secs(120);

/// The addresses of pair `i`: a /30 of its own, host end first.
fn addresses(i: usize) -> (String, String) {
    let address = |n: usize| format!("10.{}.{}.{}", (n >> 16) & 255, (n >> 8) & 255, n & 255);
    (address(4 * i + 1), address(4 * i + 2))
}

/// `pairs` pairs, each from the host into a namespace of its own, as pods have them.
pub fn topology(pairs: usize) -> String {
    let mut text = String::from("namespaces:\n");
    for i in 0..pairs {
        let _ = writeln!(text, "  - name: vb{i}");
    }
    text.push_str("pairs:\n");
    for i in 0..pairs {
        let (host, pod) = addresses(i);
        let _ = writeln!(
            text,
            "  - name: vb{i}\n    ends:\n      - {{ interface: vb{i}, addresses: [{host}/30] }}\n      \
             - {{ namespace: vb{i}, interface: eth0, addresses: [{pod}/30], \
             routes: [{{ to: default, via: {host} }}] }}"
        );
    }
    text
}

/// The same for `ip -batch` on the host.
pub fn host_batch(pairs: usize) -> String {
    let mut text = String::new();
    for i in 0..pairs {
        let (host, _) = addresses(i);
        let _ = writeln!(text, "netns add vb{i}");
        let _ = writeln!(text, "link add vb{i} type veth peer name eth0 netns vb{i}");
        let _ = writeln!(text, "addr add {host}/30 dev vb{i}");
        let _ = writeln!(text, "link set vb{i} up");
    }
    text
}

/// The same for `ip -batch` inside each namespace.
pub fn inner_batches(pairs: usize) -> Vec<(String, String)> {
    let batch = |i| {
        let (host, pod) = addresses(i);
        let text = format!(
            "addr add {pod}/30 dev eth0\nlink set lo up\nlink set eth0 up\n\
             route add default via {host}\n"
        );
        (format!("vb{i}"), text)
    };
    (0..pairs).map(batch).collect()
}

/// Builds what `topology` declares, by iproute2.
pub fn build_by_ip(host: &str, inner: &[(String, String)]) -> Result<()> {
    ip_batch(&[], host)?;
    inner.iter().try_for_each(|(netns, batch)| ip_batch(&["-n", netns], batch))
}

/// Removes `pairs` namespaces, and with them the pairs.
pub fn remove_by_ip(pairs: usize) -> Result<()> {
    let mut batch = String::new();
    for i in 0..pairs {
        let _ = writeln!(batch, "netns delete vb{i}");
    }
    ip_batch(&[], &batch)
}

/// `pairs` pairs with both ends on the host: twice as many host ends.
pub fn host_pairs(pairs: usize) -> Result<()> {
    let mut batch = String::new();
    for i in 0..pairs {
        let _ = writeln!(batch, "link add vc{i} type veth peer name vd{i}");
        let _ = writeln!(batch, "link set vc{i} up\nlink set vd{i} up");
    }
    ip_batch(&[], &batch)
}

/// Removes what [`host_pairs`] made.
pub fn remove_host_pairs(pairs: usize) -> Result<()> {
    let mut batch = String::new();
    for i in 0..pairs {
        let _ = writeln!(batch, "link delete vc{i}");
    }
    ip_batch(&[], &batch)
}

/// Waits until the kernel has cleared away every deleted namespace, so that this does not disturb
/// what is measured next. It clears them in order: one more, with a pair into it, goes last.
pub fn settle() -> Result<()> {
    ip_batch(&[], "netns add vsettle\nlink add vsettle type veth peer name eth0 netns vsettle\n")?;
    ip_batch(&[], "netns delete vsettle\n")?;
    wait_until("clears away namespaces", || Ok(!link_exists("vsettle")))
}

/// How many BPF links there are on the whole machine.
pub fn bpf_links() -> Result<usize> {
    let links = process::read(Command::new("bpftool").args(["-j", "link", "show"]))?;
    let links: Vec<Value> = serde_json::from_str(&links).context("bpftool -j link show")?;
    Ok(links.len())
}

/// Waits until no more than `links` BPF links are left: those that lose their last pin go in the
/// background, one RCU grace period each, and hold RTNL meanwhile.
pub fn settle_links(links: usize) -> Result<()> {
    wait_until("detaches programs", || Ok(bpf_links()? <= links))
}

fn wait_until(what: &str, done: impl Fn() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !done()? {
        if start.elapsed() > PATIENCE {
            bail!("the kernel still {what} after {PATIENCE:?}");
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn link_exists(name: &str) -> bool {
    process::read(Command::new("ip").args(["link", "show", "dev", name])).is_ok()
}

/// How many veth ends the host has, and how many namespaces are named.
pub fn census() -> Result<(usize, usize)> {
    let links = process::read(Command::new("ip").args(["-o", "link", "show", "type", "veth"]))?;
    let netns = fs::read_dir("/run/netns").context("/run/netns")?.count();
    Ok((links.lines().count(), netns))
}

fn ip_batch(options: &[&str], batch: &str) -> Result<()> {
    let mut ip = Command::new("ip");
    ip.args(options).args(["-batch", "-"]).stdin(Stdio::piped());
    let mut child = ip.spawn().with_context(|| process::display(&ip))?;
    let mut stdin = child.stdin.take().context("stdin of ip")?;
    stdin.write_all(batch.as_bytes()).context("ip -batch stopped reading")?;
    drop(stdin);
    let status = child.wait()?;
    if !status.success() {
        bail!("{} failed: {status}", process::display(&ip));
    }
    Ok(())
}

/// Writes the topology of `pairs` into `folder`.
pub fn write_topology(folder: &Path, pairs: usize) -> Result<PathBuf> {
    let file = folder.join("topology.yaml");
    fs::write(&file, topology(pairs)).with_context(|| format!("{}", file.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_has_a_subnet_of_its_own() {
        assert_eq!(addresses(0), ("10.0.0.1".into(), "10.0.0.2".into()));
        assert_eq!(addresses(64), ("10.0.1.1".into(), "10.0.1.2".into()));
        assert_eq!(addresses(999).1, "10.0.15.158");
    }

    #[test]
    fn file_and_batches_name_the_same_things() {
        let (text, host, inner) = (topology(3), host_batch(3), inner_batches(3));
        assert_eq!(text.matches("interface: eth0").count(), 3);
        assert_eq!(host.matches("peer name eth0 netns").count(), 3);
        assert_eq!(inner.len(), 3);
        assert!(inner.iter().all(|(netns, _)| text.contains(&format!("namespace: {netns},"))));
    }
}
