//! The marker segments in front of the entropy-coded data (T.81 Annex B).

use crate::Error;
use crate::huffman::Listing;
use crate::marker::*;

/// What the caller needs to know before it asks for pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub width: u16,
    pub height: u16,
    pub sampling: Sampling,
}

impl Header {
    pub fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}

/// How many samples of colour there are for those of light.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    Grey,
    /// 4:4:4.
    Full,
    /// 4:2:2, half the columns.
    HalfWidth,
    /// 4:4:0, half the rows.
    HalfHeight,
    /// 4:2:0, half of both.
    Half,
}

impl Sampling {
    /// Luma blocks in an MCU, across and down; each chroma component has one block.
    pub fn luma_blocks(self) -> (usize, usize) {
        match self {
            Self::Grey | Self::Full => (1, 1),
            Self::HalfWidth => (2, 1),
            Self::HalfHeight => (1, 2),
            Self::Half => (2, 2),
        }
    }
}

/// A whole JPEG of the supported kind: one scan, its tables found.
pub struct Stream<'j> {
    pub header: Header,
    /// Luma first.
    pub components: Vec<Component<'j>>,
    /// MCUs between restart markers; 0 is without any.
    pub restart_interval: usize,
    /// The entropy-coded data and everything behind it.
    pub data: &'j [u8],
}

#[derive(Clone, Copy)]
pub struct Component<'j> {
    /// In zigzag order.
    pub steps: [u16; 64],
    pub dc: Listing<'j>,
    pub ac: Listing<'j>,
}

impl<'j> Stream<'j> {
    pub fn read(jpeg: &'j [u8]) -> Result<Self, Error> {
        let mut segments = Segments { rest: jpeg };
        if segments.take::<2>()? != &[0xFF, SOI] {
            return Err(Error::Damaged("no JPEG"));
        }
        let mut tables = Tables::default();
        loop {
            let (marker, payload) = segments.next()?;
            match marker {
                SOF0 | SOF1 => tables.read_frame(payload)?,
                DHT => tables.read_huffman(payload)?,
                DQT => tables.read_quantisation(payload)?,
                DRI => tables.read_restart_interval(payload)?,
                APP0 => tables.jfif |= payload.len() >= 14 && payload.starts_with(b"JFIF\0"),
                APP14 => tables.read_adobe(payload),
                APP1..=APP15 | COM => {}
                SOS => return tables.start(payload, segments.rest),
                0xC0..=0xCF => return Err(Error::Unsupported("not baseline")),
                _ => return Err(Error::Unsupported("a rare marker before the picture")),
            }
        }
    }
}

/// What the segments have said so far.
#[derive(Default)]
struct Tables<'j> {
    frame: Option<Frame<'j>>,
    quantisation: [Option<[u16; 64]>; 4],
    dc: [Option<Listing<'j>>; 4],
    ac: [Option<Listing<'j>>; 4],
    restart_interval: usize,
    jfif: bool,
    /// The colour transform of an Adobe marker: 0 is none.
    adobe: Option<u8>,
}

struct Frame<'j> {
    header: Header,
    /// Id, sampling factors, quantisation table.
    components: &'j [[u8; 3]],
}

impl<'j> Tables<'j> {
    /// T.81 B.2.2.
    fn read_frame(&mut self, payload: &'j [u8]) -> Result<(), Error> {
        let mut payload = Segments { rest: payload };
        let &[precision, h1, h0, w1, w0, count] = payload.take()?;
        let (components, rest) = payload.rest.as_chunks::<3>();
        let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
        if self.frame.is_some()
            || width == 0
            || components.len() != usize::from(count)
            || !rest.is_empty()
        {
            return Err(Error::Damaged("the frame header"));
        }
        if precision != 8 {
            return Err(Error::Unsupported("not 8 bits a sample"));
        }
        if height == 0 {
            return Err(Error::Unsupported("its height comes later"));
        }
        let header = Header {
            width,
            height,
            sampling: sampling(components)?,
        };
        self.frame = Some(Frame { header, components });
        Ok(())
    }

    /// T.81 B.2.4.2.
    fn read_huffman(&mut self, payload: &'j [u8]) -> Result<(), Error> {
        let mut payload = Segments { rest: payload };
        while !payload.rest.is_empty() {
            let place = payload.byte()?;
            let counts = payload.take::<16>()?;
            let symbols = payload.slice(counts.iter().map(|&count| usize::from(count)).sum())?;
            let tables = if place & 0x10 == 0 {
                &mut self.dc
            } else {
                &mut self.ac
            };
            let slot = tables.get_mut(usize::from(place & !0x10));
            *slot.ok_or(Error::Damaged("a Huffman table's place"))? =
                Some(Listing { counts, symbols });
        }
        Ok(())
    }

    /// T.81 B.2.4.1.
    fn read_quantisation(&mut self, payload: &'j [u8]) -> Result<(), Error> {
        let mut payload = Segments { rest: payload };
        while !payload.rest.is_empty() {
            let place = payload.byte()?;
            let steps = match place >> 4 {
                0 => payload.take::<64>()?.map(u16::from),
                1 => wide(payload.take::<128>()?),
                _ => return Err(Error::Damaged("a quantisation table's precision")),
            };
            let slot = self.quantisation.get_mut(usize::from(place & 15));
            *slot.ok_or(Error::Damaged("a quantisation table's place"))? = Some(steps);
        }
        Ok(())
    }

    /// T.81 B.2.4.4.
    fn read_restart_interval(&mut self, payload: &[u8]) -> Result<(), Error> {
        let interval = payload
            .try_into()
            .map_err(|_| Error::Damaged("the restart interval"))?;
        self.restart_interval = usize::from(u16::from_be_bytes(interval));
        Ok(())
    }

    fn read_adobe(&mut self, payload: &[u8]) {
        if payload.starts_with(b"Adobe") {
            self.adobe = payload.get(11).copied().or(self.adobe);
        }
    }

    /// T.81 B.2.3.
    fn start(&self, payload: &[u8], data: &'j [u8]) -> Result<Stream<'j>, Error> {
        let frame = self
            .frame
            .as_ref()
            .ok_or(Error::Damaged("a scan before the frame"))?;
        if frame.components.len() == 3 && !self.is_ycbcr(frame.components) {
            return Err(Error::Unsupported("RGB, or unknown colours"));
        }
        let mut payload = Segments { rest: payload };
        let count = usize::from(payload.byte()?);
        let (chosen, band) = payload.rest.as_chunks::<2>();
        if chosen.len() != count + 1 || *band != [0] || chosen[count] != [0, 63] {
            return Err(Error::Damaged("the scan header"));
        }
        if count != frame.components.len() {
            return Err(Error::Unsupported("several scans"));
        }
        let components = frame.components.iter().zip(chosen);
        let components = components.map(|(component, choice)| self.component(component, choice));
        Ok(Stream {
            header: frame.header,
            components: components.collect::<Result<_, _>>()?,
            restart_interval: self.restart_interval,
            data,
        })
    }

    fn component(&self, frame: &[u8; 3], scan: &[u8; 2]) -> Result<Component<'j>, Error> {
        if frame[0] != scan[0] {
            return Err(Error::Unsupported("components in another order"));
        }
        let steps = self
            .quantisation
            .get(usize::from(frame[2]))
            .copied()
            .flatten();
        let dc = self.dc.get(usize::from(scan[1] >> 4)).copied().flatten();
        let ac = self.ac.get(usize::from(scan[1] & 15)).copied().flatten();
        Ok(Component {
            steps: steps.ok_or(Error::Damaged("a quantisation table is missing"))?,
            dc: dc.ok_or(ABBREVIATED)?,
            ac: ac.ok_or(ABBREVIATED)?,
        })
    }

    /// As libjpeg guesses: JFIF is YCbCr by definition, else Adobe's marker says, else the ids.
    fn is_ycbcr(&self, components: &[[u8; 3]]) -> bool {
        match self.adobe {
            _ if self.jfif => true,
            Some(transform) => transform == 1,
            None => !components.iter().map(|component| component[0]).eq(*b"RGB"),
        }
    }
}

/// Motion JPEG leaves out the usual tables.
const ABBREVIATED: Error = Error::Unsupported("without Huffman tables");

fn wide(bytes: &[u8; 128]) -> [u16; 64] {
    let (steps, _) = bytes.as_chunks::<2>();
    std::array::from_fn(|at| u16::from_be_bytes(steps[at]))
}

fn sampling(components: &[[u8; 3]]) -> Result<Sampling, Error> {
    match components
        .iter()
        .map(|component| component[1])
        .collect::<Vec<_>>()
        .as_slice()
    {
        // With one component there is nothing that its factors could be relative to.
        [0x11..=0x14 | 0x21..=0x24 | 0x31..=0x34 | 0x41..=0x44] => Ok(Sampling::Grey),
        [0x11, 0x11, 0x11] => Ok(Sampling::Full),
        [0x21, 0x11, 0x11] => Ok(Sampling::HalfWidth),
        [0x12, 0x11, 0x11] => Ok(Sampling::HalfHeight),
        [0x22, 0x11, 0x11] => Ok(Sampling::Half),
        _ => Err(Error::Unsupported("unusual components or sampling")),
    }
}
