//! `caches`: the zones that routes keep answers in.

use super::section::Section;
use super::units::{size_from, size_text};
use super::values::header_name;
use crate::cache::CacheSettings;

const MEMORY: u64 = 100 << 20;
const MAX_OBJECT: u64 = 8 << 20;

pub fn read(name: &str, s: &mut Section<'_>) -> Option<CacheSettings> {
    s.unsupported(&["redis", "disk"]);
    let memory = s.or("memory", MEMORY, size_from(1 << 20));
    // A small zone needs no second number to be valid.
    let max_object = s.or("max_object", MAX_OBJECT.min(memory), size_from(1));
    if max_object > memory {
        let message = format!(
            "{} is more than the zone's memory; write {} or less",
            size_text(max_object),
            size_text(memory)
        );
        s.error("max_object", message);
    }
    let invalidate_header = s.optional("invalidate_header", header_name);
    Some(CacheSettings {
        name: name.to_owned(),
        memory,
        max_object,
        invalidate_header,
    })
}
