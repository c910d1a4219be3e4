//! A tunnel that makes packets larger than the link below it takes.

use crate::{
    diagnose::{Case, Finding},
    mtu::{Overloaded, overloaded},
};

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    overloaded(case.snapshot).into_iter().filter_map(|found| too_large(case, found)).collect()
}

fn too_large(case: &Case<'_>, found: Overloaded) -> Option<Finding> {
    let Overloaded { tunnel, mtu, overhead, below, takes } = found;
    let link = case.end(tunnel)?;
    let below = link.netns.links.get(&below)?;
    let fits = takes.saturating_sub(overhead);
    let kind = match &link.link.kind {
        crate::inventory::LinkKind::Other(kind) => kind.as_str(),
        _ => "tunnel",
    };
    let what = format!(
        "{} makes packets of up to {} bytes, and {} below it takes {takes}",
        case.name_of(&link),
        mtu + overhead,
        below.name
    );
    Some(
        Finding::warning("tunnel-mtu", tunnel, what)
            .because(format!("MTU {mtu}, and {overhead} bytes of {kind} around it"), "RTM_GETLINK")
            .mended_by(case.ip(link.netns, &format!("link set dev {} mtu {fits}", link.word()))),
    )
}
