//! Golden images: renditions beside what Pillow makes of the same sources.
//!
//! Sources and references are drawn when the test runs, by `reference.py` in one process. That the
//! comparison can fail is a test too: every case does when its rendition is moved by a row.

mod cases;

use crate::codec::{Source, Wanted};
use crate::fixtures::scene;
use crate::ops::{Overlay, Overlays, Place};
use crate::plan::{Output, Plan, Quality};
use crate::raster::{Layout, Picture, Raster};
use crate::similarity::similarity;
use crate::size::Size;
use crate::transform::{Rendition, transform};
use crate::{ImageSettings, Limits};
use image::ImageFormat;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

const SCRIPT: &str = include_str!("reference.py");

/// Levels that a channel may be off on average: chroma's halving and quantisation.
const MEAN_DIFFERENCE: f64 = 6.0;

struct Case {
    name: String,
    /// Python: a source's bytes, and what becomes of it.
    source: &'static str,
    reference: String,
    plan: Plan,
    /// Least structural similarity of the brightness.
    similar: f64,
}

#[test]
fn renditions_look_as_pillow_makes_them() {
    let cases = cases::all();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let folder = Folder::of(&cases);
    let overlays = overlays();
    let limits = Limits::from(&ImageSettings::default());
    let mut wrong = Vec::new();
    for case in &cases {
        let source = folder.read(&case.name, "source");
        let expected = picture(&folder.read(&case.name, "expected"));
        let made = transform(&source, &case.plan, &limits, &overlays).expect(&case.name);
        let made = decoded(&made);
        if let Err(why) = alike(&made, &expected, case.similar) {
            wrong.push(format!("{}: {why}", case.name));
        }
        if alike(&moved(&made), &expected, case.similar).is_ok() {
            wrong.push(format!("{}: a moved row isn't seen", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

fn alike(made: &Raster, expected: &Raster, similar: f64) -> Result<(), String> {
    if made.size != expected.size {
        return Err(format!("{:?} instead of {:?}", made.size, expected.size));
    }
    let width = made.size.width as usize;
    let brightness = |raster: &Raster| crate::ops::luma(&Picture::Packed(raster.clone()));
    let found = similarity(
        &brightness(made).samples,
        &brightness(expected).samples,
        width,
    );
    if found < similar {
        return Err(format!("similarity {found:.4}, at least {similar}"));
    }
    let off = differences(made, expected);
    if off.iter().any(|levels| *levels > MEAN_DIFFERENCE) {
        return Err(format!("levels of the channels off by {off:.1?}"));
    }
    Ok(())
}

/// Mean of each channel, colours weighed by how solid they are.
fn differences(one: &Raster, other: &Raster) -> [f64; 4] {
    let mut sums = [0.0; 4];
    let pixels = |raster: &Raster| raster.samples.as_chunks::<4>().0.to_vec();
    for (one, other) in pixels(one).iter().zip(pixels(other)) {
        let weigh = |pixel: &[u8; 4], at: usize| {
            let alpha = if at == 3 { 255 } else { pixel[3] };
            f64::from(pixel[at]) * f64::from(alpha) / 255.0
        };
        for (at, sum) in sums.iter_mut().enumerate() {
            *sum += (weigh(one, at) - weigh(&other, at)).abs();
        }
    }
    sums.map(|sum| sum / one.size.pixels() as f64)
}

/// One row further down.
fn moved(raster: &Raster) -> Raster {
    let mut moved = raster.clone();
    moved.samples.rotate_right(raster.stride());
    moved
}

fn decoded(rendition: &Rendition) -> Raster {
    let limits = Limits::from(&ImageSettings::default());
    let raster = if rendition.content_type == "image/avif" {
        let source = Source::open(&rendition.bytes, &limits).expect("an AVIF");
        let wanted = Wanted {
            size: source.header().size,
            packed: true,
        };
        let Picture::Packed(raster) = source.decode(wanted, &limits).expect("decodes") else {
            panic!("pixels were asked for");
        };
        rgba(raster)
    } else {
        let format = ImageFormat::from_mime_type(rendition.content_type).expect("a known type");
        let read = image::load_from_memory_with_format(&rendition.bytes, format);
        let read = read.expect("decodes").into_rgba8();
        let size = Size::new(read.width(), read.height());
        Raster::whole(size, Layout::Rgba, read.into_raw())
    };
    assert_eq!(raster.size, Size::new(rendition.width, rendition.height));
    raster
}

fn rgba(raster: Raster) -> Raster {
    if raster.layout == Layout::Rgba {
        return raster;
    }
    let pixels = raster.samples.chunks_exact(3);
    let samples = pixels.flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 255]);
    Raster::whole(raster.size, Layout::Rgba, samples.collect())
}

/// Two sides, then RGBA.
fn picture(bytes: &[u8]) -> Raster {
    let side = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().expect("four bytes"));
    Raster::whole(
        Size::new(side(0), side(4)),
        Layout::Rgba,
        bytes[8..].to_vec(),
    )
}

fn overlays() -> Overlays {
    let red = image::RgbaImage::from_pixel(20, 20, image::Rgba([255, 0, 0, 255]));
    let file = crate::fixtures::encoded(red, ImageFormat::Png);
    let place = Place {
        at: (1000, 1000),
        share: 50,
        opacity: 128,
    };
    let limits = Limits::from(&ImageSettings::default());
    let overlay = Overlay::read(&file, place, &limits).expect("a PNG");
    Overlays::from([("red".to_owned(), Arc::new(overlay))])
}

/// Where the script writes; gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn of(cases: &[Case]) -> Self {
        let name = format!("lakh-golden-{}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(&folder.0).expect("a folder");
        let scene = crate::fixtures::encoded(scene(480, 360), ImageFormat::Png);
        fs::write(folder.0.join("scene.png"), scene).expect("a file");
        let wide = moxcms::ColorProfile::new_display_p3();
        fs::write(folder.0.join("wide.icc"), wide.encode().expect("a profile")).expect("a file");
        let mut script = SCRIPT.to_owned();
        for Case {
            name,
            source,
            reference,
            ..
        } in cases
        {
            script += &format!("case({name:?}, {source}, {reference})\n");
        }
        folder.run(&script);
        folder
    }

    fn run(&self, script: &str) {
        let file = self.0.join("reference.py");
        fs::write(&file, script).expect("a file");
        // Debian's own, which is the one that Debian's Pillow is for.
        let debian = Path::new("/usr/bin/python3");
        let python = if debian.exists() {
            debian
        } else {
            Path::new("python3")
        };
        let run = Command::new(python).arg(&file).arg(&self.0).output();
        let run = run.expect("python3, with Debian's python3-pil");
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "python3-pil is needed:\n{said}");
    }

    fn read(&self, name: &str, what: &str) -> Vec<u8> {
        fs::read(self.0.join(format!("{name}.{what}"))).expect("written by the script")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays behind is no reason to fail.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// At a quality that leaves the comparison to the operation.
fn plan(width: u32, height: u32, output: Output) -> Plan {
    Plan {
        width: Some(width),
        height: Some(height),
        quality: Quality::Fixed(92),
        output,
        animated: false,
        ..Plan::unchanged()
    }
}
