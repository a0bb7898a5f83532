//! `images`: what pictures may cost, the wishes that have names, and who may ask for what.

use super::refusal::Refusal;
use super::section::Section;
use super::units::{size_from, wait};
use super::values::{choice, count, switch, threads};
use crate::upstream::is_public;
use lakh_image::{Field, Gravity, ImageSettings, Keys, OnFull, PathForm, Unknown, Watermark, Wish};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// As for a size that a URL asks for.
const MAX_SIDE: u32 = 16_384;

/// What a preset may say beside its size and quality.
const PRESET: [(&str, Field); 12] = [
    ("dpr", Field::Density),
    ("fit", Field::Fit),
    ("gravity", Field::Gravity),
    ("background", Field::Background),
    ("blur", Field::Blur),
    ("sharpen", Field::Sharpen),
    ("trim", Field::Trim),
    ("grey", Field::Grey),
    ("watermark", Field::Watermark),
    ("format", Field::Format),
    ("animated", Field::Animated),
    ("metadata", Field::Metadata),
];

pub fn read(s: &mut Section<'_>) -> ImageSettings {
    let default = ImageSettings::default();
    let watermarks: BTreeMap<_, _> = s.named("watermarks", watermark).into_iter().collect();
    let avif = s.or("avif", default.avif, switch);
    let presets = s.named("presets", |name, s| {
        Some((name.to_owned(), preset(s, &watermarks, avif)))
    });
    let paths = [
        ("presets", PathForm::Presets),
        ("cloudflare", PathForm::Cloudflare),
        ("imgproxy", PathForm::Imgproxy),
    ];
    let unknown = [("ignore", Unknown::Ignore), ("refuse", Unknown::Refuse)];
    let on_full = [
        ("nearest", OnFull::Nearest),
        ("original", OnFull::Original),
        ("refuse", OnFull::Refuse),
    ];
    ImageSettings {
        presets: match s.has("presets") {
            true => presets.into_iter().collect(),
            false => default.presets,
        },
        watermarks,
        paths: match s.has("paths") {
            true => s.list("paths", choice(&paths)),
            false => {
                s.list("paths", choice(&paths));
                default.paths
            }
        },
        steps: steps(s),
        unknown: s.or("unknown", default.unknown, choice(&unknown)),
        avif,
        signing: s.optional("signing_key_file", keys),
        sources: sources(s),
        private_sources: s.or("private_sources", default.private_sources, switch),
        max_pixels: s.or("max_pixels", default.max_pixels, count(1..=1_000_000_000)),
        max_source: s.or("max_source", default.max_source, size_from(1 << 10)),
        max_animation: s.or(
            "max_animation",
            default.max_animation,
            count(1..=10_000_000_000),
        ),
        max_output: s.or("max_output", default.max_output, size_from(1 << 10)),
        max_time: s.or("max_time", default.max_time, wait),
        max_memory: s.or("max_memory", default.max_memory, size_from(1 << 20)),
        workers: s.or("workers", default.workers, threads),
        queue: s.or("queue", default.queue, count(1..=1_000_000)),
        on_full: s.or("on_full", default.on_full, choice(&on_full)),
        small_original: s.or("small_original", default.small_original, size_from(0)),
        avif_wait: s.or("avif_wait", default.avif_wait, wait),
    }
}

/// Only an address can be judged here; what is behind a name, once it is looked up.
fn sources(s: &mut Section<'_>) -> Vec<String> {
    let is_private = s.is("private_sources", "true");
    s.list("sources", |text| {
        let host = text.strip_prefix("https://").unwrap_or(text);
        let url = format!("http://{host}/").parse::<http::Uri>();
        let host = url.ok().filter(|url| url.path() == "/" && !text.contains('@'));
        let host = host.and_then(|url| Some(url.host()?.trim_matches(['[', ']']).to_owned()));
        let host = host.filter(|host| !host.is_empty());
        let host = host.ok_or(format!("`{text}` is not a host; write one like cdn.example or https://cdn.example"))?;
        match host.parse::<IpAddr>() {
            Ok(ip) if !is_private && !is_public(ip) => Err(format!(
                "`{text}` is an address of a network of its own; add private_sources: true if that is meant"
            )),
            _ => Ok(text.to_ascii_lowercase()),
        }
    })
}

/// Ascending, whatever their order was.
fn steps(s: &mut Section<'_>) -> Vec<u32> {
    let mut steps = s.list("steps", count(1..=MAX_SIDE));
    steps.sort_unstable();
    steps.dedup();
    steps
}

fn preset(s: &mut Section<'_>, watermarks: &BTreeMap<String, Watermark>, avif: bool) -> Wish {
    let mut wish = Wish::default();
    let mut say = |s: &mut Section<'_>, key: &'static str, field| {
        let told = s.optional(key, |text| value(field, text));
        told.map(|text| wish.say(field, &text));
    };
    say(s, "width", Field::Width);
    say(s, "height", Field::Height);
    say(s, "quality", Field::Quality);
    for (key, field) in PRESET {
        say(s, key, field);
    }
    if let Some(name) = wish
        .watermark()
        .filter(|name| !watermarks.contains_key(*name))
    {
        s.error(
            "watermark",
            format!("`{name}` is none of images.watermarks"),
        );
    }
    if wish.is_avif() && !avif {
        s.error("format", "avif is for images.avif: true");
    }
    wish
}

/// What the URL may say, a preset may.
fn value(field: Field, text: &str) -> Result<String, Refusal> {
    let number = |most: u32| match text {
        "auto" => Ok(0),
        _ => count(1..=most)(text).map_err(|refusal| refusal.or("auto")),
    };
    match field {
        Field::Width => drop(number(MAX_SIDE)?),
        Field::Height => drop(count(1..=MAX_SIDE)(text)?),
        Field::Quality => drop(number(100)?),
        _ => {}
    }
    let wrong = |_| format!("`{text}` is not known; write {}", field.rule());
    Wish::default().say(field, text).map_err(wrong)?;
    Ok(text.to_owned())
}

fn keys(text: &str) -> Result<Keys, String> {
    let keys = std::fs::read_to_string(text)
        .map_err(|error| format!("`{text}` cannot be read: {error}; write a file's path"))?;
    Keys::read(&keys).map_err(|why| format!("`{text}`: {why}"))
}

fn watermark(name: &str, s: &mut Section<'_>) -> Option<(String, Watermark)> {
    let read = |text: &str| {
        std::fs::read(text)
            .map_err(|error| format!("`{text}` cannot be read: {error}; write a file's path"))
    };
    let bytes = s.required("file", "logo.png", read);
    let gravity = s.or("gravity", Gravity::BOTTOM_RIGHT, |text| {
        let wrong = || format!("`{text}` is not known; write {}", Field::Gravity.rule());
        Gravity::read(text).ok_or_else(wrong)
    });
    let opacity = s.or("opacity", 100, count(1..=100));
    let width = s.or("width", 100, count(1..=100));
    let watermark = Watermark::new(bytes?, gravity, opacity, width);
    if let Err(why) = watermark.overlay() {
        s.error("file", format!("no picture to lay over others: {why}"));
        return None;
    }
    Some((name.to_owned(), watermark))
}
