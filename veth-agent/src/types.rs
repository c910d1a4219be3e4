//! Values that are checked once, at the border, and then trusted.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};
use thiserror::Error;

/// Index of an interface, unique only inside its network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct IfIndex(pub u32);

impl fmt::Display for IfIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `SO_NETNS_COOKIE`: the only name of a network namespace that the kernel never gives twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct NetnsCookie(pub u64);

impl fmt::Display for NetnsCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identity of an end: see `veth_common::endpoint::EndKey`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndId {
    /// The namespace that the end lies in.
    pub netns: NetnsCookie,
    /// Its index there.
    pub ifindex: IfIndex,
}

impl From<EndId> for veth_common::endpoint::EndKey {
    fn from(end: EndId) -> Self {
        Self::new(end.netns.0, end.ifindex.0)
    }
}

impl From<veth_common::endpoint::EndKey> for EndId {
    fn from(key: veth_common::endpoint::EndKey) -> Self {
        Self { netns: NetnsCookie(key.netns_cookie), ifindex: IfIndex(key.ifindex) }
    }
}

/// Why a value was refused. The message fits behind the name of the field.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ValueError {
    /// Interface names: `dev_valid_name` in the kernel's `net/core/dev.c`.
    #[error("{0:?} is not an interface name; use 1 to 15 bytes without '/', ':' or white space")]
    IfName(String),
    /// Names of files under `/run/netns`.
    #[error("{0:?} is not a namespace name; use 1 to 255 bytes without '/' or control characters")]
    NetnsName(String),
    /// Names of pairs.
    #[error("{0:?} is not a pair name; use 1 to 63 bytes without ';' or control characters")]
    PairName(String),
    /// `ETH_MIN_MTU` and `ETH_MAX_MTU`, the limits of a veth end.
    #[error("MTU {0} is out of range; use {min} to {max}", min = Mtu::MIN, max = Mtu::MAX)]
    Mtu(u64),
    /// Not six octets, or not an address that an interface can have.
    #[error("{0:?} is not a unicast MAC address; write it as 02:00:00:00:00:01")]
    Mac(String),
}

/// Name of an interface: 1 to 15 bytes, no `/`, `:` or white space, neither `.` nor `..`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct IfName(String);

impl IfName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IfName {
    type Err = ValueError;

    fn from_str(name: &str) -> Result<Self, ValueError> {
        let valid = (1..=15).contains(&name.len())
            && name != "."
            && name != ".."
            && !name
                .contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control());
        if valid { Ok(Self(name.to_owned())) } else { Err(ValueError::IfName(name.to_owned())) }
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Name of a network namespace: a file name under `/run/netns`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct NetnsName(String);

impl NetnsName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NetnsName {
    type Err = ValueError;

    fn from_str(name: &str) -> Result<Self, ValueError> {
        let valid = (1..=255).contains(&name.len())
            && name != "."
            && name != ".."
            && !name.contains(|c: char| c == '/' || c.is_control());
        if valid { Ok(Self(name.to_owned())) } else { Err(ValueError::NetnsName(name.to_owned())) }
    }
}

impl fmt::Display for NetnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Name of a pair: at most 63 bytes. It is kept in the alias of both ends, where `;` separates.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct PairName(String);

impl PairName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PairName {
    type Err = ValueError;

    fn from_str(name: &str) -> Result<Self, ValueError> {
        let valid = (1..=63).contains(&name.len())
            && !name.contains(|c: char| c == ';' || c.is_control())
            && name.trim() == name;
        if valid { Ok(Self(name.to_owned())) } else { Err(ValueError::PairName(name.to_owned())) }
    }
}

impl fmt::Display for PairName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// MTU of an interface in bytes, Ethernet header not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Mtu(u32);

impl Mtu {
    /// The kernel's `ETH_MIN_MTU`.
    pub const MIN: u32 = 68;
    /// The kernel's `ETH_MAX_MTU`.
    pub const MAX: u32 = 65_535;

    /// Bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        self.0
    }
}

impl TryFrom<u64> for Mtu {
    type Error = ValueError;

    fn try_from(bytes: u64) -> Result<Self, ValueError> {
        match u32::try_from(bytes) {
            Ok(mtu) if (Self::MIN..=Self::MAX).contains(&mtu) => Ok(Self(mtu)),
            _ => Err(ValueError::Mtu(bytes)),
        }
    }
}

/// Hardware address of an Ethernet interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

impl FromStr for MacAddr {
    type Err = ValueError;

    /// Reads a unicast address; `is_valid_ether_addr` in the kernel refuses the others.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let refused = || ValueError::Mac(text.to_owned());
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            // `from_str_radix` takes a sign, too.
            let is_octet =
                |part: &&str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            let part = parts.next().filter(is_octet).ok_or_else(refused)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| refused())?;
        }
        let multicast = octets[0] & 1 == 1;
        if parts.next().is_some() || multicast || octets == [0; 6] {
            return Err(refused());
        }
        Ok(Self(octets))
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl Serialize for MacAddr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How a pair's packets travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Datapath {
    /// Through the kernel's stack, counted.
    #[default]
    Observe,
    /// Redirected by TC programs.
    Tc,
    /// Redirected by XDP programs.
    Xdp,
}

impl Datapath {
    /// The word in files, aliases and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Tc => "tc",
            Self::Xdp => "xdp",
        }
    }
}

impl fmt::Display for Datapath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_are_those_that_the_kernel_takes() {
        for good in ["a", "veth0", "fifteen-bytes-x", "a.b", "ä"] {
            assert!(good.parse::<IfName>().is_ok(), "{good:?}");
        }
        for bad in ["", ".", "..", "sixteen-bytes-xx", "a/b", "a b", "a\nb", "a:b", "a\u{0}"] {
            assert!(bad.parse::<IfName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn mtu_has_the_limits_of_a_veth_end() {
        for (bytes, fits) in [(67, false), (68, true), (65_535, true), (65_536, false)] {
            assert_eq!(Mtu::try_from(bytes).is_ok(), fits, "{bytes}");
        }
    }

    #[test]
    fn mac_addresses_are_unicast_and_whole() {
        assert_eq!(
            "02:00:5e:10:00:ff".parse::<MacAddr>().map(|mac| mac.to_string()),
            Ok("02:00:5e:10:00:ff".to_owned())
        );
        for bad in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:01:02",
            "01:00:00:00:00:01",
            "00:00:00:00:00:00",
            "2:0:0:0:0:1",
            "02-00-00-00-00-01",
            "+2:00:00:00:00:01",
        ] {
            assert!(bad.parse::<MacAddr>().is_err(), "{bad:?}");
        }
    }
}
