//! libFuzzer on the target that `LAKH_FUZZ` names: see `make fuzz`.

#![no_main]

mod targets;

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use targets::{TARGETS, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("LAKH_FUZZ").expect("LAKH_FUZZ names a target");
    let known = TARGETS.iter().find(|(known, _)| *known == name);
    known.expect("LAKH_FUZZ names a target of targets.rs").1
});

fuzz_target!(|bytes: &[u8]| TARGET(bytes));
