//! Capture files.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

/// `struct pcap_file_header` of microseconds, version 2.4, whole frames, Ethernet.
const HEADER: [u32; 6] = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, 1];

/// Writes frames as tcpdump reads them.
pub fn write_pcap(file: &Path, frames: &[Vec<u8>]) -> Result<()> {
    let mut bytes: Vec<u8> = HEADER.iter().flat_map(|word| word.to_ne_bytes()).collect();
    for frame in frames {
        let length = u32::try_from(frame.len())?;
        bytes.extend([0, 0, length, length].iter().flat_map(|word| word.to_ne_bytes()));
        bytes.extend(frame);
    }
    fs::write(file, bytes).context("a capture file")
}

/// The frames of a capture file of either kind, whose interfaces are of one kind.
pub fn frames_of(file: &Path) -> Result<Vec<Vec<u8>>> {
    let converted = file.with_extension("converted");
    let mut convert = Command::new("tcpdump");
    convert
        .args(["-Z", "root"])
        .arg("-r")
        .arg(file)
        .arg("-w")
        .arg(&converted)
        .args(["-s", "65535"]);
    let done = convert.output().context("tcpdump")?;
    ensure!(done.status.success(), "{done:?}");
    let bytes = fs::read(converted)?;
    let (mut frames, mut rest) = (Vec::new(), bytes.get(24..).context("no header")?);
    while let Some((header, behind)) = rest.split_at_checked(16) {
        let length = u32::from_ne_bytes(*header[8..].first_chunk().context("no length")?);
        let (frame, next) = behind.split_at_checked(length as usize).context("cut off")?;
        frames.push(frame.to_vec());
        rest = next;
    }
    Ok(frames)
}
