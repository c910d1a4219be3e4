//! `list` shows every pair on the node, whoever made it, each end with its own other end.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use veth_tests::{Agent, agent, on_node, run, shell};

fn listed() -> Result<Value> {
    let output = agent("list -o json")?;
    ensure!(output.code == 0, "{output:?}");
    ensure!(output.stderr.is_empty(), "{output:?}");
    Ok(serde_json::from_str(&output.stdout)?)
}

fn pairs() -> Result<Vec<Value>> {
    Ok(listed()?["pairs"].as_array().context("no pairs")?.clone())
}

/// Starts something that holds an unnamed namespace; gives its process.
fn unnamed() -> Result<String> {
    let script = "unshare -n sleep infinity >/dev/null 2>&1 &
        until ! cmp -s /proc/$!/comm /proc/$$/comm && [ $(cat /proc/$!/comm) = sleep ]; do :; done
        echo $!";
    Ok(shell(script)?.stdout.trim().to_owned())
}

/// `INTERFACE@INODE` of both ends of each pair, from the kernel's own list of each namespace by MAC.
fn by_mac(pairs: &[Value]) -> Result<BTreeSet<[String; 2]>> {
    let of = |pair: &Value| -> Result<[String; 2]> {
        let ends = pair["ends"].as_array().context("no ends")?;
        let mut macs: Vec<_> =
            ends.iter().map(|end| end["mac"].as_str().unwrap_or_default().to_owned()).collect();
        macs.sort();
        <[String; 2]>::try_from(macs).map_err(|macs| anyhow::anyhow!("{macs:?} in {pair}"))
    };
    pairs.iter().map(of).collect()
}

#[test]
fn equal_indexes_everywhere_do_not_confuse_it() {
    on_node(|_| {
        const PODS: usize = 6;
        let mut pods = Vec::new();
        for nth in 0..PODS {
            if nth % 2 == 0 {
                run(&format!("ip netns add pod{nth}"))?;
                pods.push((format!("-n pod{nth}"), format!("pod{nth}")));
            } else {
                let pid = unnamed()?;
                // A name only for as long as the interfaces are made.
                run(&format!("ip netns attach tmp{nth} {pid}"))?;
                pods.push((format!("-n tmp{nth}"), format!("tmp{nth}")));
            }
        }
        // Ends get the same index in all: 2 for the direct ones, 3 for the host's pods.
        let mut wanted = BTreeSet::new();
        let mut pair = |one: &str, a: &str, other: &str, b: &str, nth: usize| -> Result<()> {
            let macs = [format!("02:00:00:00:{nth:02x}:01"), format!("02:00:00:00:{nth:02x}:02")];
            run(&format!(
                "ip {one} link add {a} address {} type veth peer name {b} address {} netns {other}",
                macs[0], macs[1]
            ))?;
            wanted.insert(macs);
            Ok(())
        };
        for nth in (0..PODS).step_by(2) {
            pair(&pods[nth].0, "d0", &pods[nth + 1].1, "d0", nth)?;
        }
        for (nth, (_, pod)) in pods.iter().enumerate() {
            pair("", &format!("host{nth}"), pod, "c0", 0x10 + nth)?;
        }
        for nth in 0..PODS {
            let (one, other) = (&pods[nth].0, &pods[(nth + 3) % PODS].1);
            pair(one, &format!("x{nth}"), other, &format!("y{nth}"), 0x20 + nth)?;
        }
        pair(&pods[0].0, "same0", &pods[0].1, "same1", 0x30)?;
        pair("", "same0", "1", "same1", 0x31)?;
        let indexes = BTreeSet::from_iter(["d0", "c0"].map(|name| {
            let index = |pod: &(String, String)| {
                let shown = run(&format!("ip {} -o link show dev {name}", pod.0))?.stdout;
                Ok::<_, anyhow::Error>(shown.split(':').next().map(str::to_owned))
            };
            let all: Result<BTreeSet<_>> = pods.iter().map(index).collect();
            all.map_or(0, |all| all.len())
        }));
        ensure!(indexes == BTreeSet::from([1]), "the indexes differ: the test shows nothing");
        for nth in (1..PODS).step_by(2) {
            run(&format!("umount /run/netns/tmp{nth}"))?;
            std::fs::remove_file(format!("/run/netns/tmp{nth}"))?;
        }

        let pairs = pairs()?;
        assert_eq!(by_mac(&pairs)?, wanted);
        for pair in &pairs {
            named_after_its_first_end(pair)?;
        }
        let unnamed = pairs.iter().flat_map(|pair| pair["ends"].as_array()).flatten();
        let unnamed = unnamed.filter(|end| end["netns"]["name"].is_null()).count();
        assert_eq!(unnamed, 3 * (1 + 1 + 2), "ends in namespaces without a name");
        Ok(())
    });
}

fn named_after_its_first_end(pair: &Value) -> Result<()> {
    let first = &pair["ends"][0];
    let netns = match first["netns"]["name"].as_str() {
        Some(name) => name.to_owned(),
        None => format!("net:[{}]", first["netns"]["inode"]),
    };
    let interface = first["interface"].as_str().context("no name")?;
    ensure!(pair["name"] == format!("{interface}@{netns}"), "{pair}");
    let host = |end: &Value| end["netns"]["name"] == "host";
    ensure!(host(first) || !host(&pair["ends"][1]), "the host's end comes first: {pair}");
    Ok(())
}

/// What the contract says of a key.
fn is(value: &Value, kind: &str) -> bool {
    kind.split('|').any(|kind| match kind {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "bool" => value.is_boolean(),
        "number" => value.is_u64(),
        "strings" => value.as_array().is_some_and(|all| all.iter().all(Value::is_string)),
        "object" => value.is_object(),
        "array" => value.is_array(),
        _ => false,
    })
}

fn has_shape(value: &Value, shape: &[(&str, &str)]) -> Result<()> {
    let object = value.as_object().with_context(|| format!("no object: {value}"))?;
    for (key, kind) in shape {
        let field = object.get(*key).with_context(|| format!("no {key} in {value}"))?;
        ensure!(is(field, kind), "{key} is not {kind}: {field}");
    }
    Ok(())
}

#[test]
fn json_has_the_shape_that_scripts_rely_on() {
    on_node(|node| {
        let topology = "
namespaces: [{ name: orange }]
bridges: [{ name: br0 }]
pairs:
  - name: demo
    ends:
      - { interface: tap1, bridge: br0, mtu: 1400 }
      - { namespace: orange, interface: tap2, addresses: [192.168.1.3/24, 'fd00::3/64'], mtu: 1400, mac: '86:ac:56:a5:fa:f0' }
";
        let file = node.file("t.yaml", topology)?;
        let applied = agent(&format!("apply -f {}", file.display()))?;
        ensure!(applied.code == 0, "{applied:?}");
        run("ip link add plain0 type veth peer name plain1")?;
        let document = listed()?;
        has_shape(&document, &[("schema_version", "number"), ("pairs", "array")])?;
        assert_eq!(document["schema_version"], 1);
        let pairs = document["pairs"].as_array().context("no pairs")?;
        assert_eq!(pairs.len(), 2);
        for pair in pairs {
            has_shape(
                pair,
                &[
                    ("name", "string"),
                    ("datapath", "string"),
                    ("pod", "object|null"),
                    ("ends", "array"),
                ],
            )?;
            let ends = pair["ends"].as_array().context("no ends")?;
            assert_eq!(ends.len(), 2, "{pair}");
            ends.iter().try_for_each(end_has_shape)?;
        }
        let (demo, plain) = (&pairs[0], &pairs[1]);
        assert_eq!(demo["name"], "demo");
        assert_eq!(demo["datapath"], "observe");
        let [tap1, tap2] = [&demo["ends"][0], &demo["ends"][1]];
        assert_eq!(tap1["interface"], "tap1");
        assert_eq!(tap1["bridge"], "br0");
        assert_eq!(tap1["netns"]["name"], "host");
        assert_eq!(tap2["netns"]["name"], "orange");
        assert_eq!(tap2["bridge"], Value::Null);
        assert_eq!(tap2["mac"], "86:ac:56:a5:fa:f0");
        assert_eq!(tap2["mtu"], 1400);
        let addresses = tap2["addresses"].as_array().context("no addresses")?;
        for address in ["192.168.1.3/24", "fd00::3/64"] {
            ensure!(addresses.iter().any(|shown| shown == address), "{tap2}");
        }
        let inode = run("stat -L -c %i /run/netns/orange")?.stdout;
        assert_eq!(tap2["netns"]["inode"].to_string(), inode.trim());
        let shown: Value =
            serde_json::from_str(&run("ip -n orange -j link show dev tap2")?.stdout)?;
        assert_eq!(tap2["ifindex"], shown[0]["ifindex"]);
        for end in [tap1, tap2] {
            assert_eq!(end["hooks"]["ingress"], end["hooks"]["egress"]);
            ensure!(["tcx", "clsact"].iter().any(|hook| end["hooks"]["ingress"] == *hook), "{end}");
        }
        assert_eq!(plain["name"], "plain0@host");
        for end in [&plain["ends"][0], &plain["ends"][1]] {
            assert_eq!(end["state"], "down");
            for hook in ["ingress", "egress", "xdp"] {
                assert_eq!(end["hooks"][hook], Value::Null);
            }
        }
        Ok(())
    });
}

fn end_has_shape(end: &Value) -> Result<()> {
    has_shape(
        end,
        &[
            ("interface", "string"),
            ("ifindex", "number"),
            ("kind", "string"),
            ("netns", "object"),
            ("mac", "string"),
            ("mtu", "number"),
            ("state", "string"),
            ("admin_up", "bool"),
            ("carrier", "bool"),
            ("addresses", "strings"),
            ("bridge", "string|null"),
            ("hooks", "object"),
        ],
    )?;
    has_shape(
        &end["netns"],
        &[("name", "string|null"), ("inode", "number"), ("cookie", "number")],
    )?;
    has_shape(
        &end["hooks"],
        &[("ingress", "string|null"), ("egress", "string|null"), ("xdp", "string|null")],
    )?;
    let states = ["up", "down", "lowerlayerdown", "dormant", "unknown"];
    ensure!(states.iter().any(|state| end["state"] == *state), "{end}");
    ensure!(end["kind"] == "veth", "{end}");
    Ok(())
}

#[test]
fn without_pairs_the_list_is_empty() {
    on_node(|_| {
        assert_eq!(listed()?, serde_json::json!({ "schema_version": 1, "pairs": [] }));
        for format in ["table", "wide"] {
            let output = agent(&format!("list -o {format}"))?;
            ensure!(output.code == 0 && output.stdout.lines().count() == 1, "{output:?}");
        }
        Ok(())
    });
}

#[test]
fn names_are_shown_as_they_are_and_control_characters_spelled_out() {
    on_node(|_| {
        // Whatever `dev_valid_name` takes: no slash, colon or space.
        for (nth, name) in
            ["a-b.c_d", "@", "ünï", "\"q\"", "'", "$x", "\\n", "-o"].iter().enumerate()
        {
            let script = format!("ip link add plain{nth} type veth peer name back{nth}; ");
            ensure!(shell(&script)?.code == 0);
            rename(&format!("plain{nth}"), name.as_bytes())?;
        }
        run("ip link add bell type veth peer name bell-back")?;
        rename("bell", b"x\x1b[31m\x07")?;

        let listed: BTreeMap<String, Value> = pairs()?
            .into_iter()
            .flat_map(|pair| pair["ends"].as_array().cloned().unwrap_or_default())
            .map(|end| (end["interface"].as_str().unwrap_or_default().to_owned(), end))
            .collect();
        for name in ["a-b.c_d", "@", "ünï", "\"q\"", "'", "$x", "\\n", "-o"] {
            ensure!(listed.contains_key(name), "{name:?}: {:?}", listed.keys());
        }
        ensure!(listed.contains_key("x\u{1b}[31m\u{7}"), "{:?}", listed.keys());
        for format in ["table", "wide"] {
            let output = agent(&format!("list -o {format}"))?;
            ensure!(output.code == 0, "{output:?}");
            ensure!(output.stdout.contains("x\\u{1b}[31m\\u{7}"), "{output:?}");
            let controls = output.stdout.chars().filter(|c| c.is_control() && *c != '\n').count();
            assert_eq!(controls, 0, "{output:?}");
            assert_eq!(output.stdout.lines().count(), 1 + 2 * 9, "{}", output.stdout);
        }
        Ok(())
    });
}

/// Renames an interface of the host, to anything that the kernel takes.
fn rename(old: &str, new: &[u8]) -> Result<()> {
    rename_within("", old, new)
}

fn rename_within(scope: &str, old: &str, new: &[u8]) -> Result<()> {
    // Octal, since a shell script is text.
    let octal: String = new.iter().map(|byte| format!("\\{byte:03o}")).collect();
    let script = format!("ip {scope} link set dev {old} name \"$(printf '{octal}')\"");
    let output = shell(&script)?;
    ensure!(output.code == 0, "{script}: {output:?}");
    Ok(())
}

#[test]
fn a_name_that_is_no_text_blinds_nobody() {
    on_node(|node| {
        node.netns("odd")?;
        node.netns("even")?;
        run("ip link add seen0 type veth peer name seen1 netns even")?;
        run("ip link add odd0 type veth peer name odd1 netns odd")?;
        run("ip link add odd2 type veth peer name odd3 netns odd")?;
        rename_within("-n odd", "odd1", b"caf\xe9")?;
        let pairs = pairs()?;
        let names: Vec<_> = pairs.iter().map(|pair| pair["name"].as_str()).collect();
        assert_eq!(names, [Some("odd0@host"), Some("odd2@host"), Some("seen0@host")]);
        for pair in &pairs[1..] {
            assert_eq!(pair["ends"].as_array().map(Vec::len), Some(2), "{pair}");
        }
        // And in the host's own.
        rename("odd0", b"\xff\xfe")?;
        let document = listed()?;
        let whole = document["pairs"].as_array().context("no pairs")?.iter();
        let whole: Vec<_> = whole.map(|pair| pair["name"].as_str()).collect();
        ensure!(whole.ends_with(&[Some("odd2@host"), Some("seen0@host")]), "{document}");
        let daemon = Agent::start(node, "")?;
        ensure!(daemon.page()?.value("veth_agent_pairs", &[("state", "down")])? >= 2.0);
        ensure!(!daemon.said().contains("decode"), "{}", daemon.said());
        Ok(())
    });
}

#[test]
fn a_namespace_called_host_is_not_the_hosts() {
    on_node(|node| {
        node.netns("host")?;
        run("ip link add a0 type veth peer name a1 netns host")?;
        run("ip -n host link add b0 type veth peer name b1")?;
        let pairs = pairs()?;
        assert_eq!(pairs.len(), 2);
        let own = &pairs[0]["ends"][0];
        assert_eq!((&own["interface"], &own["netns"]["name"]), (&"a0".into(), &"host".into()));
        let far = [&pairs[0]["ends"][1], &pairs[1]["ends"][0], &pairs[1]["ends"][1]];
        for end in far {
            assert_eq!(end["netns"]["name"], "/run/netns/host", "{end}");
            ensure!(end["netns"]["inode"] != own["netns"]["inode"], "{end}");
        }
        assert_eq!(pairs[0]["name"], "a0@host");
        assert_eq!(pairs[1]["name"], "b0@/run/netns/host");
        Ok(())
    });
}

#[test]
fn a_namespace_by_two_names_is_one() {
    on_node(|node| {
        node.netns("first")?;
        shell("touch /run/netns/second; mount --bind /run/netns/first /run/netns/second")?;
        run("ip link add a0 type veth peer name a1 netns second")?;
        let pairs = pairs()?;
        assert_eq!(pairs.len(), 1, "{pairs:?}");
        assert_eq!(pairs[0]["ends"][1]["netns"]["name"], "first");
        Ok(())
    });
}

#[test]
fn a_file_that_leads_nowhere_is_no_namespace() {
    on_node(|_| {
        std::fs::write("/run/netns/stale", "")?;
        std::os::unix::fs::symlink("/nowhere", "/run/netns/dangling")?;
        run("ip link add a0 type veth peer name a1")?;
        assert_eq!(pairs()?.len(), 1);
        Ok(())
    });
}
