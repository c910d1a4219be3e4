//! Which function of the kernel an address lies in.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader},
    ops::Range,
};

/// Every symbol of the kernel, some 200,000 lines.
const KALLSYMS: &str = "/proc/kallsyms";

/// Names of the functions that have been asked for. The kernel's table is read when an address is new,
/// line by line, and not kept.
#[derive(Debug, Default)]
pub struct Symbols {
    known: BTreeMap<u64, Option<Nearest>>,
    hidden: bool,
}

/// The nearest symbol so far at or below an address.
#[derive(Clone, Debug, Default)]
struct Nearest {
    address: u64,
    name: String,
}

impl Symbols {
    /// Finds the functions of those addresses that are new.
    pub fn look_for(&mut self, addresses: impl Iterator<Item = u64>) {
        let new = addresses.filter(|address| !self.known.contains_key(address));
        let mut wanted: BTreeMap<_, _> = new.map(|address| (address, Nearest::default())).collect();
        if wanted.is_empty() {
            return;
        }
        match File::open(KALLSYMS).and_then(|file| scan(BufReader::new(file), &mut wanted)) {
            Ok(true) => {}
            Ok(false) => self.hide("kernel.kptr_restrict hides its addresses"),
            Err(error) => self.hide(&error.to_string()),
        }
        let found = |(address, nearest): (u64, Nearest)| {
            (address, (nearest.address != 0).then_some(nearest))
        };
        self.known.extend(wanted.into_iter().map(found));
    }

    fn hide(&mut self, why: &str) {
        if !self.hidden {
            tracing::warn!(
                "{KALLSYMS}: {why}; packets dropped without a reason stay not_specified"
            );
        }
        self.hidden = true;
    }

    /// The function that an address lies in, where it was looked for and found.
    #[must_use]
    pub fn get(&self, address: u64) -> Option<&str> {
        Some(self.known.get(&address)?.as_ref()?.name.as_str())
    }

    /// How far into its function an address lies, in bytes.
    #[must_use]
    pub fn offset(&self, address: u64) -> Option<u64> {
        Some(address - self.known.get(&address)?.as_ref()?.address)
    }
}

/// The places of functions, by name: several where a compiler has split one. Empty where the kernel hides
/// its addresses.
pub fn places(is_wanted: impl Fn(&str) -> bool) -> BTreeMap<String, Vec<Range<u64>>> {
    let table = File::open(KALLSYMS).map(BufReader::new);
    table.and_then(|table| places_in(table, is_wanted)).unwrap_or_default()
}

fn places_in(
    mut table: impl BufRead,
    is_wanted: impl Fn(&str) -> bool,
) -> io::Result<BTreeMap<String, Vec<Range<u64>>>> {
    let (mut line, mut all, mut found) = (String::new(), Vec::new(), Vec::new());
    while table.read_line(&mut line)? != 0 {
        if let Some((address, name)) = text_symbol(&line)
            && address != 0
        {
            all.push(address);
            if is_wanted(plain(name)) {
                found.push((address, plain(name).to_owned()));
            }
        }
        line.clear();
    }
    all.sort_unstable();
    let mut places = BTreeMap::<_, Vec<_>>::new();
    for (address, name) in found {
        let next = all.partition_point(|other| *other <= address);
        let behind = all.get(next).copied().unwrap_or(u64::MAX);
        places.entry(name).or_default().push(address..behind);
    }
    Ok(places)
}

/// Reads the table; `false` where it shows no addresses.
fn scan(mut table: impl BufRead, wanted: &mut BTreeMap<u64, Nearest>) -> io::Result<bool> {
    let (mut line, mut shown) = (String::new(), false);
    while table.read_line(&mut line)? != 0 {
        if let Some((address, name)) = text_symbol(&line) {
            shown |= address != 0;
            let above = wanted.range_mut(address..);
            for (_, nearest) in above.filter(|(_, nearest)| nearest.address < address) {
                *nearest = Nearest { address, name: plain(name).to_owned() };
            }
        }
        line.clear();
    }
    Ok(shown)
}

/// `ffffffff81dbd870 t veth_xmit [veth]`: address and name, of code alone.
fn text_symbol(line: &str) -> Option<(u64, &str)> {
    let mut words = line.split_ascii_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let is_text = matches!(words.next()?, "t" | "T" | "w" | "W");
    Some((address, words.next()?)).filter(|_| is_text)
}

/// Without what the compiler adds to parts and copies of a function: `.cold`, `.isra.0`.
fn plain(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail so")]

    use super::*;

    const TABLE: &str = "\
ffffffff81000000 T _stext
ffffffff81000100 t one.isra.0
ffffffff81000200 T two
ffffffff81000300 d data
ffffffffc0000000 t of_module\t[veth]
ffffffff81000180 t late.cold
";

    #[test]
    fn an_address_belongs_to_the_nearest_function_below() {
        let addresses = [0xffff_ffff_8100_0150, 0xffff_ffff_8100_0350, 0xffff_ffff_8100_0180];
        let addresses = addresses.into_iter().chain([0xffff_ffff_c000_0010, 0x10]);
        let mut wanted = addresses.map(|address| (address, Nearest::default())).collect();
        assert!(scan(TABLE.as_bytes(), &mut wanted).unwrap());
        let names: Vec<_> = wanted.values().map(|nearest| nearest.name.as_str()).collect();
        assert_eq!(names, ["", "one", "late", "two", "of_module"]);
    }

    #[test]
    fn a_function_reaches_to_the_next_and_may_lie_in_several_places() {
        let places = places_in(TABLE.as_bytes(), |name| ["one", "late"].contains(&name)).unwrap();
        let one = Some(&(0xffff_ffff_8100_0100..0xffff_ffff_8100_0180));
        assert_eq!(places["one"].first(), one);
        let late = Some(&(0xffff_ffff_8100_0180..0xffff_ffff_8100_0200));
        assert_eq!(places["late"].first(), late);
        assert_eq!(places.len(), 2);
        let hidden = "0000000000000000 T one\n";
        assert!(places_in(hidden.as_bytes(), |_| true).unwrap().is_empty());
    }

    #[test]
    fn hidden_addresses_are_no_addresses() {
        let mut wanted = BTreeMap::from([(0xffff_ffff_8100_0150, Nearest::default())]);
        let hidden = "0000000000000000 T _stext\n0000000000000000 t one\n";
        assert!(!scan(hidden.as_bytes(), &mut wanted).unwrap());
        assert_eq!(wanted.values().next().unwrap().address, 0);
    }
}
