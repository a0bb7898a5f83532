//! Lakh: an edge that balances, protects, caches, and resizes images, from one YAML file.
//!
//! Modules in reading order: from the process down to the parts that know nothing of each other.
//! ARCHITECTURE.md has the map; `tests/layers.rs` keeps imports pointing down.

pub mod acme;
pub mod admin;
pub mod breaker;
pub mod cache;
pub mod cli;
pub mod coding;
pub mod compress;
pub mod config;
pub mod endpoint;
pub mod error;
pub mod grpc;
pub mod guard;
pub mod lifecycle;
pub mod listen;
pub mod observe;
pub mod path;
pub mod pem;
pub mod pool;
pub mod proxy;
pub mod redis;
pub mod route;
pub mod runtime;
pub mod server;
pub mod unsent;
pub mod upstream;
