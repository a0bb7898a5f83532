//! What can go wrong with a JPEG.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// Perhaps a good JPEG, but of a kind that isn't decoded here.
    Unsupported(&'static str),
    /// Not a JPEG, cut short, or corrupt.
    Damaged(&'static str),
    /// More pixels than the caller allows.
    TooLarge,
}

impl fmt::Display for Error {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(what) => write!(to, "unsupported JPEG: {what}"),
            Self::Damaged(what) => write!(to, "damaged JPEG: {what}"),
            Self::TooLarge => to.write_str("the JPEG has too many pixels"),
        }
    }
}

impl std::error::Error for Error {}
