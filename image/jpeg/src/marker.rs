//! Markers, and the segments behind them (T.81 B.1.1).

use crate::Error;

pub const SOF0: u8 = 0xC0;
pub const SOF1: u8 = 0xC1;
pub const DHT: u8 = 0xC4;
pub const SOI: u8 = 0xD8;
pub const EOI: u8 = 0xD9;
pub const SOS: u8 = 0xDA;
pub const DQT: u8 = 0xDB;
pub const DRI: u8 = 0xDD;
pub const APP0: u8 = 0xE0;
pub const APP1: u8 = 0xE1;
pub const APP14: u8 = 0xEE;
pub const APP15: u8 = 0xEF;
pub const COM: u8 = 0xFE;

/// Bytes still to be read, from the front.
pub struct Segments<'j> {
    pub rest: &'j [u8],
}

impl<'j> Segments<'j> {
    /// The next marker and the bytes of its segment (T.81 B.1.1.4).
    pub fn next(&mut self) -> Result<(u8, &'j [u8]), Error> {
        let marker = self.marker()?;
        match marker {
            0x01 | 0xD0..=0xD9 => Err(Error::Damaged("a marker out of place")),
            _ => Ok((marker, self.payload()?)),
        }
    }

    /// T.81 B.1.1.2: any number of 0xFF may come before a marker's own.
    pub fn marker(&mut self) -> Result<u8, Error> {
        if self.take::<1>()? != &[0xFF] {
            return Err(Error::Damaged("bytes between segments"));
        }
        loop {
            match self.take::<1>()? {
                [0xFF] => {}
                [0] => return Err(Error::Damaged("bytes between segments")),
                &[marker] => return Ok(marker),
            }
        }
    }

    pub fn payload(&mut self) -> Result<&'j [u8], Error> {
        let length = usize::from(u16::from_be_bytes(*self.take::<2>()?));
        let length = length
            .checked_sub(2)
            .ok_or(Error::Damaged("a segment's length"))?;
        self.slice(length)
    }

    pub fn byte(&mut self) -> Result<u8, Error> {
        self.take::<1>().map(|&[byte]| byte)
    }

    pub fn take<const N: usize>(&mut self) -> Result<&'j [u8; N], Error> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn slice(&mut self, length: usize) -> Result<&'j [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(SHORT)?;
        self.rest = rest;
        Ok(taken)
    }
}

const SHORT: Error = Error::Damaged("it ends early");

/// Whether the rest of a JPEG, from the marker behind its scan, holds nothing more of the picture.
pub fn finish(marker: u8, rest: &[u8]) -> Result<(), Error> {
    let mut segments = Segments { rest };
    let mut marker = marker;
    while marker != EOI {
        match marker {
            APP0..=APP15 | COM | DHT | DQT | DRI => segments.payload()?,
            _ => return Err(Error::Damaged("more than one scan, or no end")),
        };
        marker = segments.marker()?;
    }
    Ok(())
}
