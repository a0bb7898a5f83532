//! The rules of lending, without HTTP and without a database: what may be said in a listing, who
//! may do what, what counts as a photo, which days are free, what follows from a payment, who meets whom. Everything
//! here is pure but for where random names come from.

pub mod booking;
pub mod clock;
pub mod days;
pub mod device;
pub mod event;
pub mod export;
pub mod fields;
pub mod file;
pub mod issue;
pub mod job;
pub mod letter;
pub mod listing;
pub mod matching;
pub mod page;
pub mod payment;
pub mod photo;
pub mod position;
pub mod profile;
pub mod random;
pub mod ranges;
pub mod search;
pub mod shares;
pub mod span;
pub mod task;
pub mod topics;
pub mod turns;
pub mod user;

mod words;
