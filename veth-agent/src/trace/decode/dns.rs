//! DNS: what is asked, and what is answered.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
};

use serde::Serialize;
use simple_dns::{Name, QTYPE, ResourceRecord, TYPE, rdata::RData};

use super::{Fault, part::Part};

/// Of servers.
pub const PORT: u16 = 53;

const HEADER: usize = 12;

/// Of a message, so many bytes are looked into.
const MAX_MESSAGE: usize = 4096;

/// Questions, and answers, beyond so many are only counted.
const MAX_RECORDS: u16 = 4;

/// The bit of the flags that RFC 6895 leaves unused; the crate refuses messages that have it.
const UNUSED: u16 = 1 << 6;

/// A DNS message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dns {
    /// The same in query and response.
    pub id: u16,
    /// Whether it is a response.
    pub response: bool,
    /// Whether the sender of a query wants the server to ask others.
    pub recursion_desired: bool,
    /// 0 is success.
    pub rcode: u8,
    /// What is asked: at most four.
    pub questions: Vec<DnsQuestion>,
    /// The first answers: at most four.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<DnsAnswer>,
    /// How many answers, authorities and additional records there are by its header.
    pub counts: [u16; 3],
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DnsQuestion {
    /// The name; bytes that are not printable ASCII as `\DDD` (RFC 1035, section 5.1).
    pub name: String,
    /// `A`, `AAAA` and so on.
    #[serde(rename = "type")]
    pub kind: String,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DnsAnswer {
    /// The name; bytes that are not printable ASCII as `\DDD`.
    pub name: String,
    /// `A`, `AAAA` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// An address or a name, of types that have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// The message, and the fault where not all of the records asked for could be read.
pub fn read(part: Part<'_>) -> Result<(Dns, Option<Fault>), Fault> {
    let &[a, b, c, d, e, f, g, h, i, j, k, l] = part.head::<HEADER>("domain")?;
    let flags = u16::from_be_bytes([c, d]);
    let count = |pair| u16::from_be_bytes(pair);
    let mut dns = Dns {
        id: u16::from_be_bytes([a, b]),
        response: flags >> 15 == 1,
        recursion_desired: flags >> 8 & 1 == 1,
        rcode: d & 0xf,
        questions: Vec::new(),
        answers: Vec::new(),
        counts: [count([g, h]), count([i, j]), count([k, l])],
    };
    let wanted = (count([e, f]).min(MAX_RECORDS), dns.counts[0].min(MAX_RECORDS));
    let read = records(part.bytes, flags & !UNUSED, wanted, &mut dns);
    let whole = usize::try_from(part.length).is_ok_and(|length| length <= part.bytes.len());
    let fault = if whole { Fault::Bad("domain") } else { Fault::Cut("domain") };
    Ok((dns, (read != wanted).then_some(fault)))
}

/// Reads as many of the `wanted` questions and answers as there are whole, and returns how many.
///
/// The crate reads a message as a whole or not at all, so it gets a copy whose header promises fewer.
fn records(message: &[u8], flags: u16, wanted: (u16, u16), dns: &mut Dns) -> (u16, u16) {
    let mut copy = message.get(..MAX_MESSAGE).unwrap_or(message).to_vec();
    let fewer_answers = (0..=wanted.1).rev().map(|answers| (wanted.0, answers));
    let fewer_questions = (0..wanted.0).rev().map(|questions| (questions, 0));
    for (questions, answers) in fewer_answers.chain(fewer_questions) {
        let header = [flags, questions, answers, 0, 0].map(u16::to_be_bytes);
        copy.iter_mut().skip(2).zip(header.as_flattened()).for_each(|(to, from)| *to = *from);
        if let Ok(packet) = simple_dns::Packet::parse(&copy) {
            dns.questions = packet.questions.iter().map(question).collect();
            dns.answers = packet.answers.iter().map(answer).collect();
            return (questions, answers);
        }
    }
    (0, 0)
}

fn question(question: &simple_dns::Question<'_>) -> DnsQuestion {
    let kind = match question.qtype {
        QTYPE::TYPE(kind) => kind_name(kind),
        other => format!("{other:?}"),
    };
    DnsQuestion { name: name(&question.qname), kind }
}

fn answer(record: &ResourceRecord<'_>) -> DnsAnswer {
    let data = match &record.rdata {
        RData::A(a) => Some(Ipv4Addr::from(a.address).to_string()),
        RData::AAAA(aaaa) => Some(Ipv6Addr::from(aaaa.address).to_string()),
        RData::CNAME(target) => Some(name(&target.0)),
        RData::NS(target) => Some(name(&target.0)),
        RData::PTR(target) => Some(name(&target.0)),
        RData::MX(mx) => Some(name(&mx.exchange)),
        RData::SRV(srv) => Some(format!("{}:{}", name(&srv.target), srv.port)),
        _ => None,
    };
    DnsAnswer { name: name(&record.name), kind: kind_name(record.rdata.type_code()), data }
}

fn kind_name(kind: TYPE) -> String {
    match kind {
        TYPE::Unknown(number) => format!("TYPE{number}"),
        known => format!("{known:?}"),
    }
}

/// A name as zone files write it, its final dot included: at most 255 bytes on the wire, by the crate's word.
fn name(name: &Name<'_>) -> String {
    let mut text = String::new();
    for label in name.as_bytes() {
        label.iter().for_each(|byte| spell(*byte, &mut text));
        text.push('.');
    }
    if text.is_empty() {
        text.push('.');
    }
    text
}

fn spell(byte: u8, text: &mut String) {
    match byte {
        b'.' | b'\\' => text.extend(['\\', char::from(byte)]),
        0x21..=0x7e => text.push(char::from(byte)),
        // Writing to a String cannot fail.
        _ => _ = write!(text, "\\{byte:03}"),
    }
}
