//! Work beside the requests.

pub mod demo;
