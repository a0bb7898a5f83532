//! Imports point down only: ARCHITECTURE.md's rooms, enforced.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms by layer, from the top. A file may import rooms below its own layer, and its own room.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["server"],
    &["admin", "lifecycle", "proxy"],
    &["runtime"],
    &["config"],
    &[
        "listen", "route", "guard", "cache", "compress", "grpc", "upstream",
    ],
    &["acme"],
    &["redis"],
    &[
        "allocator",
        "breaker",
        "coding",
        "error",
        "observe",
        "pem",
        "pool",
    ],
    &["endpoint", "path", "unsent"],
];

/// Settings live with their concern, whatever its layer: configuration reads the admin's too.
const SETTINGS: &[(&str, &str)] = &[("config", "admin")];

#[test]
fn imports_run_down_only() {
    let layer_of: BTreeMap<&str, usize> = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(layer, rooms)| rooms.iter().map(move |room| (*room, layer)))
        .collect();
    let mut seen = 0;
    let mut wrong = Vec::new();
    for file in sources(Path::new("src")) {
        let room = room_of(&file);
        if room == "lib" {
            continue;
        }
        let own = *layer_of
            .get(room.as_str())
            .unwrap_or_else(|| panic!("{room} has no layer"));
        for imported in imports(&fs::read_to_string(&file).expect("a source file")) {
            let Some(layer) = layer_of.get(imported.as_str()) else {
                continue;
            };
            seen += 1;
            let allowed = imported == room
                || *layer > own
                || SETTINGS.contains(&(room.as_str(), imported.as_str()));
            if !allowed {
                wrong.push(format!("{}: {room} imports {imported}", file.display()));
            }
        }
    }
    assert!(
        seen > 50,
        "only {seen} imports were found: the test reads the wrong files"
    );
    assert!(
        wrong.is_empty(),
        "imports that run up or sideways:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn only_listen_proxy_and_admin_know_pingoras_session() {
    for room in [
        "route", "guard", "cache", "compress", "grpc", "coding", "observe", "error", "config",
    ] {
        for file in sources(Path::new("src"))
            .into_iter()
            .filter(|f| room_of(f) == room)
        {
            let text = fs::read_to_string(&file).expect("a source file");
            assert!(
                !text.contains("pingora::proxy"),
                "{} knows the session",
                file.display()
            );
        }
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

/// `src/cache/store.rs` and `src/cache.rs` are both of room `cache`.
fn room_of(file: &Path) -> String {
    let first = file.iter().nth(1).expect("below src").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The rooms after every `crate::`, those of grouped imports included.
fn imports(text: &str) -> Vec<String> {
    let after = text.split("crate::").skip(1);
    after
        .flat_map(|part| match part.strip_prefix('{') {
            Some(group) => group
                .split('}')
                .next()
                .unwrap_or_default()
                .split(',')
                .collect(),
            None => vec![part],
        })
        .filter_map(|name| {
            name.trim()
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
        })
        .filter(|room| !room.is_empty())
        .map(str::to_owned)
        .collect()
}
