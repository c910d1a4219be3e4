//! Names for addresses and ports, as the agent's own namespace and its resolver have them.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use nix::libc::{NI_DGRAM, NI_NUMERICHOST, NI_NUMERICSERV};

use crate::escape::Escaped;

/// So many are kept; a scan must not fill the memory.
const MOST: usize = 10_000;

/// Names that have been looked up: each once, and while it is, nothing is printed.
#[derive(Debug, Default)]
pub struct Names {
    hosts: HashMap<IpAddr, String>,
    services: HashMap<(u16, bool), String>,
}

impl Names {
    /// The name of an address, or the address.
    pub fn host(&mut self, address: IpAddr) -> &str {
        if self.hosts.len() >= MOST {
            self.hosts.clear();
        }
        self.hosts.entry(address).or_insert_with(|| {
            let asked = dns_lookup::getnameinfo(&SocketAddr::new(address, 0), NI_NUMERICSERV);
            // Whoever answers for an address names it as he likes.
            asked.map_or_else(|_| address.to_string(), |(host, _)| Escaped(&host).to_string())
        })
    }

    /// The name of a port of TCP or UDP, or its number.
    pub fn service(&mut self, port: u16, datagrams: bool) -> &str {
        self.services.entry((port, datagrams)).or_insert_with(|| {
            let any = SocketAddr::from(([0, 0, 0, 0], port));
            let kind = if datagrams { NI_DGRAM } else { 0 };
            let asked = dns_lookup::getnameinfo(&any, NI_NUMERICHOST | kind);
            asked.map_or_else(|_| port.to_string(), |(_, service)| Escaped(&service).to_string())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_name_keeps_its_number() {
        let mut names = Names::default();
        assert_eq!(names.host([127, 0, 0, 1].into()), "localhost");
        assert_eq!(names.service(59_999, false), "59999");
    }
}
