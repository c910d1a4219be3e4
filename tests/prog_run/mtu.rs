//! Packets that do not fit, as the kernel runs the programs on them.

use anyhow::{Context as _, Result};
use veth_agent::datapath::HookName;
use veth_common::{
    config::Limits,
    counters::Direction::{self, Rx, Tx},
    endpoint::EndKey,
    fastpath::address_of,
    mtu::{
        AddressKey,
        Family::{Ipv4, Ipv6},
        Figure::{self, Error, Fragment, Oversize, Reached},
        MtuCounters,
    },
};
use veth_tests::on_node;

use super::{Bench, TCP, UDP, ipv4, skb::Skb};

const HOOKS: [(HookName, Direction); 2] = [(HookName::Ingress, Rx), (HookName::Egress, Tx)];
const LIMITS: Limits = Limits { rx: 1300, tx: 1400 };

/// The address that the pod has, and its packets carry.
const OWN_V4: [u8; 4] = [10, 0, 0, 2];
const OWN_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

/// The programs on `tap1`, told what the daemon would tell them.
fn told(bench: &mut Bench<'_>) -> Result<Skb> {
    let ifindex = bench.ifindex("tap1")?;
    let end = bench.end("tap1")?;
    let slot = bench.maps.ends.get(&EndKey::from(end), 0)?.slot;
    bench.maps.set_limits(slot, LIMITS)?;
    for address in [OWN_V4.into(), OWN_V6.into()] {
        let (netns_cookie, address) = (bench.cookie.0, address_of(address));
        bench.maps.addresses.insert(AddressKey { netns_cookie, address }, 0, 0)?;
    }
    Ok(Skb { ifindex, ..Skb::default() })
}

/// Runs `frame` through both hooks some times, and expects these figures of each run and no others.
fn sees(
    bench: &Bench<'_>,
    name: &str,
    skb: &Skb,
    frame: &[u8],
    expected: impl Fn(Direction) -> Vec<Figure>,
) -> Result<()> {
    const RUNS: u32 = 7;
    for (hook, direction) in HOOKS {
        let mut wanted = bench.mtu("tap1")?;
        bench.run(hook, skb, frame, RUNS).context(name.to_owned())?;
        for figure in expected(direction) {
            wanted.by_place[figure.place()] += u64::from(RUNS);
        }
        assert_eq!(bench.mtu("tap1")?, wanted, "{name}, {hook:?}");
    }
    assert_eq!(bench.mtu("tap2")?, MtuCounters::default(), "the other end");
    Ok(())
}

const fn limit(direction: Direction) -> usize {
    match direction {
        Rx => LIMITS.rx as usize,
        Tx => LIMITS.tx as usize,
    }
}

/// What is oversize at the hooks whose limit is below `bytes`.
fn oversize(bytes: usize) -> impl Fn(Direction) -> Vec<Figure> {
    move |direction| {
        let over = bytes > limit(direction);
        if over { vec![Oversize(direction)] } else { vec![] }
    }
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd, 0x60, 0, 0, 0];
    frame.extend((payload.len() as u16).to_be_bytes());
    frame.extend([next, 64]);
    frame.extend([0xfe; 16]);
    frame.extend(OWN_V6);
    frame.extend(payload);
    frame
}

fn tagged(mut frame: Vec<u8>) -> Vec<u8> {
    frame.splice(12..12, [0x81, 0, 0, 5]);
    frame
}

#[test]
fn sizes_are_compared_with_the_limit_of_each_direction() {
    on_node(|node| {
        let mut bench = Bench::new(node)?;
        let plain = told(&mut bench)?;
        for bytes in [64, 1300, 1301, 1400, 1401, 3000] {
            let frame = ipv4(UDP, 14 + bytes);
            sees(&bench, &format!("{bytes}"), &plain, &frame, oversize(bytes))?;
            sees(&bench, &format!("{bytes}, tagged"), &plain, &tagged(frame), oversize(bytes))?;
        }
        // `ipv4` fills up with 0x5a: a TCP header of five words.
        for (frame, headers) in [
            (ipv4(TCP, 3014), 40),
            (ipv6(6, &[0x5a; 2960]), 60),
            (ipv4(UDP, 3014), 28),
            (tagged(ipv4(TCP, 3014)), 40),
        ] {
            for bytes in [1300, 1301, 1400, 1401] {
                let skb = Skb { gso_segs: 4, gso_size: bytes - headers, ..plain };
                let name = format!("segments of {bytes} behind {headers}");
                sees(&bench, &name, &skb, &frame, oversize(bytes as usize))?;
            }
        }
        Ok(())
    });
}

#[test]
fn fragments_are_counted_by_family() {
    on_node(|node| {
        let mut bench = Bench::new(node)?;
        let skb = told(&mut bench)?;
        for (bits, piece) in [([0x20, 0], true), ([0, 0xb9], true), ([0x40, 0], false)] {
            let mut frame = ipv4(UDP, 200);
            frame[20..22].copy_from_slice(&bits);
            let seen = |way| if piece { vec![Fragment(Ipv4, way)] } else { vec![] };
            sees(&bench, &format!("{bits:?}"), &skb, &frame, seen)?;
            sees(&bench, &format!("{bits:?}, tagged"), &skb, &tagged(frame), seen)?;
        }
        let frame = ipv6(44, &[0x5a; 100]);
        sees(&bench, "IPv6", &skb, &frame, |way| vec![Fragment(Ipv6, way)])
    });
}

#[test]
fn an_error_reaches_the_namespace_that_has_the_quoted_source() {
    on_node(|node| {
        let mut bench = Bench::new(node)?;
        let skb = told(&mut bench)?;
        let needed = |source: [u8; 4]| {
            let mut frame = ipv4(&[1], 70);
            frame[34..42].copy_from_slice(&[3, 4, 0, 0, 0, 0, 5, 120]);
            frame[42] = 0x45;
            frame[54..58].copy_from_slice(&source);
            frame
        };
        let too_big = |source: [u8; 16]| {
            let mut payload = [0; 56];
            payload[0] = 2;
            payload[8] = 0x60;
            payload[16..32].copy_from_slice(&source);
            ipv6(58, &payload)
        };
        for (own, other, family) in [
            (needed(OWN_V4), needed([10, 0, 0, 9]), Ipv4),
            (too_big(OWN_V6), too_big([0xfd; 16]), Ipv6),
        ] {
            sees(&bench, "own", &skb, &own, |way| match way {
                Rx => vec![Error(family, Rx), Reached(family)],
                Tx => vec![Error(family, Tx)],
            })?;
            sees(&bench, "other", &skb, &other, |way| vec![Error(family, way)])?;
            let mut cut = own.clone();
            cut.truncate(cut.len() - 32);
            sees(&bench, "cut short", &skb, &cut, |_| vec![])?;
        }
        Ok(())
    });
}
