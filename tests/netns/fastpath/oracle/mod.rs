//! An oracle: the kernel without us. Random frames go through an accelerated topology and through its
//! plain twin, and what arrives at either pod is the same, byte for byte.
//!
//! What may differ: the order of frames of one batch, since those that take the fast path overtake
//! others, and the identification (with the checksum) of what a kernel makes itself: replies and errors.

mod frames;
mod twins;

use anyhow::{Result, ensure};
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestError, TestRunner},
};
use veth_agent::collect::EndReading;
use veth_common::fastpath::Fallback;
use veth_tests::{Node, bearable, on_node, on_one_cpu};

use super::{By, Shape, reading};
use frames::{MARK, Recipe, recipe};
use twins::{Arrived, Side, Twins};

/// What the kernel sends of its own accord, whenever it likes.
fn is_noise(frame: &[u8]) -> bool {
    let contains_mark = frame.windows(MARK.len()).any(|window| window == MARK);
    if contains_mark {
        return false;
    }
    match frame {
        // ARP.
        [_, _, _, _, _, _, _, _, _, _, _, _, 8, 6, ..] => true,
        // Neighbour discovery, and reports of multicast behind a hop-by-hop header.
        [_, _, _, _, _, _, _, _, _, _, _, _, 0x86, 0xdd, rest @ ..] => match rest.get(6) {
            Some(58) => matches!(rest.get(40), Some(130..=137 | 143)),
            Some(0) => true,
            _ => false,
        },
        _ => false,
    }
}

/// Without what may differ.
fn normal(mut frame: Vec<u8>, made_by_kernel: bool) -> Vec<u8> {
    let is_ipv4 = frame.get(12..14) == Some(&[8, 0]);
    let is_error = frame.get(23) == Some(&1) && matches!(frame.get(34), Some(3 | 11 | 12));
    if is_ipv4 && frame.len() >= 34 && (made_by_kernel || is_error) {
        frame[18..20].fill(0);
        frame[24..26].fill(0);
        // Of the packet that an error quotes.
        if is_error && frame.len() >= 62 {
            frame[46..48].fill(0);
            frame[52..54].fill(0);
        }
    }
    let is_fragment = frame.get(12..14) == Some(&[0x86, 0xdd]) && frame.get(20) == Some(&44);
    if is_fragment && frame.len() >= 62 && made_by_kernel {
        frame[58..62].fill(0);
    }
    frame
}

fn comparable([at_blue, at_red]: Arrived) -> Arrived {
    let clean = |frames: Vec<Vec<u8>>, made_by_kernel| {
        let frames = frames.into_iter().filter(|frame| !is_noise(frame));
        let mut frames: Vec<_> = frames.map(|frame| normal(frame, made_by_kernel)).collect();
        frames.sort();
        frames
    };
    // Red gets answers alone.
    [clean(at_blue, false), clean(at_red, true)]
}

fn same(twins: &Twins, recipes: &[Recipe], round: u32) -> Result<(), TestCaseError> {
    let frames: Vec<_> = recipes.iter().map(|recipe| recipe.build(&twins.world)).collect();
    let send = |side: &Side, which| {
        let sent = side.send(&twins.world, &frames, round);
        sent.map_err(|error| TestCaseError::fail(format!("{which}: {error:#}")))
    };
    let (fast_took, fast) = send(&twins.accelerated, "with the fast path")?;
    let (plain_took, plain) = send(&twins.plain, "without")?;
    prop_assert_eq!(fast_took, plain_took, "the kernel takes the same frames");
    let (fast, plain) = (comparable(fast), comparable(plain));
    for (place, (fast, plain)) in ["blue", "red"].into_iter().zip(fast.iter().zip(&plain)) {
        let only = |some: &[Vec<u8>], others: &[Vec<u8>]| {
            let only = some.iter().filter(|frame| !others.contains(frame));
            only.map(|frame| hex(frame)).collect::<Vec<_>>()
        };
        prop_assert!(
            fast == plain,
            "at {place}: {} frames with the fast path, {} without; only with it {:?}, only without {:?}",
            fast.len(),
            plain.len(),
            only(fast, plain),
            only(plain, fast)
        );
    }
    Ok(())
}

fn hex(frame: &[u8]) -> String {
    let shown = frame.iter().take(100).map(|byte| format!("{byte:02x}"));
    format!("{} bytes: {}", frame.len(), shown.collect::<String>())
}

fn agrees(node: &Node, shape: Shape, by: By) -> Result<()> {
    on_one_cpu()?;
    let twins = Twins::make(node, shape, by)?;
    let before = reading("r0")?;
    let config = Config {
        cases: u32::try_from(bearable(320))?,
        failure_persistence: None,
        max_shrink_iters: 300,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let round = std::cell::Cell::new(0);
    // A sender without GSO cuts packets itself; its receiver, by GRO, puts some together again.
    let batches = prop::collection::vec(recipe(by == By::Tc), 1..24);
    let outcome = runner.run(&batches, |recipes| {
        round.set(round.get() + 1);
        same(&twins, &recipes, round.get())
    });
    if let Err(TestError::Fail(why, recipes)) = &outcome {
        let frames = recipes.iter().map(|recipe| hex(&recipe.build(&twins.world).bytes));
        anyhow::bail!("{why}\n{recipes:#?}\n{}", frames.collect::<Vec<_>>().join("\n"));
    }
    outcome?;
    took_part(before, shape, by)
}

/// Frames of every kind were among them.
fn took_part(before: EndReading, shape: Shape, by: By) -> Result<()> {
    let after = reading("r0")?;
    let redirected = |reading: &EndReading| {
        reading.counters.map(|counters| counters.redirected[usize::from(by == By::Xdp)])
    };
    let grown = redirected(&after).unwrap_or(0) - redirected(&before).unwrap_or(0);
    ensure!(grown > bearable(300), "only {grown} frames took the fast path");
    let count = |reading: &EndReading, reason: Fallback| {
        reading.fallbacks.map_or(0, |fallbacks| fallbacks.by_reason[reason as usize])
    };
    // Few batches, as on an emulated machine, do not have everything.
    let all = bearable(100) == 100;
    for reason in Fallback::ALL {
        let possible = match reason {
            Fallback::Lease | Fallback::Gone | Fallback::Memory => false,
            Fallback::HopLimit => shape == Shape::Routed,
            _ => true,
        };
        let came = count(&after, reason) - count(&before, reason);
        ensure!(
            if all { (came > 0) == possible } else { came == 0 || possible },
            "{}: {came} frames",
            reason.as_str()
        );
    }
    Ok(())
}

#[test]
fn on_a_bridge_by_tc() {
    on_node(|node| agrees(node, Shape::Bridged, By::Tc));
}

#[test]
fn over_routes_by_tc() {
    on_node(|node| agrees(node, Shape::Routed, By::Tc));
}

#[test]
fn on_a_bridge_by_xdp() {
    on_node(|node| agrees(node, Shape::Bridged, By::Xdp));
}

#[test]
fn over_routes_by_xdp() {
    on_node(|node| agrees(node, Shape::Routed, By::Xdp));
}
