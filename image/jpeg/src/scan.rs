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

pub fn decode(stream: &Stream<'_>, scale: Scale, features: Features) -> Result<Planes, Error> {
    let mut scan = Scan::new(stream, scale)?;
    match scale.samples_per_block() {
        1 => scan.run::<1>(features),
        2 => scan.run::<2>(features),
        3 => scan.run::<3>(features),
        4 => scan.run::<4>(features),
        5 => scan.run::<5>(features),
        6 => scan.run::<6>(features),
        7 => scan.run::<7>(features),
        _ => scan.run::<8>(features),
    }?;
    Ok(scan.planes())
}

struct Scan<'j> {
    data: Stuffed<'j>,
    /// MCUs across and down.
    mcus: (usize, usize),
    restart_interval: usize,
    channels: Vec<Channel>,
}

impl<'j> Scan<'j> {
    fn new(stream: &Stream<'j>, scale: Scale) -> Result<Self, Error> {
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
        let planes = planes::empty(header, mcus, scale);
        let channels = channels(stream, scale, planes)?;
        let data = Stuffed { rest: stream.data };
        Ok(Self {
            data,
            mcus,
            restart_interval: stream.restart_interval,
            channels,
        })
    }

    fn planes(self) -> Planes {
        let mut planes = self.channels.into_iter().map(Channel::into_plane);
        let luma = planes.next().expect("a scan has a component");
        Planes {
            luma,
            chroma: planes
                .next()
                .zip(planes.next())
                .map(|(blue, red)| [blue, red]),
        }
    }

    fn run<const N: usize>(&mut self, features: Features) -> Result<(), Error> {
        let basis = Basis::<N>::new();
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
            self.interval(&basis, features, &plain, first..behind)?;
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
        basis: &Basis<N>,
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
                self.channels
                    .iter_mut()
                    .for_each(|channel| features.store(channel, basis, (behind, row)));
            }
            next += behind - column;
        }
        match end - bits.position() {
            0..8 => Ok(()),
            _ => Err(Error::Damaged("more data than blocks")),
        }
    }
}
