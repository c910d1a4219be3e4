//! Whose an address is: pure.

use std::collections::BTreeSet;

use veth_common::{fastpath::address_of, mtu::AddressKey};

use crate::{inventory::Snapshot, types::NetnsCookie};

/// All addresses that packets may come from in the namespaces that have an end.
#[must_use]
pub fn addresses(snapshot: &Snapshot) -> BTreeSet<AddressKey> {
    let with_ends: BTreeSet<NetnsCookie> = snapshot.ends().map(|end| end.netns).collect();
    let namespaces = with_ends.iter().filter_map(|cookie| snapshot.namespaces.get(cookie));
    namespaces
        .flat_map(|netns| {
            let addresses = netns.links.values().flat_map(|link| &link.addresses);
            let addresses = addresses.map(|address| address.net.addr());
            addresses.filter(|address| !address.is_loopback()).map(|address| AddressKey {
                netns_cookie: netns.cookie.0,
                address: address_of(address),
            })
        })
        .collect()
}
