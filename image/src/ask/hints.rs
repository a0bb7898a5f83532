//! What a client says of itself: the formats it reads, its screen's density, the width it needs.

use super::value;
use super::wish::MAX_ASKED;
use crate::plan::Output;

/// The fields that count. Several lines of one are joined by commas.
#[derive(Clone, Copy, Debug, Default)]
pub struct Client<'r> {
    pub accept: Option<&'r str>,
    pub sec_ch_dpr: Option<&'r str>,
    pub sec_ch_width: Option<&'r str>,
    pub width: Option<&'r str>,
}

/// The fields that were looked at, whether they were there or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vary {
    pub accept: bool,
    pub sec_ch_dpr: bool,
    pub sec_ch_width: bool,
    pub width: bool,
}

/// Widths by hint are rounded up to a multiple of this: screens have every width there is.
const WIDTH: u32 = 64;

impl Vary {
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let names = [
            (self.accept, "Accept"),
            (self.sec_ch_dpr, "Sec-CH-DPR"),
            (self.sec_ch_width, "Sec-CH-Width"),
            (self.width, "Width"),
        ];
        names
            .into_iter()
            .filter_map(|(is, name)| is.then_some(name))
    }
}

impl Client<'_> {
    /// The best it reads, as one of three.
    pub(super) fn output(&self, avif: bool, vary: &mut Vary) -> Output {
        vary.accept = true;
        let reads = |media| self.accept.is_some_and(|accept| names(accept, media));
        let webp = reads("image/webp");
        // Whoever waits too long for the one gets the other, so it must read both.
        let avif = avif && webp && reads("image/avif");
        Output::Auto { webp, avif }
    }

    /// In hundredths, a multiple of a half from 1 to 4.
    pub(super) fn density(&self, vary: &mut Vary) -> u16 {
        vary.sec_ch_dpr = true;
        let said = self
            .sec_ch_dpr
            .and_then(|dpr| value::hundredths(dpr.trim(), 100));
        said.map_or(100, |said| said.clamp(100, 400).div_ceil(50) * 50)
    }

    pub(super) fn width(&self, vary: &mut Vary) -> Option<u32> {
        let read = |field: Option<&str>| value::side(field?.trim());
        vary.sec_ch_width = true;
        let said = read(self.sec_ch_width).or_else(|| {
            vary.width = true;
            read(self.width)
        });
        said.map(|width| width.next_multiple_of(WIDTH).min(MAX_ASKED))
    }
}

/// Whether `Accept` names a format itself with a weight above zero (RFC 9110 §12.5.1). A wildcard
/// says nothing about it: clients that can't read it send `*/*` as well.
fn names(accept: &str, wanted: &str) -> bool {
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_named = parts
            .next()
            .is_some_and(|media| media.eq_ignore_ascii_case(wanted));
        is_named && !parts.any(is_zero_weight)
    })
}

fn is_zero_weight(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, weight)| {
        name.trim().eq_ignore_ascii_case("q")
            && weight
                .trim()
                .parse::<f32>()
                .is_ok_and(|weight| weight <= 0.0)
    })
}
