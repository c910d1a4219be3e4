//! What `apply` does with what is there: adopt, repair, and keep off what is not ours.

use super::{build::DEMO, kernel::Kernel};
use crate::{
    inventory::LinkKind,
    topology::{action::Action, plan::Plan},
};

/// A pair `p` between `a` and `b` on the host, `a` with `keys`.
fn pair(keys: &str) -> String {
    let comma = if keys.is_empty() { "" } else { ", " };
    format!("pairs: [{{name: p, ends: [{{interface: a{comma}{keys}}}, {{interface: b}}]}}]")
}

/// A kernel in which `pair(keys)` was applied.
fn applied(keys: &str) -> Kernel {
    let mut kernel = Kernel::new();
    kernel.apply(&pair(keys));
    kernel
}

#[test]
fn a_pair_without_a_mark_is_adopted_as_it_is() {
    let mut kernel = Kernel::new();
    kernel.veth("host/a", "host/b");
    kernel.at("host/a").admin_up = true;
    kernel.at("host/b").alias = Some(String::new());
    kernel.address("host/a", "10.0.0.1/24", false);
    assert_eq!(
        kernel.apply(&pair("")),
        [
            "attach programs to a on the host and b on the host",
            r#"mark a on the host as an end of "p""#,
            r#"mark b on the host as an end of "p""#,
            "set b on the host up",
        ]
    );
}

#[test]
fn only_the_mark_that_differs_is_set() {
    let mut kernel = applied("");
    kernel.at("host/b").alias = Some("veth-agent:p;datapath=tc".to_owned());
    assert_eq!(kernel.apply(&pair("")), [r#"mark b on the host as an end of "p""#]);
}

#[test]
fn programs_come_back_where_one_end_lost_them() {
    let mut kernel = applied("");
    kernel.attached.pop_last();
    assert_eq!(kernel.apply(&pair("")), ["attach programs to a on the host and b on the host"]);
}

#[test]
fn drift_is_repaired() {
    let keys = "mtu: 1400, mac: 02:00:00:00:00:01, addresses: [10.0.0.1/24, 'fd00::1/64'], routes: \
                [{to: 10.1.0.0/16, via: 10.0.0.2}]";
    let mut kernel = applied(keys);
    let end = kernel.at("host/a");
    end.mtu = 1500;
    end.mac = None;
    end.addresses.clear();
    end.admin_up = false;
    kernel.seen.namespaces.get_mut(&kernel.seen.host).unwrap().routes.clear();
    assert_eq!(
        kernel.apply(&pair(keys)),
        [
            "set MTU of a on the host to 1400",
            "set MAC of a on the host to 02:00:00:00:00:01",
            "add address 10.0.0.1/24 to a on the host",
            "add address fd00::1/64 to a on the host",
            "set a on the host up",
            "add route to 10.1.0.0/16 via 10.0.0.2 through a on the host",
        ]
    );
}

#[test]
fn a_bridge_of_ours_that_was_not_marked_is_marked() {
    let file = "bridges: [{name: br0}]";
    let mut kernel = Kernel::new();
    kernel.apply(file);
    kernel.at("host/br0").alias = None;
    kernel.at("host/br0").newborn = true;
    assert_eq!(kernel.apply(file), ["mark bridge br0 on the host"]);
    assert_eq!(kernel.delete(file), ["delete bridge br0 on the host"]);
}

#[test]
fn what_the_file_leaves_out_stays() {
    let mut kernel = applied("mtu: 1400, mac: 02:00:00:00:00:01");
    assert_eq!(kernel.apply(&pair("")), [""; 0]);
    assert_eq!(kernel.at("host/a").mtu, 1400);
}

#[test]
fn of_addresses_and_routes_only_ours_go() {
    let mut kernel = applied("addresses: [10.0.0.1/24], routes: [{to: 10.1.0.0/16}]");
    kernel.address("host/a", "10.9.0.1/24", false);
    kernel.route("host/a", "10.8.0.0/16", None, false);
    assert_eq!(
        kernel.apply(&pair("")),
        [
            "remove route to 10.1.0.0/16 through a on the host",
            "remove address 10.0.0.1/24 from a on the host",
        ]
    );
}

#[test]
fn a_new_prefix_length_replaces_ours_and_joins_others() {
    let mut kernel = applied("addresses: [10.0.0.1/24]");
    let wanted = pair("addresses: [10.0.0.1/25]");
    assert_eq!(
        kernel.apply(&wanted),
        [
            "remove address 10.0.0.1/24 from a on the host",
            "add address 10.0.0.1/25 to a on the host",
        ]
    );
    kernel.at("host/a").addresses[0].ours = false;
    assert_eq!(
        kernel.apply(&pair("addresses: [10.0.0.1/24]")),
        ["add address 10.0.0.1/24 to a on the host"]
    );
}

#[test]
fn a_secondary_address_survives_its_primary() {
    for promote in [false, true] {
        let mut kernel = applied("addresses: [10.0.0.1/24, 10.0.0.2/24]");
        kernel.promote_secondaries = promote;
        assert_eq!(
            kernel.apply(&pair("addresses: [10.0.0.2/24]")),
            [
                "remove address 10.0.0.2/24 from a on the host",
                "remove address 10.0.0.1/24 from a on the host",
                "add address 10.0.0.2/24 to a on the host",
            ]
        );
    }
}

#[test]
fn an_address_stays_if_somebody_elses_would_go_with_it() {
    let mut kernel = applied("addresses: [10.0.0.1/24]");
    kernel.address("host/a", "10.0.0.2/24", false);
    let Plan { actions, notes, .. } = kernel.plan(&pair("")).unwrap();
    assert_eq!(actions, []);
    assert_eq!(
        notes,
        [
            "a on the host: 10.0.0.1/24 stays, since 10.0.0.2/24, which veth-agent did not set, would go with it"
        ]
    );
}

#[test]
fn routes_that_go_with_the_last_address_come_back() {
    let route = "routes: [{to: 10.1.0.0/16}]";
    let mut kernel = applied(&format!("addresses: [10.0.0.1/24], {route}"));
    assert_eq!(
        kernel.apply(&pair(&format!("addresses: [10.0.0.2/24], {route}"))),
        [
            "remove address 10.0.0.1/24 from a on the host",
            "add address 10.0.0.2/24 to a on the host",
            "add route to 10.1.0.0/16 through a on the host",
        ]
    );
}

#[test]
fn ipv6_addresses_outlive_the_way_down() {
    for keep in [false, true] {
        let mut kernel = applied("addresses: ['fd00::1/64', 10.0.0.1/24]");
        kernel.keep_addr_on_down = keep;
        assert_eq!(
            kernel.apply(&pair("addresses: ['fd00::1/64', 10.0.0.1/24], up: false")),
            [
                "remove address fd00::1/64 from a on the host",
                "set a on the host down",
                "add address fd00::1/64 to a on the host",
            ]
        );
    }
}

#[test]
fn a_route_is_the_same_with_the_metric_that_the_kernel_gives_it() {
    let mut kernel = applied("addresses: ['fd00::1/64'], routes: [{to: 'fd01::/64'}]");
    let route = kernel.seen.namespaces[&kernel.seen.host].routes.last().unwrap();
    assert_eq!(route.metric, 1024);
    let same = "addresses: ['fd00::1/64'], routes: [{to: 'fd01::/64', metric: 1024}]";
    assert_eq!(kernel.apply(&pair(same)), [""; 0]);
    let other = "addresses: ['fd00::1/64'], routes: [{to: 'fd01::/64', metric: 5}]";
    assert_eq!(
        kernel.apply(&pair(other)),
        [
            "remove route to fd01::/64 metric 1024 through a on the host",
            "add route to fd01::/64 metric 5 through a on the host",
        ]
    );
}

#[test]
fn a_route_may_move_from_one_end_to_the_other() {
    let mut kernel = applied("routes: [{to: 10.1.0.0/16}]");
    let moved =
        "pairs: [{name: p, ends: [{interface: a}, {interface: b, routes: [{to: 10.1.0.0/16}]}]}]";
    assert_eq!(
        kernel.apply(moved),
        [
            "remove route to 10.1.0.0/16 through a on the host",
            "add route to 10.1.0.0/16 through b on the host",
        ]
    );
}

#[test]
fn a_marked_end_leaves_the_bridge_that_the_file_no_longer_names() {
    let bridge = "bridges: [{name: br0}, {name: br1}]\n";
    let mut kernel = Kernel::new();
    kernel.apply(&format!("{bridge}{}", pair("bridge: br0")));
    assert_eq!(
        kernel.apply(&format!("{bridge}{}", pair("bridge: br1"))),
        ["make a on the host a port of br1"]
    );
    assert_eq!(kernel.apply(&pair("")), ["take a on the host off its bridge"]);
}

#[test]
fn an_end_that_is_only_now_adopted_keeps_its_bridge() {
    let mut kernel = Kernel::new();
    let bridge = kernel.link("host/br0", LinkKind::Bridge);
    kernel.veth("host/a", "host/b");
    kernel.at("host/a").master = Some(bridge.ifindex);
    let plan = kernel.plan(&pair("")).unwrap();
    assert!(!plan.actions.iter().any(|step| matches!(step, Action::SetBridge { .. })));
}

#[test]
fn another_kind_of_master_is_not_a_bridge_to_leave() {
    let mut kernel = applied("");
    let vrf = kernel.link("host/red", LinkKind::Other("vrf".to_owned()));
    kernel.at("host/a").master = Some(vrf.ifindex);
    assert_eq!(kernel.apply(&pair("")), [""; 0]);
}

#[test]
fn a_pair_that_the_file_has_elsewhere_now_is_mentioned() {
    let mut kernel = Kernel::new();
    kernel.apply(DEMO);
    let plan = kernel.plan(&DEMO.replace("tap1", "tap7").replace("tap2", "tap8")).unwrap();
    assert_eq!(
        plan.notes,
        [
            r#"pair "demo": tap1 in "orange" carries this name from an earlier apply and is not in the file any more; delete it if it is not needed"#
        ]
    );
}
