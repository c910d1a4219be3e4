//! Writes what the fuzzer begins with: one file for each kind of frame, and one for each place where the
//! smaller ones can be cut.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use veth_fuzz::{frames, input};

/// Frames up to this size are cut everywhere.
const SMALL: usize = 150;

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).context("where to? name a folder")?;
    let folder = PathBuf::from(folder);
    fs::create_dir_all(&folder)?;
    for (name, frame) in frames::all() {
        fs::write(folder.join(name), input(&frame, 0))?;
        for end in (0..frame.len()).filter(|_| frame.len() <= SMALL) {
            let missing = frame.len() - end;
            fs::write(folder.join(format!("{name}-{end}")), input(&frame[..end], missing))?;
        }
    }
    Ok(())
}
