#[path = "../../../src/cache/growing.rs"]
pub mod growing;
