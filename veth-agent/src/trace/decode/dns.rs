//! DNS: what is asked, and what is answered.

mod flags;

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
};

use serde::Serialize;
use simple_dns::{CLASS, Name, QCLASS, QTYPE, ResourceRecord, TYPE, rdata::RData};

pub use self::flags::DnsFlags;
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
    /// What kind of message it is, and how it went.
    #[serde(flatten)]
    pub flags: DnsFlags,
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
    /// `CHAOS` and so on; `None` is the Internet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DnsAnswer {
    /// The name; bytes that are not printable ASCII as `\DDD`.
    pub name: String,
    /// `A`, `AAAA` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// `CHAOS` and so on; `None` is the Internet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
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
        flags: DnsFlags(flags),
        questions: Vec::new(),
        answers: Vec::new(),
        counts: [count([g, h]), count([i, j]), count([k, l])],
    };
    let wanted = (count([e, f]).min(MAX_RECORDS), dns.counts[0].min(MAX_RECORDS));
    let read = records(part.bytes, flags & !UNUSED, wanted, &mut dns);
    Ok((dns, (read != wanted).then_some(part.short("domain"))))
}

/// Reads as many of the `wanted` questions and answers as there are whole, and returns how many.
///
/// The crate reads a message as a whole or not at all, so it gets a copy whose header promises fewer.
fn records(message: &[u8], flags: u16, wanted: (u16, u16), dns: &mut Dns) -> (u16, u16) {
    let mut copy = message.get(..MAX_MESSAGE).unwrap_or(message).to_vec();
    let (asked, answered) = known_fields(&mut copy, wanted);
    let fewer_answers = (0..=wanted.1).rev().map(|answers| (wanted.0, answers));
    let fewer_questions = (0..wanted.0).rev().map(|questions| (questions, 0));
    for (questions, answers) in fewer_answers.chain(fewer_questions) {
        let header = [flags, questions, answers, 0, 0].map(u16::to_be_bytes);
        copy.iter_mut().skip(2).zip(header.as_flattened()).for_each(|(to, from)| *to = *from);
        if let Ok(packet) = simple_dns::Packet::parse(&copy)
            && names(&packet).all(|name| is_sent(name, &copy, message))
        {
            let asked = packet.questions.iter().zip(&asked);
            dns.questions = asked.map(|(asked, fields)| question(asked, *fields)).collect();
            let answered = packet.answers.iter().zip(&answered);
            dns.answers = answered.map(|(record, fields)| answer(record, *fields)).collect();
            return (questions, answers);
        }
    }
    (0, 0)
}

/// Whether a name was read from what was sent, and not from what the copy has instead: a pointer may lead anywhere.
fn is_sent(name: &Name<'_>, copy: &[u8], message: &[u8]) -> bool {
    name.as_bytes().all(|label| {
        // The crate borrows labels from the copy; the byte before each is its length.
        let at = label.as_ptr().addr().saturating_sub(copy.as_ptr().addr());
        let place = at.saturating_sub(1)..at.saturating_add(label.len());
        copy.get(place.clone()) == message.get(place)
    })
}

/// All names that are shown.
fn names<'a>(packet: &'a simple_dns::Packet<'a>) -> impl Iterator<Item = &'a Name<'a>> {
    let asked = packet.questions.iter().map(|question| &question.qname);
    let owners = packet.answers.iter().map(|record| &record.name);
    asked.chain(owners).chain(packet.answers.iter().filter_map(|record| target(&record.rdata)))
}

/// What stands behind a name.
#[derive(Clone, Copy)]
struct Fields {
    kind: u16,
    class: u16,
}

/// Types and classes of questions and answers. Those that the crate does not know, and for which it would refuse the
/// message, it gets as A and IN.
fn known_fields(message: &mut [u8], wanted: (u16, u16)) -> (Vec<Fields>, Vec<Fields>) {
    let mut begin = HEADER;
    let mut next = |is_answer| known_next(message, &mut begin, is_answer);
    let asked: Vec<_> = (0..wanted.0).map_while(|_| next(false)).collect();
    let all = asked.len() == usize::from(wanted.0);
    let answered = (0..wanted.1).filter(|_| all).map_while(|_| next(true)).collect();
    (asked, answered)
}

/// The fields of the question or answer at `begin`, which is then that of the next.
fn known_next(message: &mut [u8], begin: &mut usize, is_answer: bool) -> Option<Fields> {
    let end = name_end(message, *begin)?;
    let [a, b, c, d] = message.get_mut(end..)?.first_chunk_mut()?;
    let fields = Fields { kind: u16::from_be_bytes([*a, *b]), class: u16::from_be_bytes([*c, *d]) };
    // The first bit is multicast DNS's own.
    let class = fields.class & 0x7fff;
    if is_answer {
        // Any type is known there.
        if CLASS::try_from(class).is_err() {
            (*c, *d) = (0, 1);
        }
        let length = message.get(end + 8..)?.first_chunk()?;
        *begin = end + 10 + usize::from(u16::from_be_bytes(*length));
        return Some(fields);
    }
    if QTYPE::try_from(fields.kind).is_err() {
        (*a, *b) = (0, 1);
    }
    if QCLASS::try_from(class).is_err() {
        (*c, *d) = (0, 1);
    }
    *begin = end + 4;
    Some(fields)
}

/// Where a name ends that begins at `at`: with an empty label, or a pointer (RFC 1035, section 4.1.4).
fn name_end(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            0xc0.. => return Some(at + 2),
            label => at += 1 + usize::from(label),
        }
    }
}

fn question(question: &simple_dns::Question<'_>, fields: Fields) -> DnsQuestion {
    let Fields { kind, class } = fields;
    let kind = match QTYPE::try_from(kind) {
        Ok(QTYPE::TYPE(kind)) => kind_name(kind),
        Ok(other) => format!("{other:?}"),
        Err(_) => format!("TYPE{kind}"),
    };
    DnsQuestion { name: name(&question.qname), kind, class: class_name(class) }
}

fn answer(record: &ResourceRecord<'_>, fields: Fields) -> DnsAnswer {
    let data = match &record.rdata {
        RData::A(a) => Some(Ipv4Addr::from(a.address).to_string()),
        RData::AAAA(aaaa) => Some(Ipv6Addr::from(aaaa.address).to_string()),
        RData::SRV(srv) => Some(format!("{}:{}", name(&srv.target), srv.port)),
        other => target(other).map(name),
    };
    let kind = kind_name(record.rdata.type_code());
    // Those of EDNS are a size.
    let class = if kind == "OPT" { None } else { class_name(fields.class) };
    DnsAnswer { name: name(&record.name), kind, class, data }
}

/// The name that a record leads to.
const fn target<'a>(data: &'a RData<'a>) -> Option<&'a Name<'a>> {
    match data {
        RData::CNAME(target) => Some(&target.0),
        RData::NS(target) => Some(&target.0),
        RData::PTR(target) => Some(&target.0),
        RData::MX(mx) => Some(&mx.exchange),
        RData::SRV(srv) => Some(&srv.target),
        _ => None,
    }
}

fn kind_name(kind: TYPE) -> String {
    match kind {
        TYPE::Unknown(number) => format!("TYPE{number}"),
        known => format!("{known:?}"),
    }
}

/// As `tcpdump` has them; the others as in RFC 3597.
fn class_name(class: u16) -> Option<String> {
    match class {
        1 => None,
        3 => Some("CHAOS".to_owned()),
        4 => Some("HS".to_owned()),
        255 => Some("ANY".to_owned()),
        number => Some(format!("CLASS{number}")),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::frames;

    fn read_all(message: &[u8]) -> Result<(Dns, Option<Fault>), Fault> {
        read(Part { bytes: message, length: message.len() as u32 })
    }

    fn asked(name: &str, kind: &str) -> DnsQuestion {
        DnsQuestion { name: name.to_owned(), kind: kind.to_owned(), class: None }
    }

    const NAME: &[&[u8]] = &[b"www", b"example", b"org"];

    #[test]
    fn a_query() {
        let query = Dns {
            id: 0x1234,
            flags: DnsFlags(0x0100),
            questions: vec![asked("www.example.org.", "AAAA")],
            answers: Vec::new(),
            counts: [0; 3],
        };
        let message = frames::dns(0x0100, [1, 0, 0, 0], &frames::question(NAME, 28));
        assert_eq!(read_all(&message), Ok((query, None)));
    }

    #[test]
    fn a_response_and_the_data_that_people_know() {
        let target = frames::name(&[b"cdn", b"net"]);
        let with = |numbers: &[u8]| [numbers, &target].concat();
        let records = [
            (frames::answer(1, &[192, 0, 2, 1]), "A", Some("192.0.2.1")),
            (frames::answer(28, &frames::SENDER.2), "AAAA", Some("fd00::1")),
            (frames::answer(5, &target), "CNAME", Some("cdn.net.")),
            (frames::answer(2, &target), "NS", Some("cdn.net.")),
            (frames::answer(12, &target), "PTR", Some("cdn.net.")),
            (frames::answer(15, &with(&[0, 10])), "MX", Some("cdn.net.")),
            (frames::answer(33, &with(&[0, 0, 0, 0, 0, 80])), "SRV", Some("cdn.net.:80")),
            (frames::answer(16, b"\x05hello"), "TXT", None),
            (frames::answer(65280, b"own"), "TYPE65280", None),
        ];
        for (record, kind, data) in records {
            let records = [frames::question(NAME, 255), record].concat();
            let message = frames::dns(0x8180, [1, 1, 0, 0], &records);
            let answer = DnsAnswer {
                name: "www.example.org.".to_owned(),
                kind: kind.to_owned(),
                class: None,
                data: data.map(str::to_owned),
            };
            let read = read_all(&message).map(|(dns, fault)| (dns.answers, fault));
            assert_eq!(read, Ok((vec![answer], None)));
        }
    }

    #[test]
    fn names_are_spelled_as_in_zone_files() {
        let spelled = |labels: &[&[u8]]| {
            let message = frames::dns(0, [1, 0, 0, 0], &frames::question(labels, 1));
            read_all(&message).map(|(dns, _)| dns.questions.into_iter().next().map(|it| it.name))
        };
        let text = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(spelled(&[]), text("."));
        assert_eq!(spelled(&[b"a.b", b"c\\d"]), text("a\\.b.c\\\\d."));
        assert_eq!(spelled(&[b"\x1b[2J", b"\r\n"]), text("\\027[2J.\\013\\010."));
        assert_eq!(spelled(&["\u{202e}".as_bytes()]), text("\\226\\128\\174."));
        assert_eq!(spelled(&[b"two words"]), text("two\\032words."));
    }

    #[test]
    fn a_type_or_a_class_that_is_not_known_has_a_number() {
        let tlsa = [frames::question(NAME, 52), frames::question(&[b"b"], 255)].concat();
        let mut message = frames::dns(0, [2, 0, 0, 0], &tlsa);
        let class = 12 + frames::question(NAME, 52).len() - 2;
        message[class..class + 2].copy_from_slice(&[0x12, 0x34]);
        let read = read_all(&message).map(|(dns, fault)| (dns.questions, fault));
        let class = Some("CLASS4660".to_owned());
        let known =
            vec![DnsQuestion { class, ..asked("www.example.org.", "TYPE52") }, asked("b.", "ANY")];
        assert_eq!(read, Ok((known, None)));
    }

    /// RFC 2136: that there are such records is a condition for an update.
    #[test]
    fn a_condition_of_an_update_has_a_class_and_no_data() {
        let condition = frames::answer_of(frames::ANY, 1, &[]);
        let records = [frames::question(NAME, 6), condition].concat();
        let message = frames::dns(0x2800, [1, 1, 0, 0], &records);
        let read = read_all(&message).map(|(dns, fault)| {
            let classes: Vec<_> = dns.answers.into_iter().map(|it| (it.kind, it.class)).collect();
            (dns.flags.opcode(), classes, fault)
        });
        let any = ("A".to_owned(), Some("ANY".to_owned()));
        assert_eq!(read, Ok((5, vec![any], None)));
    }

    #[test]
    fn names_that_turn_in_circles_are_bad() {
        let turning = frames::dns(0, [1, 0, 0, 0], &[0xc0, 12, 0, 1, 0, 1]);
        let read = read_all(&turning).map(|(dns, fault)| (dns.questions, fault));
        assert_eq!(read, Ok((Vec::new(), Some(Fault::Bad("domain")))));
    }

    /// The copy for the crate has other counts there.
    #[test]
    fn names_that_point_at_the_header_are_bad() {
        let message = frames::dns(0, [9, 0, 0, 0], &[0xc0, 5, 0, 1, 0, 1].repeat(9));
        let read = read_all(&message).map(|(dns, fault)| (dns.questions, fault));
        assert_eq!(read, Ok((Vec::new(), Some(Fault::Bad("domain")))));
    }

    #[test]
    fn names_longer_than_names_may_be_are_bad() {
        let labels = [[b'x'; 63].as_slice(); 4];
        let long = frames::dns(0, [1, 0, 0, 0], &frames::question(&labels, 1));
        assert_eq!(read_all(&long).map(|(_, fault)| fault), Ok(Some(Fault::Bad("domain"))));
    }

    #[test]
    fn what_was_captured_is_told_and_the_rest_counted() {
        let records = [frames::question(NAME, 1), frames::answer(1, &[192, 0, 2, 1]).repeat(9)];
        let message = frames::dns(0x8180, [1, 9, 0, 0], &records.concat());
        let first = 12 + records[0].len();
        let read_to = |end| {
            let read = read(Part { bytes: &message[..end], length: message.len() as u32 });
            read.map(|(dns, fault)| {
                assert_eq!((dns.id, dns.counts[0]), (0x1234, 9));
                (dns.questions.len(), dns.answers.len(), fault)
            })
        };
        let cut = Fault::Cut("domain");
        assert_eq!(read_to(11), Err(cut));
        assert_eq!(read_to(first - 1), Ok((0, 0, Some(cut))));
        assert_eq!(read_to(first), Ok((1, 0, Some(cut))));
        assert_eq!(read_to(first + 3 * 16 + 15), Ok((1, 3, Some(cut))));
        assert_eq!(read_to(first + 4 * 16), Ok((1, 4, None)), "no more is asked for");
        assert_eq!(read_to(message.len()), Ok((1, 4, None)));
    }

    #[test]
    fn a_header_that_promises_much_costs_little() {
        let message = frames::dns(0x0100, [u16::MAX; 4], &frames::question(NAME, 1));
        let read = read_all(&message).map(|(dns, fault)| (dns.questions, fault));
        let known = vec![asked("www.example.org.", "A")];
        assert_eq!(read, Ok((known, Some(Fault::Bad("domain")))));
    }

    #[test]
    fn the_unused_bit_hides_nothing() {
        let message = frames::dns(0x0140, [1, 0, 0, 0], &frames::question(NAME, 1));
        let read = read_all(&message).map(|(dns, fault)| (dns.questions.len(), fault));
        assert_eq!(read, Ok((1, None)));
    }
}
