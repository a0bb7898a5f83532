//! The rules of lending, without HTTP and without a database: what may be said in a listing, who
//! may register, what counts as a photo, how a list is cut into pages. Everything here is pure.

pub mod fields;
pub mod listing;
pub mod page;
pub mod photo;
pub mod user;
