//! HTTP: what is asked for, and how it is answered. Rules are in `domain`, data is in `store`.

pub mod accounts;
pub mod admission;
pub mod bookings;
pub mod conditions;
pub mod content;
pub mod devices;
pub mod documents;
pub mod events;
pub mod exports;
pub mod files;
pub mod health;
pub mod home;
pub mod issues;
pub mod jobs;
pub mod lend;
pub mod listings;
pub mod machine;
pub mod matches;
pub mod payments;
pub mod photos;
pub mod problem;
pub mod profile;
pub mod progress;
pub mod socket;
pub mod tasks;
pub mod turns;

mod author;
mod idempotency;
mod incoming;
mod json_body;
mod path;
mod query;
mod representation;
