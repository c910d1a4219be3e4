//! A message of DNS in the words of `tcpdump`.

use std::fmt;

use super::super::decode::{Dns, DnsQuestion};

/// What a message is to do, by its opcode.
const OPERATIONS: [&str; 16] = [
    "",
    " inv_q",
    " stat",
    " op3",
    " notify",
    " update",
    " op6",
    " op7",
    " op8",
    " updateA",
    " updateD",
    " updateDA",
    " updateM",
    " updateMA",
    " zoneInit",
    " zoneRef",
];

/// How it went, by its response code.
const RESULTS: [&str; 16] = [
    "",
    " FormErr",
    " ServFail",
    " NXDomain",
    " NotImp",
    " Refused",
    " YXDomain",
    " YXRRSet",
    " NXRRSet",
    " NotAuth",
    " NotZone",
    " Resp11",
    " Resp12",
    " Resp13",
    " Resp14",
    " Resp15",
];

/// Flags that mean nothing in a query.
const OF_RESPONSES: u16 = 0x06cf;

pub fn write(message: &Dns, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if message.flags.response() { response(message, f) } else { query(message, f) }
}

fn query(dns: &Dns, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let flags = dns.flags;
    write!(f, "{}{}", dns.id, OPERATIONS[usize::from(flags.opcode())])?;
    letters([(flags.recursion_desired(), "+"), (flags.checking_disabled(), "%")], f)?;
    if flags.0 & OF_RESPONSES != 0 {
        write!(f, " [b2&3={:#x}]", flags.0)?;
    }
    for (count, of) in dns.counts.iter().zip(["a", "n", "au"]).filter(|(count, _)| **count > 0) {
        write!(f, " [{count}{of}]")?;
    }
    dns.questions.iter().try_for_each(|question| asked(question, f))
}

fn response(dns: &Dns, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let [answers, authorities, additional] = dns.counts;
    let flags = dns.flags;
    write!(f, "{}{}", dns.id, OPERATIONS[usize::from(flags.opcode())])?;
    f.write_str(RESULTS[usize::from(flags.rcode())])?;
    let all = [
        (flags.authoritative(), "*"),
        (!flags.recursion_available(), "-"),
        (flags.truncated(), "|"),
        (flags.authenticated(), "$"),
    ];
    letters(all, f)?;
    // tcpdump leaves the question out; without it, an error says nothing.
    dns.questions.iter().try_for_each(|question| asked(question, f))?;
    write!(f, " {answers}/{authorities}/{additional}")?;
    for (index, answer) in dns.answers.iter().enumerate() {
        f.write_str(if index == 0 { " " } else { ", " })?;
        if let Some(class) = &answer.class {
            write!(f, "{class} ")?;
        }
        match &answer.data {
            Some(data) => write!(f, "{} {data}", answer.kind)?,
            None => f.write_str(&answer.kind)?,
        }
    }
    Ok(())
}

/// Those that are set.
fn letters<const N: usize>(all: [(bool, &str); N], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    all.iter().filter(|(set, _)| *set).try_for_each(|(_, letter)| f.write_str(letter))
}

fn asked(question: &DnsQuestion, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, " {}", question.kind)?;
    if let Some(class) = &question.class {
        write!(f, " {class}")?;
    }
    write!(f, "? {}", question.name)
}
