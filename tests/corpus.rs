//! The fuzz targets on the inputs kept in `fuzz/corpus`, and on every beginning of each: what
//! `make fuzz` has found stays found, without a fuzzer.

#[path = "../fuzz/src/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;
use targets::TARGETS;

#[test]
fn what_must_hold_holds_for_the_corpus() {
    for (name, target) in TARGETS {
        let folder = Path::new("fuzz/corpus").join(name);
        let files = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut seen = 0;
        for file in files {
            let bytes = fs::read(file.expect("an entry").path()).expect("a file");
            (0..=bytes.len()).for_each(|end| target(&bytes[..end]));
            seen += 1;
        }
        assert!(seen >= 5, "{name} has {seen} inputs");
    }
}

#[test]
fn every_folder_has_its_target() {
    for folder in fs::read_dir("fuzz/corpus").expect("a folder") {
        let name = folder.expect("an entry").file_name();
        let known = TARGETS
            .iter()
            .any(|(known, _)| name.to_str() == Some(known));
        assert!(known, "{name:?}");
    }
}
