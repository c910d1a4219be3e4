//! Who is behind a cable, and is not looked for there.

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::{
    diagnose::{Case, End, Expectation, Finding, expectations},
    types::EndId,
};

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let missed: BTreeMap<(EndId, EndId), _> = expectations(case)
        .into_iter()
        .filter_map(|expected| Some(((expected.from, expected.owner), missed(case, expected)?)))
        .collect();
    let mut found = Vec::new();
    for ((from, owner), missed_way) in &missed {
        match missed.get(&(*owner, *from)) {
            Some(back) if missed_way.is_foreign() && back.is_foreign() => {
                // Once for both.
                if case.order(&missed_way.from) < case.order(&missed_way.owner) {
                    found.push(different_subnets(case, missed_way, back));
                }
            }
            _ => found.push(misrouted(case, missed_way)),
        }
    }
    found
}

/// An expectation that does not hold.
struct Missed<'a> {
    expected: Expectation,
    from: End<'a>,
    owner: End<'a>,
    /// What happens instead.
    instead: String,
    /// There is a route, by another link.
    elsewhere: bool,
}

fn missed<'a>(case: &Case<'a>, expected: Expectation) -> Option<Missed<'a>> {
    let (from, owner) = (case.end(expected.from)?, case.end(expected.owner)?);
    // One of its own addresses: that two have it is a finding of its own.
    let own = from
        .netns
        .links
        .values()
        .any(|link| link.addresses.iter().any(|address| address.net.addr() == expected.to));
    let (instead, elsewhere) = match case.facts(from.netns)?.routes.get(&expected.to)? {
        Ok(way) if way.dev == from.id.ifindex => return None,
        Ok(way) => {
            let dev = from.netns.links.get(&way.dev).map_or("another link", |dev| &dev.name);
            (format!("{} is sent to {dev}", expected.to), true)
        }
        Err(refusal) => (format!("{}: {}", expected.to, refusal.0), false),
    };
    (!own).then_some(Missed { expected, from, owner, instead, elsewhere })
}

impl Missed<'_> {
    /// Whether the address lies in a subnet of its own, and not in one that both share.
    fn is_foreign(&self) -> bool {
        let to = self.expected.to;
        let is_subnet = |net: &IpNet| net.prefix_len() < net.max_prefix_len();
        let of_owner = self.owner.addresses().find(|net| net.addr() == to);
        let near = self.from.addresses().any(|net| net.contains(&to));
        of_owner.is_some_and(|net| is_subnet(&net))
            && !near
            && self.from.addresses().any(|net| is_subnet(&net))
    }

    /// The command that sends to the address by the right link.
    fn mend(&self, case: &Case<'_>) -> String {
        let to = self.expected.to;
        let whole = |net: IpNet| net.addr() == to && net.prefix_len() == net.max_prefix_len();
        // A route of the same prefix is replaced only by one of the same metric.
        let same = self.from.netns.routes.iter().find(|route| whole(route.to));
        let metric = same.map(|route| route.metric).filter(|metric| *metric != 0);
        let metric = metric.map(|metric| format!(" metric {metric}")).unwrap_or_default();
        let command = format!("route replace {to} dev {}{metric}", self.from.word());
        case.ip(self.from.netns, &command)
    }
}

fn misrouted(case: &Case<'_>, missed: &Missed<'_>) -> Finding {
    let (label, to) = (case.label(missed.from.netns), missed.expected.to);
    let link = &missed.from.link.name;
    let what = if missed.elsewhere {
        format!("{label} does not send to {to} by {link}, behind which it is")
    } else {
        format!("{label} has no route to {to}, which is behind {link}")
    };
    let mut finding = Finding::error("route", missed.from.id, what)
        .because(missed.instead.clone(), "RTM_GETROUTE")
        .because(format!("{} has it", case.name_of(&missed.owner)), "RTM_GETADDR")
        .mended_by(missed.mend(case));
    finding.others.push(missed.owner.id);
    finding
}

fn different_subnets(case: &Case<'_>, one: &Missed<'_>, other: &Missed<'_>) -> Finding {
    let (from, owner) = (&one.from, &one.owner);
    let shown = |end: &End<'_>| {
        let nets: Vec<_> = end.addresses().map(|net| net.to_string()).collect();
        nets.join(", ")
    };
    let what = format!(
        "{} and {} have addresses in different subnets",
        case.name_of(from),
        case.name_of(owner)
    );
    let mut finding = Finding::error("subnet", from.id, what)
        .because(format!("{}: {}", case.name_of(from), shown(from)), "RTM_GETADDR")
        .because(format!("{}: {}", case.name_of(owner), shown(owner)), "RTM_GETADDR")
        .because(one.instead.clone(), "RTM_GETROUTE")
        .mended_by(one.mend(case))
        .mended_by(other.mend(case));
    finding.others.push(owner.id);
    finding
}
