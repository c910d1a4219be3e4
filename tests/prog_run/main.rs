//! The pinned programs, run by the kernel on crafted packets (`BPF_PROG_TEST_RUN`).

mod mtu;
mod skb;

use anyhow::{Context as _, Result, ensure};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use nix::net::if_::if_nametoindex;
use skb::Skb;
use veth_agent::{
    collect,
    datapath::{DEFAULT_BPFFS, HookName, Maps, Pins},
    netns,
    types::{EndId, IfIndex, NetnsCookie},
};
use veth_common::{
    counters::{Counters, EndCounters},
    mtu::MtuCounters,
};
use veth_tests::{Node, agent, on_node, run};

/// Both ends stay down: nothing passes them but what a test runs.
const TOPOLOGY: &str = "
namespaces: [{ name: orange }]
pairs:
  - name: idle
    ends:
      - { namespace: orange, interface: tap1, up: false }
      - { namespace: orange, interface: tap2, up: false }
";

/// `TC_ACT_UNSPEC`, `TCX_NEXT`: whoever comes next decides.
const NEXT: u32 = u32::MAX;

const TCP: &[u8] = &[6];
const UDP: &[u8] = &[17];

/// What the programs and their maps look like from outside.
struct Bench<'a> {
    node: &'a Node,
    pins: Pins,
    maps: Maps,
    cookie: NetnsCookie,
}

impl<'a> Bench<'a> {
    fn new(node: &'a Node) -> Result<Self> {
        let file = node.file("idle.yaml", TOPOLOGY)?;
        let applied = agent(&format!("apply -f {}", file.display()))?;
        ensure!(applied.code == 0, "{}", applied.stderr);
        let pins = Pins::at(DEFAULT_BPFFS.as_ref());
        let maps = Maps::open(&pins, 1)?;
        let cookie = node.within("orange", || Ok(netns::cookie()?))?;
        Ok(Self { node, pins, maps, cookie })
    }

    fn ifindex(&self, interface: &str) -> Result<u32> {
        self.node.within("orange", || Ok(if_nametoindex(interface)?))
    }

    fn end(&self, interface: &str) -> Result<EndId> {
        Ok(EndId { netns: self.cookie, ifindex: IfIndex(self.ifindex(interface)?) })
    }

    fn counters(&self, interface: &str) -> Result<EndCounters> {
        collect::read(&self.maps, self.end(interface)?).counters.context("no slot")
    }

    fn mtu(&self, interface: &str) -> Result<MtuCounters> {
        collect::read(&self.maps, self.end(interface)?).mtu.context("no slot")
    }

    fn unknown(&self) -> Result<u64> {
        Ok(collect::unknown(&self.maps)?)
    }

    /// Runs the program of `hook` on `frame`; the verdict and the frame must be left alone.
    fn run(&self, hook: HookName, skb: &Skb, frame: &[u8], repeat: u32) -> Result<()> {
        let program = SchedClassifier::from_pin(self.pins.program(self.cookie, hook))?;
        let context = skb.to_bytes();
        let (mut frame_after, mut context_after) = (vec![0; frame.len() + 64], context.clone());
        // The kernel looks the interface up in the caller's namespace.
        let result = self.node.within("orange", || {
            Ok(program.test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut frame_after),
                ctx_in: Some(&context),
                ctx_out: Some(&mut context_after),
                repeat,
                ..TestRunOptions::new()
            })?)
        })?;
        assert_eq!(result.return_value, NEXT, "verdict");
        frame_after.truncate(usize::try_from(result.data_size_out)?);
        assert_eq!(frame_after, frame, "the frame was changed");
        skb.assert_unchanged(&context_after);
        Ok(())
    }
}

/// An IPv4 frame of `length` bytes, Ethernet header included.
fn ipv4(protocol: &[u8], length: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00];
    frame.extend([0x45, 0]);
    frame.extend(u16::try_from(length - 14).unwrap_or(u16::MAX).to_be_bytes());
    frame.extend([0, 1, 0x40, 0, 64]);
    frame.extend(protocol);
    frame.extend([0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.resize(length, 0x5a);
    frame
}

/// One of each kind that has been trouble to somebody, by name.
fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let ethernet = |kind: u16, length: usize| {
        let mut frame = vec![0xff; 6];
        frame.extend([2, 0, 0, 0, 0, 2]);
        frame.extend(kind.to_be_bytes());
        frame.resize(length, 0);
        frame
    };
    let mut ipv6 = ethernet(0x86dd, 14);
    ipv6.extend([0x60, 0, 0, 0, 0, 8, 59, 64]);
    ipv6.resize(14 + 40 + 8, 1);
    let mut fragment = ipv4(UDP, 60);
    fragment[20] = 0x20;
    vec![
        ("the smallest IPv4 packet", ipv4(UDP, 34)),
        ("UDP", ipv4(UDP, 98)),
        ("TCP", ipv4(TCP, 1514)),
        ("a fragment", fragment),
        ("IPv6", ipv6),
        ("ARP", ethernet(0x0806, 42)),
        ("a tagged frame", ethernet(0x8100, 64)),
        ("an unknown protocol", ethernet(0x88b5, 60)),
        ("a jumbo frame", ipv4(UDP, 3000)),
    ]
}

fn grown(before: Counters, packets: u64, bytes: u64, segments: u64) -> Counters {
    before.plus(Counters { packets, bytes, segments })
}

#[test]
fn every_frame_is_counted_as_often_as_it_passes_and_left_alone() {
    on_node(|node| {
        let bench = Bench::new(node)?;
        let skb = Skb { ifindex: bench.ifindex("tap1")?, ..Skb::default() };
        let mut expected = EndCounters::default();
        assert_eq!(bench.counters("tap1")?, expected, "an idle end");
        for (repeat, (name, frame)) in (1..).zip(frames()) {
            let bytes = u64::from(repeat) * frame.len() as u64;
            bench.run(HookName::Ingress, &skb, &frame, repeat).context(name)?;
            expected.rx = grown(expected.rx, repeat.into(), bytes, repeat.into());
            assert_eq!(bench.counters("tap1")?, expected, "{name}, ingress");

            bench.run(HookName::Egress, &skb, &frame, 2 * repeat).context(name)?;
            let packets = u64::from(2 * repeat);
            expected.tx = grown(expected.tx, packets, 2 * bytes, packets);
            assert_eq!(bench.counters("tap1")?, expected, "{name}, egress");
        }
        assert_eq!(bench.counters("tap2")?, EndCounters::default(), "the other end");
        assert_eq!(bench.unknown()?, 0);
        Ok(())
    });
}

#[test]
fn a_gso_packet_counts_its_segments() {
    on_node(|node| {
        let bench = Bench::new(node)?;
        let ifindex = bench.ifindex("tap2")?;
        let frame = ipv4(TCP, 3014);
        let mut expected = EndCounters::default();
        // Where the kernel has not counted them, those of 1,448 bytes in 2,960.
        for (gso_segs, segments) in [(0, 3), (1, 1), (2, 2), (45, 45), (0xffff, 0xffff)] {
            let skb = Skb { ifindex, gso_segs, gso_size: 1448, ..Skb::default() };
            bench.run(HookName::Egress, &skb, &frame, 1000)?;
            expected.tx = grown(expected.tx, 1000, 1000 * 3014, 1000 * segments);
            assert_eq!(bench.counters("tap2")?, expected, "gso_segs {gso_segs}");
        }
        assert_eq!(bench.counters("tap1")?, EndCounters::default(), "the other end");
        Ok(())
    });
}

#[test]
fn what_others_put_beside_the_packet_is_left_alone() {
    on_node(|node| {
        let bench = Bench::new(node)?;
        let ifindex = bench.ifindex("tap1")?;
        let skb = Skb {
            ifindex,
            mark: 0xdead_beef,
            priority: 6,
            cb: [1, 2, 3, 4, 5],
            timestamp: 1_700_000_000_000_000_000,
            ..Skb::default()
        };
        for hook in HookName::BOTH {
            bench.run(hook, &skb, &ipv4(UDP, 98), 1)?;
        }
        Ok(())
    });
}

#[test]
fn packets_of_an_end_without_a_slot_are_counted_as_that_and_nowhere_else() {
    on_node(|node| {
        let bench = Bench::new(node)?;
        run("ip -n orange link add bare1 type veth peer name bare2 netns orange")?;
        let skb = Skb { ifindex: bench.ifindex("bare1")?, ..Skb::default() };
        let frame = ipv4(UDP, 98);
        bench.run(HookName::Ingress, &skb, &frame, 30)?;
        assert_eq!(bench.unknown()?, 30);
        bench.run(HookName::Egress, &skb, &frame, 12)?;
        assert_eq!(bench.unknown()?, 42);
        for interface in ["tap1", "tap2"] {
            assert_eq!(bench.counters(interface)?, EndCounters::default(), "{interface}");
        }
        let all = bench.maps.counters.iter().collect::<Result<Vec<_>, _>>()?;
        let sum = all
            .iter()
            .flat_map(|cpus| cpus.iter())
            .fold(EndCounters::default(), |sum, cpu| sum.plus(*cpu));
        assert_eq!(sum, EndCounters::default(), "all slots together");
        Ok(())
    });
}
