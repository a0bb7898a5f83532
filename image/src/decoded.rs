//! One decoding of a source, for all that is to be made of it at once.

use super::animate::is_animated;
use super::codec::{Header, Source};
use super::limits::Limits;
use super::ops::Overlays;
use super::plan::Plan;
use super::raster::Picture;
use super::transform::{Rendition, TransformError, Work, wanted};
use std::rc::Rc;

/// A source, decoded as far as all its plans need it.
pub struct Decoded<'d> {
    source: &'d [u8],
    header: Header,
    plans: &'d [Plan],
    /// One for each plan that is not for all frames, in their order.
    pictures: Vec<Result<Rc<Picture>, TransformError>>,
}

impl<'d> Decoded<'d> {
    pub fn new(
        source: &'d [u8],
        plans: &'d [Plan],
        limits: &Limits,
    ) -> Result<Self, TransformError> {
        limits.check_bytes(source)?;
        let opened = Source::open(source, limits)?;
        let header = opened.header().clone();
        let stills = plans.iter().filter(|plan| !is_animated(plan, &header));
        let wanted: Vec<_> = stills.map(|plan| wanted(plan, &header)).collect();
        let pictures = match wanted.is_empty() {
            true => Vec::new(),
            false => opened.decode_all(&wanted, limits)?,
        };
        Ok(Self {
            source,
            header,
            plans,
            pictures,
        })
    }

    /// Each is made when it is asked for, within the limits that hold then.
    pub fn renditions(
        self,
        overlays: &Overlays,
        limits: impl Fn() -> Limits,
    ) -> impl Iterator<Item = Result<Rendition, TransformError>> {
        let Self {
            source,
            header,
            plans,
            pictures,
        } = self;
        let mut pictures = pictures.into_iter();
        plans.iter().map(move |plan| {
            let limits = &limits();
            let work = Work {
                source,
                header: &header,
                limits,
                overlays,
            };
            match is_animated(plan, &header) {
                true => work.animation(plan),
                false => work.rendition(plan, &*pictures.next().expect("one for each still")?),
            }
        })
    }
}

/// Bytes that so many plans for a source may take at their height, as far as its head tells: its
/// pixels with four channels, for each plan and once more, and what is read and written. A source
/// that can't be opened takes what it has.
pub fn memory(source: &[u8], plans: usize, limits: &Limits) -> u64 {
    let opened = Source::open(source, limits).ok();
    let pixels = opened.map_or(0, |opened| opened.header().size.pixels());
    let plans = plans as u64;
    4 * pixels * (plans + 1) + (plans + 1) * source.len() as u64
}
