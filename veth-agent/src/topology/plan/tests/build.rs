//! What `apply` makes where nothing is there.

use super::kernel::Kernel;

pub(super) const DEMO: &str = "
namespaces: [{name: orange}, {name: green}]
pairs:
  - name: demo
    ends:
      - {namespace: orange, interface: tap1, addresses: [192.168.1.2/24]}
      - {namespace: green, interface: tap2, addresses: [192.168.1.3/24], mtu: 1400}
";

#[test]
fn a_pair_in_two_new_namespaces() {
    assert_eq!(
        Kernel::new().apply(DEMO),
        [
            r#"create namespace "orange""#,
            r#"create namespace "green""#,
            r#"create pair "demo": tap1 in "orange" <-> tap2 in "green", MTU 1400"#,
            r#"attach programs to tap1 in "orange" and tap2 in "green""#,
            r#"add address 192.168.1.2/24 to tap1 in "orange""#,
            r#"add address 192.168.1.3/24 to tap2 in "green""#,
            r#"set tap1 in "orange" up"#,
            r#"set tap2 in "green" up"#,
        ]
    );
}

#[test]
fn a_bridge_with_a_port() {
    let steps = Kernel::new().apply(
        "
bridges: [{name: br0, addresses: [10.0.0.1/24], mtu: 1500, mac: 02:00:00:00:00:01}]
pairs: [{name: p, ends: [{interface: a, bridge: br0}, {interface: b, up: false}]}]
",
    );
    assert_eq!(
        steps,
        [
            "create bridge br0 on the host, MTU 1500, MAC 02:00:00:00:00:01",
            "add address 10.0.0.1/24 to br0 on the host",
            "set br0 on the host up",
            r#"create pair "p": a on the host <-> b on the host"#,
            "attach programs to a on the host and b on the host",
            "make a on the host a port of br0",
            "set a on the host up",
        ]
    );
}

#[test]
fn routes_come_after_every_end_is_up_and_gateways_after_what_reaches_them() {
    let steps = Kernel::new().apply(
        "
namespaces: [{name: blue}]
pairs:
  - name: blue
    ends:
      - {interface: veth0, addresses: [10.0.0.10/32], routes: [{to: 10.0.0.1/32}]}
      - namespace: blue
        interface: veth1
        addresses: [10.0.0.1/32]
        routes: [{to: default, via: 10.0.0.10, source: 10.0.0.1, metric: 7}, {to: 10.0.0.10/32}]
",
    );
    assert_eq!(
        steps[5..],
        [
            "set veth0 on the host up",
            r#"set veth1 in "blue" up"#,
            "add route to 10.0.0.1/32 through veth0 on the host",
            r#"add route to 10.0.0.10/32 through veth1 in "blue""#,
            r#"add IPv4 default route via 10.0.0.10 from 10.0.0.1 metric 7 through veth1 in "blue""#,
        ]
    );
}

#[test]
fn the_route_that_the_kernel_makes_is_left_to_it() {
    let mut kernel = Kernel::new();
    let yaml = "
pairs: [{name: p, ends: [
  {interface: a, addresses: [10.0.0.1/24], routes: [{to: 10.0.0.0/24}]}, {interface: b}]}]
";
    assert!(!kernel.apply(yaml).iter().any(|step| step.contains("route")));
    kernel.seen.namespaces.get_mut(&kernel.seen.host).unwrap().routes.clear();
    assert_eq!(kernel.apply(yaml), ["add route to 10.0.0.0/24 through a on the host"]);
}

#[test]
fn namespaces_and_bridges_that_are_there_stay_and_stay_unmarked() {
    let mut kernel = Kernel::new();
    kernel.netns("orange");
    kernel.link("host/br0", crate::inventory::LinkKind::Bridge);
    let steps = kernel.apply("{namespaces: [{name: orange}], bridges: [{name: br0, mtu: 1400}]}");
    assert_eq!(steps, ["set MTU of br0 on the host to 1400", "set br0 on the host up"]);
    assert_eq!(kernel.at("orange/lo").alias, None);
    assert_eq!(kernel.at("host/br0").alias, None);
}

#[test]
fn what_the_file_does_not_declare_may_be_there() {
    let mut kernel = Kernel::new();
    kernel.netns("orange");
    kernel.link("orange/br0", crate::inventory::LinkKind::Bridge);
    kernel.apply(
        "pairs: [{name: p, ends: [{interface: a}, {namespace: orange, interface: b, bridge: br0}]}]",
    );
}

#[test]
fn loopback_is_repaired_only_where_apply_brought_it_up() {
    let mut kernel = Kernel::new();
    kernel.apply("namespaces: [{name: orange}]");
    kernel.at("orange/lo").admin_up = false;
    assert_eq!(kernel.apply("namespaces: [{name: orange}]"), [r#"set lo in "orange" up"#]);
}
