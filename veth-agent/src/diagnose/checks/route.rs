//! Who is behind a cable, and is not looked for there.

use std::{cmp::Reverse, collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use crate::{
    diagnose::{Case, End, Expectation, Finding, expectations, next_hop},
    inventory::LinkKind,
    types::{EndId, IfIndex},
};

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let missed: BTreeMap<(EndId, EndId), _> = expectations(case)
        .into_iter()
        .filter_map(|expected| Some(((expected.from, expected.owner), missed(case, expected)?)))
        .collect();
    let mut found = Vec::new();
    for ((from, owner), missed_way) in &missed {
        // Who gets the address that the owner sends to is in its subnet, too.
        if next_hop::unanswered(case, &missed_way.owner).any(|hop| missed_way.is_in(hop.net)) {
            continue;
        }
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
        Ok(way) if is_beside(case, &from, way.dev, &owner, expected.to) => return None,
        Ok(way) => {
            let dev = from.netns.links.get(&way.dev).map_or("another link", |dev| &dev.name);
            (format!("{} is sent to {dev}", expected.to), true)
        }
        Err(refusal) => (format!("{}: {}", expected.to, refusal.0), false),
    };
    (!own).then_some(Missed { expected, from, owner, instead, elsewhere })
}

/// Whether another link of the same subnet leads to the owner of an address, too, or to another one of the
/// same: which of the two is taken is all the same, or chosen.
fn is_beside(case: &Case<'_>, from: &End<'_>, dev: IfIndex, owner: &End<'_>, to: IpAddr) -> bool {
    let Some(dev) = case.end(from.netns.end(dev)) else { return false };
    let near = dev.addresses().any(|net| net.contains(&to));
    let beyond = case.beyond(&dev);
    near && (beyond.iter().any(|beyond| beyond.netns == owner.id.netns)
        || case.owners(to).any(|other| beyond.contains(&other.id)))
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

    /// Whether the main table would send it by the right link: then a rule, or a route that is none to
    /// anywhere, comes before, and a further route there would not help.
    fn is_overruled(&self) -> bool {
        let to = self.expected.to;
        let fits = self.from.netns.routes.iter().filter(|route| route.to.contains(&to));
        let best = fits.min_by_key(|route| (Reverse(route.to.prefix_len()), route.metric));
        best.is_some_and(|route| route.dev == self.from.id.ifindex)
    }

    fn is_in(&self, net: IpNet) -> bool {
        net.contains(&self.expected.to)
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
        .because(format!("{} has it", case.name_of(&missed.owner)), "RTM_GETADDR");
    if missed.is_overruled() {
        let fact =
            format!("the main table would send it by {link}: a rule, or a ban, comes before");
        finding = finding.because(fact, "RTM_GETROUTE");
    } else {
        finding = finding.mended_by(missed.mend(case));
    }
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
        .because(one.instead.clone(), "RTM_GETROUTE");
    finding.others.push(owner.id);
    let commands = joined(case, one)
        .map_or_else(|| vec![one.mend(case), other.mend(case)], |command| vec![command]);
    Finding { mend: commands, ..finding }
}

/// The command that gives a container on a bridge an address of the bridge's subnet, too: routes to the
/// bridge alone would not lead to the others there.
fn joined(case: &Case<'_>, missed: &Missed<'_>) -> Option<String> {
    let (end, bridge) = (&missed.from, &missed.owner);
    if bridge.link.kind != LinkKind::Bridge {
        return None;
    }
    let net = bridge.addresses().find(|net| net.addr() == missed.expected.to)?;
    let free = case.free_address(end, net)?;
    let command = format!("addr add {free}/{} dev {}", net.prefix_len(), end.word());
    Some(case.ip(end.netns, &command))
}
