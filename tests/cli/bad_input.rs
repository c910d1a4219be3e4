//! Bad input: one line that says what is wrong and where, exit 2, and nothing was touched.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use veth_tests::{Node, Picture, agent, agent_path, on_node, run, shell};

use crate::one_line;

/// A file with one mistake, and what the line about it has to name.
struct Mistake {
    file: &'static str,
    names: &'static [&'static str],
}

const fn mistake(file: &'static str, names: &'static [&'static str]) -> Mistake {
    Mistake { file, names }
}

const MISTAKES: &[Mistake] = &[
    mistake(
        "namespaces: [{ name: new }]\npairs:\n  - name: p\n    colour: red\n    ends: []\n",
        &["line 4, column 5", "colour"],
    ),
    mistake("namespace: [{ name: new }]\n", &["line 1, column 1", "namespace"]),
    mistake(
        "pairs:\n  - name: p\n    ends:\n      - { namespace: orange, interface: a }\n",
        &["line 2", "\"p\"", "one end", "exactly two"],
    ),
    mistake(
        "namespaces: [{ name: new }]\npairs:\n  - name: p\n    ends:\n      - { interface: a }\n      \
         - { interface: b }\n      - { namespace: new, interface: c }\n",
        &["line 3", "\"p\"", "3 ends", "exactly two"],
    ),
    mistake(
        "namespaces: [{ name: new }]\npairs:\n  - name: p\n    ends:\n      - { namespace: new, \
         interface: same }\n      - { namespace: new, interface: same }\n",
        &["line 6", "same", "another name"],
    ),
    mistake(
        "pairs:\n  - name: p\n    ends:\n      - { interface: sixteen-bytes-xx }\n      - { \
         namespace: orange, interface: b }\n",
        &["line 4", "sixteen-bytes-xx", "15 bytes"],
    ),
    mistake(
        "pairs:\n  - name: p\n    ends:\n      - { interface: a/b }\n      - { namespace: orange, \
         interface: b }\n",
        &["line 4", "a/b", "'/'"],
    ),
    mistake(
        "pairs:\n  - name: p\n    ends:\n      - { interface: \"a\\nb\" }\n      - { namespace: \
         orange, interface: b }\n",
        &["line 4", "\"a\\nb\""],
    ),
    mistake(
        "namespaces: [{ name: \"a/b\" }]\npairs: []\n",
        &["line 1", "a/b", "not a namespace name"],
    ),
    mistake("namespaces: [{ name: \"a\\nb\" }]\n", &["line 1", "\"a\\nb\""]),
    mistake(
        "pairs:\n  - name: p\n    ends:\n      - { interface: a, addresses: [10.7.0.1] }\n      - { \
         namespace: orange, interface: b }\n",
        &["line 4", "10.7.0.1", "prefix length", "10.7.0.1/24"],
    ),
    mistake(
        "pairs:\n  - name: p\n    ends:\n      - interface: a\n        addresses: [fd00::1/64]\n        \
         routes: [{ to: fd01::/64, via: 10.7.0.1 }]\n      - { namespace: orange, interface: b }\n",
        &["line 6", "fd01::/64", "10.7.0.1"],
    ),
    mistake(
        "pairs:\n  - name: p\n    ends:\n      - { interface: a, bridge: br-none }\n      - { \
         namespace: orange, interface: b }\n",
        &["\"p\"", "br-none", "neither declared nor there", "bridges"],
    ),
    mistake(
        "pairs:\n  - name: p\n    ends:\n      - { namespace: nowhere, interface: a }\n      - { \
         namespace: orange, interface: b }\n",
        &["\"p\"", "nowhere", "neither declared nor there", "namespaces"],
    ),
    mistake(
        "namespaces: [{ name: new }]\npairs:\n  - name: p\n    datapath: tc\n    ends:\n      - { \
         namespace: orange, interface: a }\n      - { namespace: new, interface: b }\n",
        &["line 4", "\"p\"", "datapath: tc", "forwarded", "bridge"],
    ),
    mistake(
        "pairs:\n  - name: p\n    ends:\n      - { interface: a, mtu: 67 }\n      - { namespace: \
         orange, interface: b }\n",
        &["line 4", "67", "68 to 65535"],
    ),
    mistake(
        "pairs:\n  - name: p\n    ends:\n      - { interface: a, mtu: 65536 }\n      - { namespace: \
         orange, interface: b }\n",
        &["line 4", "65536", "68 to 65535"],
    ),
    mistake("", &["declares nothing"]),
    mistake("# only a comment\n", &["declares nothing"]),
    mistake("pairs: [\n", &["line"]),
    mistake("just words\n", &["line 1"]),
];

/// A node with something on it that could be touched.
fn furnish(node: &Node) -> Result<Picture> {
    node.quiet_netns("orange")?;
    shell(
        "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
         ip link add br9 type bridge
         ip link add here type veth peer name there netns orange
         ip link set here master br9 up",
    )?;
    Picture::take()
}

#[test]
fn a_mistake_is_named_and_nothing_is_touched() {
    on_node(|node| {
        let before = furnish(node)?;
        for Mistake { file, names } in MISTAKES {
            let path = node.file("topology.yaml", file)?;
            for command in ["apply", "apply --dry-run"] {
                refuses(command, &path, names).with_context(|| format!("{command}: {file}"))?;
                before.still_holds().with_context(|| format!("{command}: {file}"))?;
            }
        }
        Ok(())
    });
}

fn refuses(command: &str, path: &Path, names: &[&str]) -> Result<()> {
    let output = agent(&format!("{command} -f {}", path.display()))?;
    ensure!(output.code == 2, "{output:?}");
    ensure!(output.stdout.is_empty(), "{output:?}");
    let line = one_line(&output)?;
    for name in names {
        ensure!(line.contains(name), "{name:?} is not in {line:?}");
    }
    Ok(())
}

#[test]
fn every_mistake_of_a_file_is_said_on_a_line_of_its_own() {
    on_node(|node| {
        let before = furnish(node)?;
        let file = "pairs:\n  - name: p\n    ends:\n      - { interface: a, mtu: 67 }\n      - { \
                    interface: b/c, addresses: [10.0.0.1] }\n";
        let path = node.file("topology.yaml", file)?;
        let output = agent(&format!("apply -f {}", path.display()))?;
        ensure!(output.code == 2, "{output:?}");
        let lines: Vec<_> = output.stderr.lines().collect();
        ensure!(lines.len() == 3, "{lines:?}");
        ensure!(lines.iter().all(|line| line.starts_with("veth-agent: ")), "{lines:?}");
        before.still_holds()
    });
}

#[test]
fn what_is_no_file_to_read_is_refused() {
    on_node(|node| {
        let before = furnish(node)?;
        let big = node.file("big.yaml", &"# filler\n".repeat((2 << 20) / 9 + 1))?;
        let latin = node.scratch().join("latin.yaml");
        std::fs::write(&latin, b"namespaces:\n  - name: caf\xe9\n")?;
        let absent = node.scratch().join("absent.yaml");
        let cases = [
            (big.as_path(), "larger than 1 MiB"),
            (node.scratch(), "is a directory"),
            (latin.as_path(), "not UTF-8"),
            (absent.as_path(), "is not there"),
            (Path::new("/dev/zero"), "larger than 1 MiB"),
        ];
        for (path, what) in cases {
            for command in ["apply", "apply --dry-run", "delete", "delete --dry-run"] {
                let name = path.display().to_string();
                refuses(command, path, &[&name, what]).with_context(|| command.to_owned())?;
            }
        }
        before.still_holds()
    });
}

#[test]
fn delete_refuses_what_apply_refuses() {
    on_node(|node| {
        let before = furnish(node)?;
        for Mistake { file, names } in MISTAKES {
            // What is not there needs no removing.
            if names.contains(&"neither declared nor there") {
                continue;
            }
            let path = node.file("topology.yaml", file)?;
            refuses("delete", &path, names).with_context(|| file.to_owned())?;
        }
        before.still_holds()
    });
}

#[test]
fn a_file_may_come_from_standard_input() {
    on_node(|node| {
        let program = agent_path().display();
        let before = furnish(node)?;
        let refused = shell(&format!("printf 'pears: []' | {program} apply -f -"))?;
        ensure!(refused.code == 2, "{refused:?}");
        let line = one_line(&refused)?;
        ensure!(line.contains("line 1, column 1") && line.contains("pears"), "{line:?}");
        let nothing = shell(&format!("{program} apply -f - </dev/null"))?;
        ensure!(nothing.code == 2, "{nothing:?}");
        ensure!(one_line(&nothing)?.contains("declares nothing"), "{nothing:?}");
        let endless = shell(&format!("{program} apply -f - </dev/zero"))?;
        ensure!(endless.code == 2, "{endless:?}");
        ensure!(one_line(&endless)?.contains("standard input"), "{endless:?}");
        before.still_holds()?;

        let file = "namespaces: [{ name: green }]";
        let applied = shell(&format!("echo '{file}' | {program} apply -f -"))?;
        ensure!(applied.code == 0, "{applied:?}");
        run("ip netns exec green true")?;
        let deleted = shell(&format!("echo '{file}' | {program} delete -f -"))?;
        ensure!(deleted.code == 0, "{deleted:?}");
        before.still_holds()
    });
}
