//! What leaves the agent: the metrics page and the server that hands it out.

mod labels;
mod ledger;
mod metrics;
mod mtu;
mod server;
mod sizes;
mod text;
mod view;

pub use metrics::Metrics;
pub use server::{ServerError, bind, serve};
pub use view::{SharedView, View};
