//! Content codings: which answers are coded, and how.
//!
//! For: sending text in fewer bytes. `which` says what of an answer's head allows it, `etag` names
//! the coded form, `encode` makes one of a whole body, and a [`Stream`] of a body as it comes.
//! What a client accepts is `crate::coding`.
//!
//! Called by the request path: streams run on the worker, a chunk at a time; whole bodies are
//! encoded on threads of their own, in [`Encoders`], once for all who ask.
//!
//! Must never happen here: coding what is coded already, or what its maker forbade to transform.

mod encoders;
mod etag;
mod stream;
mod which;

pub use encoders::Encoders;
pub use etag::{coded_tag, known_tag, plain_tags};
pub use stream::Stream;
pub use which::{MIN_LENGTH, compressible, forbids, no_transform, vary};
