//! HTTP: what is asked for, and how it is answered. Rules are in `domain`, data is in `store`.

pub mod accounts;
pub mod admission;
pub mod health;
pub mod home;
pub mod listings;
pub mod photos;
pub mod problem;

mod author;
mod json_body;
mod representation;
