//! `images`: what pictures may cost, and the plans that have names.

use super::section::Section;
use super::units::size_from;
use super::values::{count, threads};
use lakh_image::{ImageSettings, Preset};

/// As for a size that a URL asks for.
const MAX_SIDE: u32 = 16_384;
const QUALITY: u8 = 80;

pub fn read(s: &mut Section<'_>) -> ImageSettings {
    s.unsupported(&["signing_key_file"]);
    let default = ImageSettings::default();
    let presets = s.named("presets", |name, s| Some((name.to_owned(), preset(s))));
    ImageSettings {
        presets: match s.has("presets") {
            true => presets.into_iter().collect(),
            false => default.presets,
        },
        max_pixels: s.or("max_pixels", default.max_pixels, count(1..=1_000_000_000)),
        max_source: s.or("max_source", default.max_source, size_from(1 << 10)),
        workers: s.or("workers", default.workers, threads),
        queue: s.or("queue", default.queue, count(1..=1_000_000)),
    }
}

fn preset(s: &mut Section<'_>) -> Preset {
    Preset {
        width: s.optional("width", count(1..=MAX_SIDE)),
        height: s.optional("height", count(1..=MAX_SIDE)),
        quality: s.or("quality", QUALITY, count(1..=100)),
    }
}
