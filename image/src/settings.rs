//! What an operator sets under `images:`, and the defaults.

use super::ask::{Keys, Wish};
use super::limits::Limits;
use super::ops::{Overlay, Overlays, Place};
use super::plan::{Gravity, Plan};
use super::transform::TransformError;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
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
    pub bytes: Arc<[u8]>,
    pub gravity: Gravity,
    /// Percent: 100 hides what is below.
    pub opacity: u8,
    /// Percent of the rendition's sides that it takes at most; it is never enlarged.
    pub width: u8,
    /// Another one of the same name has another.
    pub fingerprint: String,
}

impl Watermark {
    pub fn new(bytes: Vec<u8>, gravity: Gravity, opacity: u8, width: u8) -> Self {
        let place = format!("{gravity:?} {opacity} {width} ");
        let digest = Sha256::new().chain_update(place).chain_update(&bytes);
        let digest = digest.finalize();
        let hex = |byte: &u8| format!("{byte:02x}");
        Self {
            bytes: bytes.into(),
            gravity,
            opacity,
            width,
            fingerprint: digest[..4].iter().map(hex).collect(),
        }
    }

    /// Decoded, for all renditions to come.
    pub fn overlay(&self) -> Result<Overlay, TransformError> {
        let share = |part: u16| part.min(1000);
        let at = match self.gravity {
            Gravity::Point { x, y } => (share(x), share(y)),
            Gravity::Centre | Gravity::Auto => (500, 500),
        };
        let opacity = u16::from(self.opacity.min(100)) * 255 / 100;
        let place = Place {
            at,
            share: self.width,
            opacity: u8::try_from(opacity).unwrap_or(u8::MAX),
        };
        Overlay::read(&self.bytes, place, &Limits::from(&ImageSettings::default()))
    }
}

impl ImageSettings {
    /// What a rendition is called beside its source: the plan's key, and which picture it means by
    /// its watermark.
    pub fn key(&self, plan: &Plan) -> String {
        let mark = plan.watermark().and_then(|name| self.watermarks.get(name));
        let mark = mark.map_or(String::new(), |mark| format!("@{}", mark.fingerprint));
        plan.key() + &mark
    }

    /// Folders of the host where renditions are asked for, whatever their sources are.
    pub fn folders(&self) -> impl Iterator<Item = &'static str> {
        let of = |form: &PathForm| -> &[&'static str] {
            match form {
                PathForm::Presets => &["/img/"],
                PathForm::Cloudflare => &["/cdn-cgi/", "/cdn-cgi/image/"],
                // Each begins with a signature of its own.
                PathForm::Imgproxy => &[],
            }
        };
        self.paths.iter().flat_map(of).copied()
    }

    /// Decoded. Those that can't be are left out: the configuration is checked with `overlay`.
    pub fn overlays(&self) -> Overlays {
        let read = |(name, mark): (&String, &Watermark)| {
            let overlay = mark.overlay().ok()?;
            Some((name.clone(), Arc::new(overlay)))
        };
        self.watermarks.iter().filter_map(read).collect()
    }
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
