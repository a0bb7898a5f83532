//! The one scan of a baseline JPEG: MCUs to samples (T.81 F.2).

use crate::Error;
use crate::bits::Bits;
use crate::channel::{Channel, channels};
use crate::features::Features;
use crate::header::Stream;
use crate::idct::{Basis, LANES};
use crate::marker::finish;
use crate::planes::{self, Planes, Scale};
use crate::segment::Stuffed;
use std::ops::Range;

/// The same bits as planes at each of `scales`, of which there is one at least.
pub fn decode(
    stream: &Stream<'_>,
    scales: &[Scale],
    features: Features,
) -> Result<Vec<Planes>, Error> {
    let most = scales.iter().map(|scale| scale.samples_per_block()).max();
    let mut scan = Scan::new(stream, scales)?;
    match most {
        Some(1) => scan.run::<1>(features),
        Some(2) => scan.run::<2>(features),
        Some(3) => scan.run::<3>(features),
        Some(4) => scan.run::<4>(features),
        Some(5) => scan.run::<5>(features),
        Some(6) => scan.run::<6>(features),
        Some(7) => scan.run::<7>(features),
        _ => scan.run::<8>(features),
    }?;
    Ok(scan.into_planes(scales.len()))
}

struct Scan<'j> {
    data: Stuffed<'j>,
    /// MCUs across and down.
    mcus: (usize, usize),
    restart_interval: usize,
    channels: Vec<Channel>,
    /// One for each of the channels' planes.
    reductions: Vec<Box<dyn Reduction>>,
}

/// From coefficients to samples at one scale, whichever that is.
trait Reduction {
    /// Of one channel, to its plane of this number.
    fn store(&self, features: Features, channel: &mut Channel, plane: usize, at: (usize, usize));
}

impl<const N: usize> Reduction for Basis<N> {
    fn store(&self, features: Features, channel: &mut Channel, plane: usize, at: (usize, usize)) {
        features.store(channel, plane, self, at);
    }
}

fn reduction(scale: Scale) -> Box<dyn Reduction> {
    match scale.samples_per_block() {
        1 => Box::new(Basis::<1>::new()),
        2 => Box::new(Basis::<2>::new()),
        3 => Box::new(Basis::<3>::new()),
        4 => Box::new(Basis::<4>::new()),
        5 => Box::new(Basis::<5>::new()),
        6 => Box::new(Basis::<6>::new()),
        7 => Box::new(Basis::<7>::new()),
        _ => Box::new(Basis::<8>::new()),
    }
}

impl<'j> Scan<'j> {
    fn new(stream: &Stream<'j>, scales: &[Scale]) -> Result<Self, Error> {
        let header = &stream.header;
        let most = header.sampling.luma_blocks();
        let mcus = (
            usize::from(header.width).div_ceil(8 * most.0),
            usize::from(header.height).div_ceil(8 * most.1),
        );
        let blocks = mcus.0 * mcus.1 * (most.0 * most.1 + stream.components.len() - 1);
        // A block takes a code for its DC coefficient and one for its end: two bits at least.
        if stream.data.len() * 4 < blocks {
            return Err(Error::Damaged("it ends early"));
        }
        let empty = scales
            .iter()
            .map(|&scale| planes::empty(header, mcus, scale));
        let channels = channels(stream, scales, empty.collect())?;
        let data = Stuffed { rest: stream.data };
        Ok(Self {
            data,
            mcus,
            restart_interval: stream.restart_interval,
            channels,
            reductions: scales.iter().copied().map(reduction).collect(),
        })
    }

    fn into_planes(self, scales: usize) -> Vec<Planes> {
        let planes = self.channels.into_iter().map(Channel::into_planes);
        let mut channels: Vec<_> = planes.map(Vec::into_iter).collect();
        let of_one_scale = |_| {
            let mut planes = channels.iter_mut().filter_map(Iterator::next);
            Planes {
                luma: planes.next().expect("a scan has a component"),
                chroma: planes.next().zip(planes.next()).map(<[_; 2]>::from),
            }
        };
        (0..scales).map(of_one_scale).collect()
    }

    fn run<const N: usize>(&mut self, features: Features) -> Result<(), Error> {
        let total = self.mcus.0 * self.mcus.1;
        let interval = match self.restart_interval {
            0 => total,
            interval => interval,
        };
        let mut plain = Vec::with_capacity(self.data.rest.len() + Bits::PADDING);
        let (mut first, mut restarts) = (0, 0);
        loop {
            let marker = self.data.next_segment(&mut plain)?;
            let behind = total.min(first + interval);
            self.interval::<N>(features, &plain, first..behind)?;
            if behind == total {
                return finish(marker, self.data.rest);
            }
            if marker != 0xD0 + restarts {
                return Err(Error::Damaged("a restart marker is missing"));
            }
            (first, restarts) = (behind, (restarts + 1) % 8);
        }
    }

    /// T.81 E.2.4: the MCUs of one entropy-coded segment, which must hold nothing else.
    fn interval<const N: usize>(
        &mut self,
        features: Features,
        plain: &[u8],
        mcus: Range<usize>,
    ) -> Result<(), Error> {
        let mut bits = Bits::new(plain);
        let end = (plain.len() - Bits::PADDING) * 8;
        self.channels.iter_mut().for_each(Channel::restart);
        let mut next = mcus.start;
        while next < mcus.end {
            let (row, column) = (next / self.mcus.0, next % self.mcus.0);
            let group_end = self.mcus.0.min(column / LANES * LANES + LANES);
            let behind = group_end.min(column + mcus.end - next);
            let slots = column % LANES..column % LANES + behind - column;
            features.fill::<N>(&mut self.channels, &mut bits, slots)?;
            if bits.position() > end {
                return Err(Error::Damaged("it ends early"));
            }
            if behind == group_end {
                self.store(features, (behind, row));
            }
            next += behind - column;
        }
        match end - bits.position() {
            0..8 => Ok(()),
            _ => Err(Error::Damaged("more data than blocks")),
        }
    }

    /// Writes the MCUs under way, up to the one before `behind` in their row, at every scale.
    fn store(&mut self, features: Features, at: (usize, usize)) {
        for channel in &mut self.channels {
            for (plane, reduction) in self.reductions.iter().enumerate() {
                reduction.store(features, channel, plane, at);
            }
            channel.clear();
        }
    }
}
