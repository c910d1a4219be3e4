#![expect(clippy::unwrap_used, reason = "a test may fail so")]
//! BTF made by hand, and the running kernel's.

use super::*;

/// Makes BTF: types as words, strings joined by zeros.
struct Maker {
    types: Vec<u32>,
    strings: Vec<u8>,
    first_string: usize,
}

impl Maker {
    fn new(first_string: usize) -> Self {
        Self {
            types: Vec::new(),
            strings: if first_string == 0 { vec![0] } else { Vec::new() },
            first_string,
        }
    }

    fn string(&mut self, text: &str) -> u32 {
        let at = self.first_string + self.strings.len();
        self.strings.extend(text.bytes().chain([0]));
        u32::try_from(at).unwrap()
    }

    fn add(&mut self, name: &str, kind: u32, size: u32, behind: &[u32], length: u32) -> &mut Self {
        let name = if name.is_empty() { 0 } else { self.string(name) };
        self.types.extend([name, kind << 24 | length, size]);
        self.types.extend(behind);
        self
    }

    fn members(&mut self, name: &str, kind: u32, size: u32, members: &[(&str, u32, u32)]) {
        let mut behind = Vec::new();
        for (name, of, bytes) in members {
            let name = if name.is_empty() { 0 } else { self.string(name) };
            behind.extend([name, *of, bytes * 8]);
        }
        let length = u32::try_from(members.len()).unwrap();
        self.add(name, kind, size, &behind, length);
    }

    fn enumeration(&mut self, name: &str, values: &[(&str, u32)]) {
        let named: Vec<_> =
            values.iter().flat_map(|(name, value)| [self.string(name), *value]).collect();
        let length = u32::try_from(values.len()).unwrap();
        self.add(name, 6, 4, &named, length);
    }

    fn bytes(&self) -> Vec<u8> {
        let types: Vec<u8> = self.types.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let (types_length, strings_length) =
            (u32::try_from(types.len()).unwrap(), u32::try_from(self.strings.len()).unwrap());
        let mut data = MAGIC.to_ne_bytes().to_vec();
        data.extend([1, 0]);
        for word in [24, 0, types_length, types_length, strings_length] {
            data.extend(word.to_ne_bytes());
        }
        [data, types, self.strings.clone()].concat()
    }
}

/// 1 int, 2 pointer, 3 typedef of it, 4 a nameless union, 5 a structure that holds all of them.
fn kernel() -> Maker {
    let mut maker = Maker::new(0);
    maker.add("unsigned int", 1, 4, &[32], 0);
    maker.add("", 2, 1, &[], 0);
    maker.add("net_t", 8, 2, &[], 0);
    maker.members("", 5, 8, &[("dev", 2, 0), ("scratch", 1, 4)]);
    maker.members("sk_buff", 4, 40, &[("next", 2, 0), ("", 4, 16), ("iif", 1, 24), ("net", 3, 32)]);
    maker.enumeration("skb_drop_reason", &[("SKB_CONSUMED", 1), ("SKB_DROP_REASON_XDP", 72)]);
    maker
}

#[test]
fn members_are_found_in_nameless_parts_too() {
    let btf = Btf::parse(kernel().bytes(), None).unwrap();
    let member = |name| btf.member("sk_buff", name).map(|found| (found.offset, found.bytes));
    assert_eq!(member("next"), Some((0, 8)));
    assert_eq!(member("dev"), Some((16, 8)));
    assert_eq!(member("scratch"), Some((20, 4)));
    assert_eq!(member("iif"), Some((24, 4)));
    assert_eq!(member("net"), Some((32, 8)), "by another name");
    assert_eq!(member("none"), None);
    assert_eq!(btf.member("unsigned int", "dev"), None, "no structure");
}

#[test]
fn a_module_goes_on_where_the_kernel_ends() {
    let kernel = Btf::parse(kernel().bytes(), None).unwrap();
    let mut module = Maker::new(kernel.strings.len());
    module.enumeration("ovs_drop_reason", &[("OVS_DROP_EXPLICIT", 0x2_0004)]);
    let module = Btf::parse(module.bytes(), Some(&kernel)).unwrap();
    let found = module.enumerators(|name| name == "ovs_drop_reason");
    assert_eq!(found, [Enumerator { name: "OVS_DROP_EXPLICIT", value: 0x2_0004 }]);
    let found = kernel.enumerators(|name| name.ends_with("_drop_reason"));
    assert_eq!(found[1], Enumerator { name: "SKB_DROP_REASON_XDP", value: 72 });
}

#[test]
fn what_is_cut_short_or_something_else_is_refused() {
    let whole = kernel().bytes();
    for length in 0..whole.len() {
        assert!(Btf::parse(whole[..length].to_vec(), None).is_none(), "{length} bytes");
    }
    assert!(Btf::parse(vec![0x5a; 4096], None).is_none());
}

/// A structure that holds itself by no name does not exist; bytes that say so do.
#[test]
fn a_circle_ends() {
    let mut maker = Maker::new(0);
    maker.members("loop", 4, 8, &[("", 1, 0)]);
    maker.add("alias", 8, 2, &[], 0);
    maker.members("other", 4, 8, &[("x", 2, 0)]);
    let btf = Btf::parse(maker.bytes(), None).unwrap();
    assert_eq!(btf.member("loop", "x"), None);
    assert_eq!(btf.member("other", "x"), None);
}
