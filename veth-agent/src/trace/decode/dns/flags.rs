//! The flags of DNS.

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

/// The 16 bits of the header, operation and result among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsFlags(pub u16);

impl DnsFlags {
    /// Whether it is a response.
    #[must_use]
    pub const fn response(self) -> bool {
        self.bit(15)
    }

    /// What is to be done; 0 is to answer a question, 4 a notification, 5 an update.
    #[must_use]
    pub const fn opcode(self) -> u8 {
        (self.0 >> 11 & 0xf) as u8
    }

    /// Whether the server that answers is one of those that know.
    #[must_use]
    pub const fn authoritative(self) -> bool {
        self.bit(10)
    }

    /// Whether there is more than the message could hold.
    #[must_use]
    pub const fn truncated(self) -> bool {
        self.bit(9)
    }

    /// Whether the sender of a query wants the server to ask others.
    #[must_use]
    pub const fn recursion_desired(self) -> bool {
        self.bit(8)
    }

    /// Whether the server would ask others.
    #[must_use]
    pub const fn recursion_available(self) -> bool {
        self.bit(7)
    }

    /// Whether the server has verified what it answers; in a query, whether that is to be told.
    #[must_use]
    pub const fn authenticated(self) -> bool {
        self.bit(5)
    }

    /// Whether what cannot be verified is wanted, too.
    #[must_use]
    pub const fn checking_disabled(self) -> bool {
        self.bit(4)
    }

    /// 0 is success.
    #[must_use]
    pub const fn rcode(self) -> u8 {
        (self.0 & 0xf) as u8
    }

    const fn bit(self, bit: u32) -> bool {
        self.0 >> bit & 1 == 1
    }
}

impl Serialize for DnsFlags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("DnsFlags", 9)?;
        object.serialize_field("response", &self.response())?;
        object.serialize_field("opcode", &self.opcode())?;
        object.serialize_field("authoritative", &self.authoritative())?;
        object.serialize_field("truncated", &self.truncated())?;
        object.serialize_field("recursion_desired", &self.recursion_desired())?;
        object.serialize_field("recursion_available", &self.recursion_available())?;
        object.serialize_field("authenticated", &self.authenticated())?;
        object.serialize_field("checking_disabled", &self.checking_disabled())?;
        object.serialize_field("rcode", &self.rcode())?;
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flag_has_its_bit() {
        let json = |flags| serde_json::to_value(DnsFlags(flags)).unwrap_or_default();
        let (none, all) = (json(0), json(0xffff));
        for (key, bit) in [
            ("response", 15),
            ("authoritative", 10),
            ("truncated", 9),
            ("recursion_desired", 8),
            ("recursion_available", 7),
            ("authenticated", 5),
            ("checking_disabled", 4),
        ] {
            assert_eq!((&none[key], &all[key]), (&false.into(), &true.into()), "{key}");
            let alone = json(1 << bit);
            let set = alone.as_object().into_iter().flatten().filter(|(_, is)| **is == true);
            assert_eq!(set.map(|(key, _)| key).collect::<Vec<_>>(), [key]);
        }
        let numbers = json(0x2809);
        assert_eq!((&numbers["opcode"], &numbers["rcode"]), (&5.into(), &9.into()));
    }
}
