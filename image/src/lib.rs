//! Images in the size, quality and format a reader can use.
//!
//! For: turning one source image into a variant. A request becomes a [`Plan`] (pure, bounded,
//! with a cache key), a plan and a source become a [`Rendition`] (pure). The caller keeps that work
//! off the threads that serve requests.
//!
//! Called by the request path, which fetches the source, asks the pool to run [`transform`] and
//! stores what comes back.
//!
//! Must never happen here: a look at an HTTP session, a wait on the network, a buffer of pixels
//! before the picture's dimensions are checked, or a damaged source answered as a whole picture.

mod limits;
mod settings;

// From a request to its plan.
mod ask;

// From a plan to its rendition.
mod animate;
mod codec;
mod decoded;
mod finish;
mod geometry;
mod info;
mod ops;
mod orient;
mod plan;
mod quality;
mod raster;
mod resize;
mod size;
mod transform;

// Of two pictures, and of one.
mod blurhash;
mod similarity;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod golden;

pub use ask::{
    AskError, Asked, Client, Field, Keys, Place as SourcePlace, Request, Source, Vary, Wish, ask,
    ask_by_query, source_of, source_target,
};
pub use codec::is_svg;
pub use decoded::{Decoded, memory};
pub use limits::Limits;
pub use ops::{Overlay, Overlays, Place};
pub use plan::{Colour, Fit, Gravity, Output, Plan, Quality, Turn};
pub use settings::{ImageSettings, OnFull, PathForm, Unknown, Watermark};
pub use transform::{Rendition, TransformError, transform, transform_all};
