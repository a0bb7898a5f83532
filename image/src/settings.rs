//! What an operator sets under `images:`, and the defaults.

use super::ask::{Keys, Wish};
use super::plan::Gravity;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub struct ImageSettings {
    /// Named wishes: `?preset=NAME`, `/img/NAME/…`.
    pub presets: BTreeMap<String, Wish>,
    /// Overlays by name.
    pub watermarks: BTreeMap<String, Watermark>,
    /// Ways to ask in the path, beside the query.
    pub paths: Vec<PathForm>,
    /// Sides that a rendition may be asked for in pixels, ascending; others become the next larger
    /// one, or the largest. Empty: any.
    pub steps: Vec<u32>,
    pub unknown: Unknown,
    /// Whether `auto` may be AVIF.
    pub avif: bool,
    /// Where there are some, only what they signed is transformed, and what is only a preset.
    pub signing: Option<Keys>,
    /// Other hosts that pictures are fetched from, in lower case; a port may follow.
    pub sources: Vec<String>,
    /// Whether these may have addresses of the machine's own or of a private network.
    pub private_sources: bool,
    /// Pixels of a source, or of a rendition; a source with more is refused by its header, before it
    /// is decoded.
    pub max_pixels: u64,
    /// Bytes of a source.
    pub max_source: u64,
    /// Pixels of all frames of an animation together, read or written.
    pub max_animation: u64,
    /// Bytes of a rendition.
    pub max_output: u64,
    /// How long a transform may take, and whoever waits for it waits.
    pub max_time: Duration,
    /// Bytes that transforms running at once may take, as far as that is known before.
    pub max_memory: u64,
    /// Threads that transform.
    pub workers: usize,
    /// Transformations that may wait for a thread; more are refused.
    pub queue: usize,
    pub on_full: OnFull,
    /// Bytes of an original that is small enough to stand in for its rendition.
    pub small_original: u64,
    /// How long a client waits for AVIF before it gets WebP.
    pub avif_wait: Duration,
}

/// A picture of the operator's that is laid over others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// The file's: PNG, WebP or JPEG, checked when the configuration was.
    pub bytes: std::sync::Arc<[u8]>,
    pub gravity: Gravity,
    /// Percent: 100 hides what is below.
    pub opacity: u8,
    /// Percent of the rendition's sides that it takes at most; it is never enlarged.
    pub width: u8,
}

/// A way to ask in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathForm {
    /// `/img/PRESET/PATH`.
    Presets,
    /// `/cdn-cgi/image/OPTIONS/SOURCE`.
    Cloudflare,
    /// `/SIGNATURE/OPTION:…/plain/SOURCE@EXTENSION`.
    Imgproxy,
}

/// What becomes of parameters that mean nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    Ignore,
    Refuse,
}

/// What a client gets when no more transforms may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// The nearest rendition that is stored, else the original if it is small, else 503.
    Nearest,
    /// The original if it is small, else 503.
    Original,
    /// 503.
    Refuse,
}

impl Default for ImageSettings {
    fn default() -> Self {
        Self {
            presets: default_presets(),
            watermarks: BTreeMap::new(),
            paths: vec![PathForm::Presets, PathForm::Cloudflare],
            steps: Vec::new(),
            unknown: Unknown::Ignore,
            avif: false,
            signing: None,
            sources: Vec::new(),
            private_sources: false,
            max_pixels: 50_000_000,
            max_source: 32 << 20,
            max_animation: 100_000_000,
            max_output: 32 << 20,
            max_time: Duration::from_secs(10),
            max_memory: 1 << 30,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            queue: 256,
            on_full: OnFull::Nearest,
            small_original: 256 << 10,
            avif_wait: Duration::from_secs(1),
        }
    }
}

fn default_presets() -> BTreeMap<String, Wish> {
    [
        ("original", 1920, 85),
        ("medium", 800, 80),
        ("thumbnail", 200, 75),
    ]
    .into_iter()
    .map(|(name, width, quality)| (name.to_owned(), Wish::sized(width, quality)))
    .collect()
}
