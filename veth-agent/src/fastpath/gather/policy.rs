//! Routes, the rules that choose between tables, and policies of XFRM.

use crate::{
    inventory::{self, Route},
    netlink,
};

/// Routes of the main table.
pub fn routes() -> Result<Vec<Route>, String> {
    let routes = netlink::block_on(async |connection| netlink::routes(&connection).await);
    routes.map(|routes| inventory::read_routes(&routes)).map_err(|error| format!("routes: {error}"))
}

/// Rules that a namespace is not born with.
pub fn rules() -> Result<Vec<String>, String> {
    let rules = netlink::block_on(async |connection| netlink::policy_rules(&connection).await);
    rules.map_err(|error| format!("ip rules: {error}"))
}

/// How many policies there are.
pub fn xfrm() -> Result<usize, String> {
    netlink::xfrm_policies().map_err(|error| format!("XFRM policies: {error}"))
}
