//! `caches`: the zones that routes keep answers in.

use super::section::Section;
use super::units::{seconds, size_between, size_from, size_text};
use super::values::header_name;
use crate::cache::{CacheSettings, DiskSettings, RedisTierSettings};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

const MEMORY: u64 = 100 << 20;
const MAX_OBJECT: u64 = 8 << 20;
const REDIS_TTL: Duration = Duration::from_secs(3600);
/// A single large value holds up all others on its way.
const REDIS_MAX_OBJECT: u64 = 1 << 20;

/// Less has no room for purges and sixteen blocks of a size that is worth the name.
const MIN_DISK: u64 = 64 << 20;

/// The folders of disks, with whose each is.
#[derive(Default)]
pub struct Folders(Vec<(PathBuf, String)>);

pub fn read(name: &str, s: &mut Section<'_>, folders: &mut Folders) -> Option<CacheSettings> {
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
        disk: s.section("disk", |s| read_disk(s, folders)),
        redis: s.section("redis", |s| Some(read_redis(s, max_object))),
    })
}

fn read_disk(s: &mut Section<'_>, folders: &mut Folders) -> Option<DiskSettings> {
    let path = s.required("path", "/var/cache/lakh/NAME", folder);
    let size = s.required("size", "10GiB", size_from(MIN_DISK));
    let path = path?;
    let same: PathBuf = path
        .components()
        .filter(|part| *part != Component::CurDir)
        .collect();
    let owner = s.path().to_owned();
    match folders.0.iter().find(|(other, _)| *other == same) {
        Some((_, other)) => {
            let message = format!("is the folder of {other}; each needs one of its own");
            s.error("path", message);
        }
        None => folders.0.push((same, owner)),
    }
    let size = size?;
    Some(DiskSettings { path, size })
}

/// It is made when it isn't there.
fn folder(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    match path.exists() && !path.is_dir() || text.is_empty() {
        true => Err(format!("`{text}` is not a folder; write a folder")),
        false => Ok(path.to_owned()),
    }
}

fn read_redis(s: &mut Section<'_>, max_object: u64) -> RedisTierSettings {
    RedisTierSettings {
        ttl: s.or("ttl", REDIS_TTL, seconds),
        max_object: s.or(
            "max_object",
            REDIS_MAX_OBJECT.min(max_object),
            size_between(1, max_object),
        ),
    }
}
