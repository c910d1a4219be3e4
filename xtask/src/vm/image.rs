//! What a machine boots into: an archive with the commands and our binaries, the same for every
//! kernel, and one with the modules of its kernel behind it (the kernel takes archives in a row,
//! Documentation/driver-api/early-userspace/buffer-format.rst).

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use veth_vm::{JOB_FILE, Job};

use super::{
    kernel::{Kernel, Unpacked},
    rootfs::Rootfs,
};
use crate::{process, toolchain::find_command, workspace};

/// What the tests run, beside our own.
const COMMANDS: &[&str] = &[
    "bpftool",
    "bridge",
    "cat",
    "env",
    "false",
    "ethtool",
    "find",
    "grep",
    "ip",
    "iperf3",
    "kill",
    "ls",
    "mkfifo",
    "head",
    "true",
    "mkdir",
    "mount",
    "mv",
    "nft",
    "iptables-legacy",
    "iptables-nft",
    "iptables-legacy-save",
    "ip6tables-legacy-save",
    "nsenter",
    "ping",
    "prometheus",
    "promtool",
    "rm",
    "setpriv",
    "sh",
    "sleep",
    "stat",
    "sysctl",
    "tc",
    "tcpdump",
    "timeout",
    "touch",
    "umount",
    "unshare",
    "modprobe",
];

/// Modules that the tests need; the kernel loads them, and what they depend on, as on any node:
/// when they are asked for.
const MODULES: &[&str] = &[
    "veth",
    "bridge",
    "sch_ingress",
    "cls_bpf",
    "cls_u32",
    "cls_matchall",
    "act_gact",
    "act_mirred",
    "act_bpf",
    "dummy",
    "tun",
    "8021q",
    "macvlan",
    "sch_tbf",
    "nf_tables",
    "nft_chain_nat",
    "nft_ct",
    "nft_nat",
    "nft_compat",
    "iptable_filter",
    "br_netfilter",
    "vxlan",
    "geneve",
    "ip_gre",
    "ipip",
    "wireguard",
    "vrf",
];

/// Packs the commands, our own binaries (from, to) and the job.
pub fn userland(folder: &Path, job: &Job, own: &[(PathBuf, PathBuf)]) -> Result<PathBuf> {
    let rootfs = Rootfs::new(folder.join("userland"))?;
    for name in
        ["proc", "sys", "dev", "run", "tmp", "root", "etc", "usr/bin", "usr/sbin", "usr/lib"]
    {
        rootfs.folder(name)?;
    }
    for (name, target) in
        [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")]
    {
        rootfs.link(name, target)?;
    }
    for name in COMMANDS {
        let path = find_command(name).with_context(|| format!("there is no {name}"))?;
        rootfs.program(&path, &place_of(&path)?)?;
    }
    let standard = xtables()?.join("libxt_standard.so");
    rootfs.program(&standard, &standard)?;
    for (from, to) in own {
        rootfs.program(from, to)?;
    }
    rootfs.program(&workspace::build_bin("veth-vm", "vm-init")?, Path::new("/init"))?;
    rootfs
        .write("etc/passwd", b"root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")?;
    rootfs.write(JOB_FILE, &serde_json::to_vec(job)?)?;
    let archive = folder.join("userland.cpio");
    rootfs.pack(&archive)?;
    Ok(archive)
}

/// Where legacy iptables looks for its targets and matches: it loads even the plainest.
fn xtables() -> Result<PathBuf> {
    let libraries = fs::read_dir("/usr/lib").context("/usr/lib")?.filter_map(Result::ok);
    let mut folders = libraries.map(|entry| entry.path().join("xtables"));
    folders.find(|folder| folder.is_dir()).context("legacy iptables has no xtables")
}

/// Where a command goes: its own name in the folder that its folder really is.
fn place_of(command: &Path) -> Result<PathBuf> {
    let folder = command.parent().context("a command without a folder")?.canonicalize()?;
    Ok(folder.join(command.file_name().context("a command without a name")?))
}

/// Puts the kernel's modules behind the userland.
pub fn with_modules(
    folder: &Path,
    kernel: &Kernel,
    unpacked: &Unpacked,
    userland: &Path,
) -> Result<PathBuf> {
    let rootfs = Rootfs::new(folder.join(format!("modules-{}", kernel.name)))?;
    // Debian's `lib` is a link in the userland; this archive goes where it leads.
    let inside = PathBuf::from("/usr/lib/modules").join(&unpacked.release);
    let list = fs::read_to_string(unpacked.modules().join("modules.dep"))?;
    let wanted = closure(&list, MODULES);
    for file in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
        copy(&unpacked.modules().join(file), &rootfs.place(&inside.join(file)))?;
    }
    let options = unpacked.options();
    copy(
        &options,
        &rootfs.place(&Path::new("/boot").join(options.file_name().unwrap_or_default())),
    )?;
    for module in wanted {
        copy(&unpacked.modules().join(&module), &rootfs.place(&inside.join(&module)))?;
    }
    let mut depmod = Command::new("depmod");
    process::run(depmod.arg("-b").arg(rootfs.place(Path::new("/usr"))).arg(&unpacked.release))?;
    let archive = folder.join(format!("modules-{}.cpio", kernel.name));
    rootfs.pack(&archive)?;
    let image = folder.join(format!("initramfs-{}", kernel.name));
    join(&[userland, &archive], &image)?;
    Ok(image)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().context("a file without a folder")?;
    fs::create_dir_all(folder)?;
    fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    Ok(())
}

fn join(parts: &[&Path], whole: &Path) -> Result<()> {
    let mut out = File::create(whole).with_context(|| whole.display().to_string())?;
    for part in parts {
        io::copy(&mut File::open(part)?, &mut out)?;
    }
    Ok(())
}

/// The files of these modules and of all that they depend on, from `modules.dep` (`FILE: FILE ..`,
/// which lists dependencies of dependencies too). What is built in is not in that list.
fn closure(list: &str, modules: &[&str]) -> BTreeSet<String> {
    let lines = list.lines().filter_map(|line| line.split_once(':'));
    let wanted = lines.filter(|(file, _)| modules.contains(&module_name(file)));
    wanted
        .flat_map(|(file, needs)| std::iter::once(file).chain(needs.split_whitespace()))
        .map(str::to_owned)
        .collect()
}

/// `veth` of `kernel/drivers/net/veth.ko.xz`.
fn module_name(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split_once(".ko").map_or(name, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_brings_what_it_depends_on_and_nothing_else() {
        let list = "kernel/net/802/stp.ko.xz: kernel/net/llc/llc.ko.xz\nkernel/net/llc/llc.ko.xz:\n\
                    kernel/net/bridge/bridge.ko.xz: kernel/net/802/stp.ko.xz kernel/net/llc/llc.ko.xz\n\
                    kernel/drivers/net/veth.ko.xz:\nkernel/fs/xfs/xfs.ko.xz:\n";
        let found = closure(list, &["bridge", "veth"]);
        let files = ["drivers/net/veth", "net/802/stp", "net/bridge/bridge", "net/llc/llc"];
        assert_eq!(found, files.map(|file| format!("kernel/{file}.ko.xz")).into());
    }
}
