//! What an operator sets under `images:`, and the defaults.

use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq)]
pub struct ImageSettings {
    /// Named plans: `?preset=NAME`.
    pub presets: BTreeMap<String, Preset>,
    /// Pixels of a source; one with more is refused by its header, before it is decoded.
    pub max_pixels: u64,
    /// Bytes of a source.
    pub max_source: u64,
    /// Threads that transform.
    pub workers: usize,
    /// Transformations that may wait for a thread; more are refused.
    pub queue: usize,
}

/// A box that a picture is reduced into, and a quality. A side that isn't set doesn't bind.
#[derive(Clone, Debug, PartialEq)]
pub struct Preset {
    pub width: Option<u32>,
    pub height: Option<u32>,
    /// 1 to 100.
    pub quality: u8,
}

impl Default for ImageSettings {
    fn default() -> Self {
        Self {
            presets: default_presets(),
            max_pixels: 50_000_000,
            max_source: 32 * 1024 * 1024,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            queue: 256,
        }
    }
}

fn default_presets() -> BTreeMap<String, Preset> {
    [
        ("original", 1920, 85),
        ("medium", 800, 80),
        ("thumbnail", 200, 75),
    ]
    .into_iter()
    .map(|(name, width, quality)| {
        let preset = Preset {
            width: Some(width),
            height: None,
            quality,
        };
        (name.to_owned(), preset)
    })
    .collect()
}
