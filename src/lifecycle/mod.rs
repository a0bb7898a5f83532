//! The process around the edge: doors that open and close, supervised pools, reload, upgrade, drain.

mod busy;
mod door;
mod doors;
mod files;
mod inherited;
mod reload;
mod scale;
mod spawn;
mod upgrade;

pub use door::Door;
pub use doors::{Bound, Doors, Visitor};
pub use files::{look as look_at_files, watch as watch_files, watch_config};
pub use inherited::Inherited;
pub use reload::{Reload, Reloaded, spawns};
pub use scale::Scaler;
pub use spawn::Supervisor;
pub use upgrade::{PATIENCE as UPGRADE_PATIENCE, by_hand, hand_over, say_ready};
