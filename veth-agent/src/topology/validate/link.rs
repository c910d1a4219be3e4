//! Names, addresses, MTU and MAC: what ends and bridges have in common.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{At, Checker, Entry, Position};
use crate::{
    topology::spec::{LinkSettings, Place},
    types::{IfName, MacAddr, Mtu},
};

/// The least MTU that IPv6 works with (RFC 8200, section 5); below it the kernel takes IPv6 off.
pub(super) const IPV6_MIN_MTU: u32 = 1280;

/// Settings of a link as the file has them.
pub(super) struct Written<'a> {
    pub(super) addresses: &'a [At<String>],
    pub(super) mtu: Option<&'a At<i64>>,
    pub(super) mac: Option<&'a At<String>>,
    pub(super) up: Option<&'a At<bool>>,
}

impl Checker {
    /// The settings that are right. Each that is not is a mistake and left out.
    pub(super) fn settings(&mut self, who: &str, written: &Written<'_>) -> LinkSettings {
        let addresses = self.addresses(who, written.addresses);
        let mtu = written.mtu.and_then(|at| self.noted(at.position, who, mtu(at.value)));
        if let (Some(at), Some(mtu)) = (written.mtu, mtu) {
            let ipv6 = addresses.iter().any(|address| matches!(address, IpNet::V6(_)));
            self.mtu_carries_ipv6(who, at.position, mtu, ipv6);
        }
        let mac = written.mac.and_then(|at| self.mac(who, at));
        LinkSettings { addresses, mtu, mac, up: written.up.is_none_or(|up| up.value) }
    }

    /// Refuses an MTU with which the kernel would take IPv6 off the link.
    pub(super) fn mtu_carries_ipv6(
        &mut self,
        who: &str,
        position: Option<Position>,
        mtu: Mtu,
        ipv6: bool,
    ) {
        if ipv6 && mtu.bytes() < IPV6_MIN_MTU {
            let mtu = mtu.bytes();
            let what = format!("MTU {mtu} is too small for IPv6; use {IPV6_MIN_MTU} or more");
            self.mistake(position, who, what);
        }
    }

    fn addresses(&mut self, who: &str, written: &[At<String>]) -> Vec<IpNet> {
        let mut addresses: Vec<IpNet> = Vec::with_capacity(written.len());
        for at in written {
            let Some(address) = self.noted(at.position, who, address(&at.value)) else { continue };
            if addresses.iter().any(|other| other.addr() == address.addr()) {
                let what = format!("address {} is there twice; leave one out", address.addr());
                self.mistake(at.position, who, what);
            }
            addresses.push(address);
        }
        addresses
    }

    fn mac(&mut self, who: &str, at: &At<String>) -> Option<MacAddr> {
        let mac = self.noted(at.position, who, at.value.parse::<MacAddr>())?;
        let taken = match self.macs.entry(mac) {
            Entry::Vacant(free) => {
                free.insert(who.to_owned());
                return Some(mac);
            }
            Entry::Occupied(taken) => taken.get().clone(),
        };
        let what = format!("MAC {mac} is also that of {taken}; give each its own");
        self.mistake(at.position, who, what);
        Some(mac)
    }
}

/// `namespace "orange"` or `the host's namespace`.
pub(super) fn describe(place: &Place) -> String {
    match place {
        Some(netns) => format!("namespace {:?}", netns.as_str()),
        None => "the host's namespace".to_owned(),
    }
}

/// Beside what [`IfName`] refuses: `lo`, which every namespace has; `all` and `default`, which
/// sysctl uses (`sysctl_dev_name_is_allowed` in the kernel); `%`, from which the kernel makes
/// another name (`__dev_alloc_name`).
pub(super) fn if_name(name: &str) -> Result<IfName, String> {
    match name {
        "lo" => Err("lo is the loopback device; choose another name".to_owned()),
        "all" | "default" => {
            Err(format!("the kernel refuses an interface called {name}; choose another name"))
        }
        _ if name.contains('%') => {
            Err(format!("the kernel replaces the % in interface name {name:?}; leave it out"))
        }
        _ => name.parse::<IfName>().map_err(|error| error.to_string()),
    }
}

fn mtu(bytes: i64) -> Result<Mtu, String> {
    let out_of_range = || format!("MTU {bytes} is out of range; use {} to {}", Mtu::MIN, Mtu::MAX);
    u64::try_from(bytes).ok().and_then(|bytes| Mtu::try_from(bytes).ok()).ok_or_else(out_of_range)
}

fn address(text: &str) -> Result<IpNet, String> {
    let address = match (text.parse::<IpNet>(), text.parse::<IpAddr>()) {
        (Ok(address), _) => address,
        (_, Ok(bare)) => {
            let usual = if bare.is_ipv4() { 24 } else { 64 };
            return Err(format!("address {bare} has no prefix length; write {bare}/{usual}"));
        }
        _ => return Err(malformed("an address", text, "192.168.1.2/24 or fd00::2/64")),
    };
    unicast(address.addr()).map_err(|why| format!("address {address} {why}"))?;
    if address.addr().is_loopback() {
        return Err(format!("address {address} is a loopback address; use another one"));
    }
    Ok(address)
}

/// `what` completes the message: `"x" is not {what}`.
pub(super) fn malformed(what: &str, text: &str, example: &str) -> String {
    format!("{text:?} is not {what}; write it as {example}")
}

/// Whether an interface or a router can have this address. The error completes a sentence.
pub(super) fn unicast(address: IpAddr) -> Result<(), &'static str> {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    if address.is_unspecified() {
        Err("is the unspecified address; use a unicast one")
    } else if address.is_multicast() || broadcast {
        Err("is not a unicast address; use one")
    } else {
        Ok(())
    }
}
