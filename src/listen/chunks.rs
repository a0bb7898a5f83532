//! Where a chunked body ends. RFC 9112 §7.1.
//!
//! Pingora decodes the chunks. This finds their end, so that what follows stays for the next
//! request, and refuses what two readers could read differently.

use super::Malformed;

/// What a size line may be long, its extensions included.
const MAX_LINE: usize = 1024;
/// What all trailer fields may be long.
const MAX_TRAILERS: usize = 8 << 10;

/// A position in a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    at: At,
    /// Bytes of the present size line, or of the trailers.
    seen: usize,
}

/// What comes next. Sizes are of the chunk that the line begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size {
        size: u64,
        empty: bool,
    },
    Extension {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// A trailer field, or the empty line after all of them.
    TrailerStart,
    TrailerName,
    Trailer,
    TrailerLf,
    LastLf,
    End,
}

impl Default for Chunks {
    /// Before the first.
    fn default() -> Chunks {
        Chunks {
            at: At::Size {
                size: 0,
                empty: true,
            },
            seen: 0,
        }
    }
}

impl Chunks {
    pub fn ended(&self) -> bool {
        self.at == At::End
    }

    /// How many of `bytes`, which follow those taken before, are the body's. Fewer than all of
    /// them only at its end.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut taken = 0;
        while taken < bytes.len() && !self.ended() {
            if let At::Data { left } = self.at {
                let n = left.min((bytes.len() - taken) as u64);
                self.at = match left - n {
                    0 => At::DataCr,
                    left => At::Data { left },
                };
                taken += n as usize;
            } else {
                self.at = self.step(bytes[taken])?;
                taken += 1;
            }
        }
        Ok(taken)
    }

    fn step(&mut self, byte: u8) -> Result<At, Malformed> {
        self.seen += 1;
        let in_trailers = matches!(
            self.at,
            At::TrailerStart | At::TrailerName | At::Trailer | At::TrailerLf
        );
        if self.seen > if in_trailers { MAX_TRAILERS } else { MAX_LINE } {
            return Err(Malformed("a chunk's extensions or trailers are too long"));
        }
        Ok(match (self.at, byte) {
            (At::Size { size, .. }, digit) if digit.is_ascii_hexdigit() => At::Size {
                size: next_digit(size, digit)?,
                empty: false,
            },
            (At::Size { size, empty: false }, b';' | b' ' | b'\t') => At::Extension { size },
            (At::Size { size, empty: false } | At::Extension { size }, b'\r') => {
                At::SizeLf { size }
            }
            (At::Extension { size }, byte) if is_text(byte) => At::Extension { size },
            (At::SizeLf { size }, b'\n') => {
                self.seen = 0;
                match size {
                    0 => At::TrailerStart,
                    left => At::Data { left },
                }
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => {
                self.seen = 0;
                At::Size {
                    size: 0,
                    empty: true,
                }
            }
            (At::TrailerStart, b'\r') => At::LastLf,
            (At::Trailer, b'\r') => At::TrailerLf,
            (At::TrailerStart | At::TrailerName, byte) if is_token(byte) => At::TrailerName,
            (At::TrailerName, b':') => At::Trailer,
            (At::Trailer, byte) if is_text(byte) => At::Trailer,
            (At::TrailerLf, b'\n') => At::TrailerStart,
            (At::LastLf, b'\n') => At::End,
            _ => return Err(Malformed("its chunks are not framed properly")),
        })
    }
}

fn next_digit(size: u64, digit: u8) -> Result<u64, Malformed> {
    let digit = char::from(digit).to_digit(16).expect("a hexadecimal digit");
    size.checked_mul(16)
        .map(|size| size + u64::from(digit))
        .ok_or(Malformed("a chunk's size is too large"))
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn end_of(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let mut chunks = Chunks::default();
        let taken = chunks.take(bytes)?;
        Ok(chunks.ended().then_some(taken))
    }

    #[test]
    fn a_body_ends_after_its_trailers() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "00A\r\n0123456789\r\n0\r\n\r\n",
            "5;name=\"value\"\r\nhello\r\n0 ; x\r\n\r\n",
            "1\r\n\n\r\n0\r\nA: b\r\nC: d\r\n\r\n",
        ] {
            let followed = format!("{body}GET / HTTP/1.1\r\n");
            assert_eq!(
                end_of(followed.as_bytes()),
                Ok(Some(body.len())),
                "{body:?}"
            );
        }
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for body in [
            "\r\nhello\r\n0\r\n\r\n",
            ";x\r\n0\r\n\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "-5\r\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhello0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5;a\nhello\r\n0\r\n\r\n",
            "0\r\nA: b\n\r\n",
            "FFFFFFFFFFFFFFFFF\r\n",
        ] {
            assert!(end_of(body.as_bytes()).is_err(), "{body:?}");
        }
    }

    #[test]
    fn lines_that_never_end_are_refused() {
        let extension = format!("5;{}", "x".repeat(MAX_LINE));
        assert!(end_of(extension.as_bytes()).is_err());
        let trailers = format!("0\r\n{}", "a: b\r\n".repeat(MAX_TRAILERS / 6 + 1));
        assert!(end_of(trailers.as_bytes()).is_err());
    }

    proptest! {
        /// Wherever the network cuts it, a body ends at the same place.
        #[test]
        fn cuts_change_nothing(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            after in prop::collection::vec(any::<u8>(), 0..20),
            step in 1usize..30,
        ) {
            let mut body = Vec::new();
            for part in &parts {
                body.extend(format!("{:x}\r\n", part.len()).into_bytes());
                body.extend(part);
                body.extend(b"\r\n");
            }
            body.extend(b"0\r\n\r\n");
            let whole = body.len();
            body.extend(&after);

            let (mut chunks, mut taken) = (Chunks::default(), 0);
            for piece in body.chunks(step) {
                taken += chunks.take(piece).expect("well-formed");
            }
            prop_assert!(chunks.ended());
            prop_assert_eq!(taken, whole);
        }
    }
}
