//! The process around the edge: doors that open and close, supervised pools, reload, drain.

mod doors;
mod files;
mod reload;
mod scale;
mod spawn;

pub use doors::{Bound, Door, Doors, Visitor};
pub use files::watch as watch_files;
pub use reload::{Reload, Reloaded, spawns};
pub use scale::Scaler;
pub use spawn::Supervisor;
