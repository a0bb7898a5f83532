//! How services tell each other what they are part of: W3C Trace Context.

use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(NonZeroU128);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(NonZeroU64);

/// The `traceparent` field, <https://www.w3.org/TR/trace-context/#traceparent-header>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traceparent {
    pub trace: TraceId,
    pub span: SpanId,
    pub sampled: bool,
}

const LENGTH: usize = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".len();

impl Traceparent {
    /// None where there is none, or more than one, or what is not one.
    pub fn of(fields: &HeaderMap) -> Option<Traceparent> {
        let mut lines = fields.get_all(TRACEPARENT).iter();
        let (line, None) = (lines.next()?, lines.next()) else {
            return None;
        };
        Traceparent::read(line.as_bytes())
    }

    /// Later versions may have more behind what is known.
    pub fn read(text: &[u8]) -> Option<Traceparent> {
        let (known, more) = text.split_at_checked(LENGTH)?;
        let version = hex(&known[..2])?;
        let is_whole = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more[0] == b'-',
        };
        let has_dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        if !is_whole || !has_dashes {
            return None;
        }
        Some(Traceparent {
            trace: TraceId(NonZeroU128::new(hex(&known[3..35])?)?),
            span: SpanId(NonZeroU64::new(hex(&known[36..52])? as u64)?),
            sampled: hex(&known[53..])? & 1 == 1,
        })
    }

    pub fn to_value(self) -> HeaderValue {
        let (trace, span, flags) = (self.trace, self.span, u8::from(self.sampled));
        let value = HeaderValue::try_from(format!("00-{trace}-{span}-{flags:02x}"));
        value.expect("digits and dashes")
    }
}

/// Lower case only, as the recommendation has it.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |sum: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(sum << 4 | u128::from(value))
    })
}

impl TraceId {
    pub fn new() -> TraceId {
        TraceId(NonZeroU128::new(fastrand::u128(1..)).expect("from 1 on"))
    }

    pub fn to_bits(self) -> u128 {
        self.0.get()
    }
}

impl SpanId {
    pub fn new() -> SpanId {
        SpanId(NonZeroU64::new(fastrand::u64(1..)).expect("from 1 on"))
    }
}

impl Default for TraceId {
    fn default() -> TraceId {
        TraceId::new()
    }
}

impl Default for SpanId {
    fn default() -> SpanId {
        SpanId::new()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_not_one_is_none() {
        let read = |text: &str| Traceparent::read(text.as_bytes());
        assert!(read(GOOD).is_some_and(|parent| parent.sampled));
        for bad in [
            "",
            &GOOD[1..],
            &GOOD.to_uppercase(),
            &format!("{GOOD}-more"),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replace('-', "_"),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        let later = GOOD.replacen("00", "01", 1);
        assert!(read(&format!("{later}-more")).is_some() && read(&format!("{later}x")).is_none());
        let mut twice = HeaderMap::new();
        for _ in 0..2 {
            twice.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        }
        assert_eq!(Traceparent::of(&twice), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(sampled: bool) {
            let parent = Traceparent { trace: TraceId::new(), span: SpanId::new(), sampled };
            prop_assert_eq!(Traceparent::read(parent.to_value().as_bytes()), Some(parent));
        }

        #[test]
        fn no_bytes_are_a_panic(bytes: Vec<u8>) {
            Traceparent::read(&bytes);
        }
    }
}
