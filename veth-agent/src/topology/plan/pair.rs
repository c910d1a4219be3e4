//! Whether a pair is to be made, to be adopted, or in the way of something else.

use super::{
    PlanError,
    view::{Found, View},
};
use crate::{
    inventory::LinkKind,
    mark::{self, PairMark},
    topology::{
        action::LinkRef,
        describe,
        spec::{EndSpec, PairSpec},
    },
    types::PairName,
};

/// What is there of a pair.
pub(super) enum Standing<'a> {
    /// Nothing.
    Absent,
    /// Both ends, joined to each other.
    Whole([Found<'a>; 2]),
}

pub(super) fn link_ref(end: &EndSpec) -> LinkRef {
    LinkRef { place: end.place.clone(), name: end.interface.clone() }
}

pub(super) fn mark_of(pair: &PairSpec) -> PairMark {
    PairMark { pair: pair.name.clone(), datapath: pair.datapath, force: pair.force }
}

/// Whether a link carries our mark for the pair called `name`.
pub(super) fn is_marked(found: Found<'_>, name: &PairName) -> bool {
    let alias = found.link.alias.as_deref();
    alias.and_then(PairMark::parse).is_some_and(|mark| mark.pair == *name)
}

pub(super) fn standing<'a>(
    view: &View<'a>,
    pair: &PairSpec,
) -> Result<Standing<'a>, Vec<PlanError>> {
    let links = pair.ends.each_ref().map(link_ref);
    let [one, other] = links.each_ref().map(|link| view.find(link));
    let errors = match (one, other) {
        (None, None) => return Ok(Standing::Absent),
        (Some(one), Some(other)) if view.seen.peer_of(one.id) == Some(other.id) => {
            let ends = [one, other];
            let errors: Vec<_> = links
                .iter()
                .zip(ends)
                .filter_map(|(link, found)| not_ours_to_take(link, found, &pair.name))
                .collect();
            if errors.is_empty() {
                return Ok(Standing::Whole(ends));
            }
            errors
        }
        (one, other) => links
            .iter()
            .zip([one, other])
            .filter_map(|(link, found)| Some(taken(view, link, found?)))
            .collect(),
    };
    Err(errors.into_iter().map(PlanError::Conflict).collect())
}

/// A link that stands where an end is wanted, and is no end of the pair.
fn taken(view: &View<'_>, link: &LinkRef, found: Found<'_>) -> String {
    if found.link.kind != LinkKind::Veth {
        return not_veth(link);
    }
    let peer = match view.seen.peer_of(found.id) {
        Some(peer) => format!("its other end is {}", view.describe(peer)),
        None => "its other end is not where the file has it".to_owned(),
    };
    format!("{link} already exists and {peer}; rename it or choose another name")
}

fn not_veth(link: &LinkRef) -> String {
    format!("{link} already exists and is not a veth end; rename it or choose another name")
}

/// Why an end of a pair that matches by name and place may still not be adopted.
fn not_ours_to_take(link: &LinkRef, found: Found<'_>, pair: &PairName) -> Option<String> {
    if found.link.kind != LinkKind::Veth {
        return Some(not_veth(link));
    }
    let alias = found.link.alias.as_deref().filter(|alias| !alias.is_empty())?;
    match PairMark::parse(alias) {
        Some(mark) if mark.pair == *pair => None,
        Some(mark) => Some(format!(
            "{link} already exists as an end of pair {:?}; delete that pair, or choose another name",
            mark.pair.as_str()
        )),
        None if mark::is_ours(alias) => Some(format!(
            "{link} has the alias {alias:?}, which this version of veth-agent does not know; use the \
             version that set it, or clear it"
        )),
        None => Some(format!(
            "{link} has the alias {alias:?}, which veth-agent would overwrite; clear it with `ip \
             link set {} alias \"\"`, or choose another name",
            link.name
        )),
    }
}

/// A link elsewhere that carries the pair's name, say from before the file was changed.
pub(super) fn namesake(view: &View<'_>, pair: &PairSpec, other: Found<'_>) -> String {
    format!(
        "pair {:?}: {} carries this name from an earlier apply and is not in the file any more; \
         delete it if it is not needed",
        pair.name.as_str(),
        view.describe(other.id)
    )
}

/// `tap1 in "orange"` for each, in running text.
pub(super) fn in_words(links: &[LinkRef]) -> String {
    links.iter().map(describe::link).collect::<Vec<_>>().join(" and ")
}
