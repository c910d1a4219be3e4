//! Lines for programs.

use serde_json::Value;
use veth_agent::trace::{Printer, Sighting, decode::Packet};

use crate::{harmless::one_line, printed};

pub fn check(sighting: &Sighting<'_>, packet: &Packet) {
    let bytes = printed(Printer::json(), None, &[sighting]);
    let line = one_line(&bytes);
    let parsed: Result<Value, _> = serde_json::from_str(line);
    let Ok(Value::Object(object)) = parsed else { unreachable!("no object: {line}") };
    let value = |key: &str| object.get(key).unwrap_or(&Value::Null);
    assert_eq!(value("schema_version"), 1);
    assert_eq!(value("time"), "2023-11-14T22:13:20.000000007Z");
    let made_up = if sighting.bare { sighting.length.min(14) } else { 0 };
    assert_eq!(value("length"), sighting.length - made_up);
    assert_eq!(value("netns").as_str(), sighting.end.map(|end| end.netns.as_str()));
    assert_eq!(value("interface").as_str(), sighting.end.map(|end| end.interface.as_str()));
    assert_eq!(value("reason").as_str(), sighting.reason);
    assert_eq!(value("process")["name"].as_str(), sighting.process.map(|it| it.name.as_str()));
    let has = |key| object.contains_key(key);
    assert_eq!(has("ethernet"), packet.ethernet.is_some() && !sighting.bare);
    assert_eq!(has("ip"), packet.ip().is_some());
    assert_eq!(has("arp"), packet.arp().is_some());
    assert_eq!(has("tcp") || has("udp") || has("icmp"), packet.transport.is_some());
    assert_eq!(has("dns"), packet.dns.is_some());
    assert_eq!(has("fault"), packet.fault.is_some());
    for key in ["netns", "interface", "direction", "verdict", "reason", "pod", "mark", "segments"] {
        assert!(has(key), "{key} is missing: {line}");
    }
}
