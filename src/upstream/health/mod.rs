//! Whether a server is well: one state machine per server, fed by probes and by requests.
//!
//! `record` is the machine; what it is made of are three small ones, each pure and told the time:
//! the streak of probes (active health), the ejection (passive), the breaker. `probe` asks the
//! servers. A `Pool` looks at `Standing`s only, and only when one has changed.

mod breaker;
mod ejection;
mod probe;
mod record;
mod streak;

pub use record::{Outcome, Standing, State};

pub(super) use ejection::most_ejected;
pub(super) use probe::watch;
pub(super) use record::{Record, Rules};
