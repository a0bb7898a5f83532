#[path = "../../../src/cache/growing.rs"]
pub mod growing;
#[path = "../../../src/pool/slices.rs"]
pub mod slices;
