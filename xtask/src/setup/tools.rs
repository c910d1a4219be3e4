//! The commands that the demo and the tests run.

use anyhow::{Result, bail};

use super::apt::{Apt, Package};
use crate::toolchain::find_command;

/// A command, the package that has it on Debian, and what it is for.
pub struct Tool {
    command: &'static str,
    package: Package,
}

const fn tool(command: &'static str, name: &'static str, why: &'static str) -> Tool {
    Tool { command, package: Package { name, why } }
}

/// What the demo runs.
pub const DEMO: &[Tool] = &[
    tool("ip", "iproute2", "the kernel's own counters, to compare with"),
    tool("ping", "iputils-ping", "traffic between two namespaces"),
    tool("nsenter", "util-linux", "to run ping inside a namespace"),
];

/// What the benchmarks run.
pub const BENCH: &[Tool] = &[
    tool("ip", "iproute2", "to build the same pairs, for comparison"),
    tool("unshare", "util-linux", "to measure apart from the rest of the machine"),
    tool("mount", "mount", "a bpffs and namespaces of the benchmark's own"),
    tool("bpftool", "bpftool", "to see when the kernel has detached everything"),
    tool("tcpdump", "tcpdump", "to capture the same packets, for comparison"),
];

/// What the tests run.
pub const TEST: &[Tool] = &[
    tool("ip", "iproute2", "links and addresses that are not ours, and the kernel's counters"),
    tool("ping", "iputils-ping", "traffic in the tests"),
    tool("nsenter", "util-linux", "to run commands inside a namespace"),
    tool("ethtool", "ethtool", "to switch offloads in the tests"),
    tool("iperf3", "iperf3", "bulk traffic in the tests"),
    tool("tcpdump", "tcpdump", "a second opinion on what passes"),
    tool("tshark", "tshark", "to read what traces write"),
    tool("prometheus", "prometheus", "a real scraper for the metrics page"),
    tool("promtool", "prometheus", "to check the metrics page"),
    tool("xdp-loader", "xdp-tools", "other people's XDP programs beside ours"),
    tool("scapy", "python3-scapy", "packets that no tool sends"),
    tool("bpftool", "bpftool", "to see what is attached, and what is left"),
    tool("nft", "nftables", "firewall rules that the fast path must not skip"),
    tool("iptables-legacy", "iptables", "firewall rules of the older kind"),
    tool("iptables-nft", "iptables", "the same as rules of nftables"),
];

/// What boots other kernels.
pub const VM: &[Tool] = &[
    tool("qemu-system-x86_64", "qemu-system-x86", "virtual machines for other kernels"),
    tool("cpio", "cpio", "to pack what a virtual machine boots into"),
    tool("depmod", "kmod", "modules of other kernels"),
    tool("strip", "binutils", "to leave out what only debuggers read"),
    tool("dpkg-deb", "dpkg", "to unpack kernels without installing them"),
];

/// Installs the packages of those tools that are missing. Without apt, names what is missing.
pub fn install(tools: &[Tool], apt: Option<&Apt>) -> Result<()> {
    let missing: Vec<_> =
        tools.iter().filter(|tool| find_command(tool.command).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let Some(apt) = apt else {
        let commands: Vec<_> = missing.iter().map(|tool| tool.command).collect();
        bail!("these commands are missing, please install them: {}", commands.join(" "));
    };
    apt.install(&packages(&missing))
}

/// Each package once.
fn packages(tools: &[&Tool]) -> Vec<Package> {
    let mut packages: Vec<Package> = Vec::new();
    for tool in tools {
        if packages.iter().all(|package| package.name != tool.package.name) {
            packages.push(tool.package);
        }
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_of_two_commands_is_installed_once() {
        let tools: Vec<_> = TEST.iter().filter(|tool| tool.command.starts_with("prom")).collect();
        assert_eq!(tools.len(), 2);
        assert_eq!(packages(&tools).len(), 1);
    }
}
