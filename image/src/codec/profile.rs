//! How a source's colours are meant, and their conversion to sRGB, which is what no profile means.
//!
//! Phones write Display P3: the same numbers read as sRGB are visibly duller.

use crate::raster::{Layout, Raster};
use moxcms::{ColorProfile, DataColorSpace, TransformOptions};
use std::sync::Arc;

/// Bytes. The largest of use are tables for printing.
const MAX_BYTES: usize = 4 * 1024 * 1024;

const JPEG_TAG: &[u8] = b"ICC_PROFILE\0";

/// Says something else than sRGB.
#[derive(Clone)]
pub struct Profile(Arc<ColorProfile>);

impl Profile {
    /// `None` for what says sRGB, and for what nobody can read: the colours are taken as they are.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_BYTES || names_srgb(bytes) {
            return None;
        }
        let profile = ColorProfile::new_from_slice(bytes).ok()?;
        Some(Self(Arc::new(profile)))
    }

    pub fn is_of_ink(&self) -> bool {
        self.0.color_space == DataColorSpace::Cmyk
    }

    /// The raster in sRGB; as it is where the profile is for other colours than it has.
    pub fn to_srgb(&self, raster: Raster) -> Raster {
        use moxcms::Layout as Channels;
        let channels = match (self.0.color_space, raster.layout) {
            (DataColorSpace::Rgb, Layout::Rgb) => Channels::Rgb,
            (DataColorSpace::Rgb, Layout::Rgba) => Channels::Rgba,
            (DataColorSpace::Gray, Layout::Grey) => return self.grey_to_srgb(raster),
            _ => return raster,
        };
        match self.converted(&raster.samples, channels, channels, raster.samples.len()) {
            Some(samples) => Raster::whole(raster.size, raster.layout, samples),
            None => raster,
        }
    }

    /// Greys stay greys: one channel of three that are the same is enough.
    fn grey_to_srgb(&self, raster: Raster) -> Raster {
        use moxcms::Layout::{Gray, Rgb};
        let length = raster.samples.len() * 3;
        match self.converted(&raster.samples, Gray, Rgb, length) {
            Some(samples) => {
                let greys = samples.into_iter().step_by(3).collect();
                Raster::whole(raster.size, raster.layout, greys)
            }
            None => raster,
        }
    }

    /// RGB of ink, four samples to a pixel, 255 being all of it.
    pub fn rgb_from_ink(&self, ink: &[u8]) -> Option<Vec<u8>> {
        use moxcms::Layout as Channels;
        // Four channels, whatever they mean, are called RGBA there.
        self.converted(ink, Channels::Rgba, Channels::Rgb, ink.len() / 4 * 3)
    }

    fn converted(
        &self,
        samples: &[u8],
        from: moxcms::Layout,
        to: moxcms::Layout,
        length: usize,
    ) -> Option<Vec<u8>> {
        let srgb = ColorProfile::new_srgb();
        let options = TransformOptions::default();
        let transform = self
            .0
            .create_transform_8bit(from, &srgb, to, options)
            .ok()?;
        let mut converted = vec![0; length];
        transform.transform(samples, &mut converted).ok()?;
        Some(converted)
    }
}

/// Profiles bear their name in ASCII or, from version 4 on, in UTF-16.
fn names_srgb(profile: &[u8]) -> bool {
    profile.windows(4).any(|name| name == b"sRGB")
        || profile.windows(8).any(|name| name == b"\0s\0R\0G\0B")
}

/// The profile in the APP2 segments of a JPEG, each numbered from 1 (ICC.1:2022 annex B.4).
pub fn from_segments<'s>(payloads: impl Iterator<Item = &'s [u8]>) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = payloads
        .filter_map(|payload| payload.strip_prefix(JPEG_TAG))
        .filter(|part| part.len() > 2)
        .collect();
    parts.sort_by_key(|part| part[0]);
    let profile: Vec<u8> = parts
        .into_iter()
        .flat_map(|part| &part[2..])
        .copied()
        .collect();
    (!profile.is_empty()).then_some(profile)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::Size;

    #[test]
    fn greys_of_another_gamma_become_those_of_srgb() {
        let file = ColorProfile::new_gray_with_gamma(1.8).encode();
        let profile = Profile::read(&file.expect("a profile")).expect("not sRGB");
        let raster = Raster::whole(Size::new(3, 1), Layout::Grey, vec![0, 100, 255]);
        let made = profile.to_srgb(raster);
        assert_eq!(made.layout, Layout::Grey);
        let [black, middle, white] = made.samples[..] else {
            panic!("{:?}", made.samples)
        };
        assert!(
            black <= 1 && (112..126).contains(&middle) && white >= 254,
            "{:?}",
            made.samples
        );
    }

    #[test]
    fn colours_of_a_wide_profile_become_stronger_in_srgb_and_greys_stay() {
        let file = ColorProfile::new_display_p3().encode().expect("a profile");
        let profile = Profile::read(&file).expect("not sRGB");
        let pixels = vec![180, 60, 60, 128, 128, 128];
        let raster = Raster::whole(Size::new(2, 1), Layout::Rgb, pixels);
        let made = profile.to_srgb(raster).samples;
        assert!(made[0] > 185 && made[1] < 57, "{made:?}");
        assert!(
            made[3..].iter().all(|level| level.abs_diff(128) <= 1),
            "{made:?}"
        );
    }

    #[test]
    fn srgb_and_nonsense_are_no_profile() {
        assert!(Profile::read(b"").is_none());
        assert!(Profile::read(&[7; 600]).is_none());
        let named = [&[0; 16][..], b"RGB ", b"sRGB IEC61966-2.1"].concat();
        assert!(Profile::read(&named).is_none());
    }

    #[test]
    fn any_damage_to_a_profile_is_no_harm() {
        let file = ColorProfile::new_display_p3().encode().expect("a profile");
        for at in 0..file.len() {
            for value in [0, 1, 0x7F, 0xFF] {
                let mut damaged = file.clone();
                damaged[at] = value;
                if let Some(profile) = Profile::read(&damaged) {
                    profile.to_srgb(Raster::whole(Size::new(1, 1), Layout::Rgb, vec![1, 2, 3]));
                    profile.rgb_from_ink(&[1, 2, 3, 4]);
                }
            }
        }
    }

    #[test]
    fn parts_are_joined_in_their_order() {
        let part = |number: u8, data: &[u8]| [JPEG_TAG, &[number, 2], data].concat();
        let (second, first) = (part(2, b"cd"), part(1, b"ab"));
        let payloads = [second.as_slice(), b"other", first.as_slice(), JPEG_TAG];
        assert_eq!(
            from_segments(payloads.into_iter()).as_deref(),
            Some(&b"abcd"[..])
        );
        assert_eq!(from_segments([b"other".as_slice()].into_iter()), None);
    }
}
