//! What is done to a decoded picture, one operation to a file: pure, from raster to raster.

mod blur;
mod detail;
mod grey;
mod ground;
mod overlay;
mod sharpen;
mod trim;

pub use blur::blur;
pub use detail::{luma, point_of_detail};
pub use grey::grey;
pub use ground::{flatten, pad, with_colour};
pub use overlay::{Overlay, Overlays, Place};
pub use sharpen::sharpen;
pub use trim::trim;
