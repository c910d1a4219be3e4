//! What the running kernel calls its reasons.

use std::{borrow::Cow, collections::BTreeMap, fs, path::Path};

use crate::btf::{self, Btf, BtfError};

/// The bits of a reason that name the part of the kernel which has it (`SKB_DROP_REASON_SUBSYS_MASK`,
/// `include/net/dropreason.h`).
const SUBSYSTEM: u32 = 16;

/// Names of reasons, by number.
#[derive(Debug, Default)]
pub struct Reasons {
    names: BTreeMap<u32, String>,
    /// Those of modules have been looked for, too.
    with_modules: bool,
}

impl Reasons {
    /// Those of the running kernel.
    ///
    /// # Errors
    /// When it does not describe its types.
    pub fn of_kernel() -> Result<Self, BtfError> {
        Ok(Self::of(&Btf::of_kernel()?))
    }

    /// Those of a kernel that describes its types like this.
    pub fn of(kernel: &Btf) -> Self {
        let mut names = names(kernel);
        name_repetitions(&mut names);
        Self { names, with_modules: false }
    }

    /// Gets to know the reasons of modules, if it does not know all of these.
    pub fn look_for(&mut self, mut reasons: impl Iterator<Item = u32>) {
        let unknown = |reason| reason >> SUBSYSTEM != 0 && !self.names.contains_key(&reason);
        if self.with_modules || !reasons.any(unknown) {
            return;
        }
        self.with_modules = true;
        let Ok(kernel) = Btf::of_kernel() else { return };
        let folder = Path::new(btf::KERNEL).parent().map(fs::read_dir);
        for module in folder.into_iter().flatten().flatten().flatten() {
            // One that goes away meanwhile has no reasons any more.
            if let Ok(module) = Btf::of_module(&module.path(), &kernel) {
                self.names.extend(names(&module));
            }
        }
    }

    /// Every reason that is known, and its name.
    pub fn all(&self) -> impl Iterator<Item = (u32, &str)> {
        self.names.iter().map(|(reason, name)| (*reason, name.as_str()))
    }

    /// The name of a reason: lower case, without what all begin with.
    #[must_use]
    pub fn name(&self, reason: u32) -> Cow<'_, str> {
        match self.names.get(&reason) {
            Some(name) => Cow::Borrowed(name),
            None if reason >> SUBSYSTEM == 0 => format!("reason_{reason}").into(),
            None => format!("subsys_{}_{}", reason >> SUBSYSTEM, reason & 0xffff).into(),
        }
    }
}

/// The kernel's own are `enum skb_drop_reason`; those of its parts are called alike, with values that
/// carry the part's number.
fn names(btf: &Btf) -> BTreeMap<u32, String> {
    let enumerators = btf.enumerators(|name| name.ends_with("drop_reason"));
    enumerators.into_iter().map(|found| (found.value, plain(found.name))).collect()
}

/// Older kernels call what TCP has already as they call what it must not have. The first is ordinary
/// (whatever keeps an idle connection alive), the second is rare: both are the first.
fn name_repetitions(names: &mut BTreeMap<u32, String>) {
    const REPEATED: &str = "tcp_old_sequence";
    if names.values().any(|name| name == REPEATED) {
        return;
    }
    let both = names.values_mut().find(|name| *name == "tcp_invalid_sequence");
    if let Some(both) = both {
        REPEATED.clone_into(both);
    }
}

fn plain(name: &str) -> String {
    let short = name.strip_prefix("SKB_DROP_REASON_").or_else(|| name.strip_prefix("SKB_"));
    short.unwrap_or(name).trim_start_matches('_').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_with_one_name_for_both_has_the_ordinary_one() {
        let of = |names: &[(u32, &str)]| {
            let mut names = names.iter().map(|(n, name)| (*n, (*name).to_owned())).collect();
            name_repetitions(&mut names);
            names.into_values().collect::<Vec<_>>()
        };
        assert_eq!(of(&[(1, "tcp_invalid_sequence")]), ["tcp_old_sequence"]);
        let newer = [(1, "tcp_old_sequence"), (2, "tcp_invalid_sequence")];
        assert_eq!(of(&newer), ["tcp_old_sequence", "tcp_invalid_sequence"]);
    }

    #[test]
    fn names_are_short_and_unknown_reasons_have_numbers() {
        let names = [(2, "SKB_DROP_REASON_NOT_SPECIFIED"), (1, "SKB_CONSUMED")];
        let names = names.into_iter().chain([(0x2_0001, "OVS_DROP_LAST_ACTION")]);
        let names = names.map(|(number, name)| (number, plain(name))).collect();
        let reasons = Reasons { names, with_modules: true };
        assert_eq!(reasons.name(2), "not_specified");
        assert_eq!(reasons.name(1), "consumed");
        assert_eq!(reasons.name(0x2_0001), "ovs_drop_last_action");
        assert_eq!(reasons.name(200), "reason_200");
        assert_eq!(reasons.name(0x3_0007), "subsys_3_7");
    }
}
