//! The content codings that Lakh knows, and which of them a request accepts. RFC 9110 §8.4.1, §12.5.3.

use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Brotli,
    Zstd,
    Gzip,
}

impl Coding {
    /// In the order of the variants: a table by coding is indexed by the variant's number.
    pub const ALL: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

    /// Its name in Content-Encoding and Accept-Encoding.
    pub fn token(self) -> &'static str {
        match self {
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
        }
    }

    /// By its name in any case; `x-gzip` is gzip (§8.4.1.3).
    pub fn named(token: &[u8]) -> Option<Coding> {
        let is = |name: &str| token.eq_ignore_ascii_case(name.as_bytes());
        if is("gzip") || is("x-gzip") {
            Some(Coding::Gzip)
        } else if is("br") {
            Some(Coding::Brotli)
        } else if is("zstd") {
            Some(Coding::Zstd)
        } else {
            None
        }
    }
}

/// How much a client wants each coding, in thousandths; 0 where it doesn't, or where it would
/// rather have the identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted([u16; Coding::ALL.len()]);

impl Accepted {
    /// What Accept-Encoding says. Without the field, nothing: any coding would be allowed then, but
    /// who does not ask for one often can't read it.
    pub fn of(request: &HeaderMap) -> Accepted {
        let mut said = Said::default();
        for line in request.get_all(ACCEPT_ENCODING) {
            for member in line.as_bytes().split(|b| *b == b',') {
                said.add(member.trim_ascii());
            }
        }
        said.weighed()
    }

    /// The one most wanted; of several, the first in `order`.
    pub fn best(self, order: [Coding; 3]) -> Option<Coding> {
        let mut best = None;
        let mut most = 0;
        for coding in order {
            let weight = self.0[coding as usize];
            if weight > most {
                (best, most) = (Some(coding), weight);
            }
        }
        best
    }

    /// The whole field in one of eight spellings, for an origin that is to choose: what it answers
    /// then fits all clients of this bucket.
    pub fn bucket(self) -> &'static str {
        match self.0.map(|weight| weight > 0) {
            [false, false, false] => "identity",
            [false, false, true] => "gzip",
            [false, true, false] => "zstd",
            [false, true, true] => "zstd, gzip",
            [true, false, false] => "br",
            [true, false, true] => "br, gzip",
            [true, true, false] => "br, zstd",
            [true, true, true] => "br, zstd, gzip",
        }
    }
}

/// Codings that are not ours, of RFC 9110 §8.4.1 and RFC 9842.
const OTHERS: [&[u8]; 5] = [b"deflate", b"compress", b"x-compress", b"dcb", b"dcz"];

/// Whether a request accepts an answer in `codings`, a Content-Encoding: each must be named, or
/// allowed by `*`, and not refused. Whether a client reads a coding of its origin's own, only the
/// two of them know: where the client says nothing of it, it is accepted.
pub fn accepts(request: &HeaderMap, codings: &HeaderValue) -> bool {
    let accepts = |coding: &[u8]| {
        let is = |other: &&[u8]| other.eq_ignore_ascii_case(coding);
        let mut any = Coding::named(coding).is_none() && !OTHERS.iter().any(is);
        for line in request.get_all(ACCEPT_ENCODING) {
            for member in line.as_bytes().split(|b| *b == b',') {
                let Some((token, weight)) = read(member.trim_ascii()) else {
                    continue;
                };
                match Coding::named(token) {
                    known @ Some(_) if known == Coding::named(coding) => return weight > 0,
                    None if token.eq_ignore_ascii_case(coding) => return weight > 0,
                    _ => any |= token == b"*" && weight > 0,
                }
            }
        }
        any
    };
    let mut codings = codings.as_bytes().split(|b| *b == b',');
    codings.all(|coding| {
        let coding = coding.trim_ascii();
        coding.is_empty() || coding.eq_ignore_ascii_case(b"identity") || accepts(coding)
    })
}

/// Weights as they were written; what is said twice counts as first said.
#[derive(Default)]
struct Said {
    codings: [Option<u16>; Coding::ALL.len()],
    identity: Option<u16>,
    any: Option<u16>,
}

impl Said {
    /// A member that is malformed is as if it were not there.
    fn add(&mut self, member: &[u8]) {
        let Some((token, weight)) = read(member) else {
            return;
        };
        let slot = match Coding::named(token) {
            Some(coding) => &mut self.codings[coding as usize],
            None if token == b"*" => &mut self.any,
            None if token.eq_ignore_ascii_case(b"identity") => &mut self.identity,
            None => return,
        };
        slot.get_or_insert(weight);
    }

    /// `*` is what is not named. The identity is what is left when nothing better is: only a weight
    /// of its own can put it before a coding.
    fn weighed(self) -> Accepted {
        let identity = self.identity.unwrap_or(0);
        let weigh = |said: Option<u16>| {
            let weight = said.or(self.any).unwrap_or(0);
            if weight < identity { 0 } else { weight }
        };
        Accepted(self.codings.map(weigh))
    }
}

/// A member of the list and its weight; None where that is malformed.
fn read(member: &[u8]) -> Option<(&[u8], u16)> {
    match memchr::memchr(b';', member) {
        None => Some((member, 1000)),
        Some(at) => Some((member[..at].trim_ascii_end(), weight(&member[at + 1..])?)),
    }
}

/// `q=0.5` as 500. RFC 9110 §12.4.2: no more than three digits, and not above 1.
fn weight(parameter: &[u8]) -> Option<u16> {
    let [b'q' | b'Q', b'=', digits @ ..] = parameter.trim_ascii() else {
        return None;
    };
    let (whole, fraction) = match digits {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let mut weight = 1000 * u16::from(whole - b'0');
    for (digit, worth) in fraction.iter().zip([100, 10, 1]) {
        if !digit.is_ascii_digit() {
            return None;
        }
        weight += worth * u16::from(digit - b'0');
    }
    (weight <= 1000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accepted(lines: &[&str]) -> Accepted {
        let mut request = HeaderMap::new();
        for line in lines {
            let value = HeaderValue::from_str(line).expect("a value");
            request.append(ACCEPT_ENCODING, value);
        }
        Accepted::of(&request)
    }

    #[test]
    fn the_best_is_what_weighs_most_then_what_is_preferred() {
        use Coding::{Brotli, Gzip, Zstd};
        for (line, best) in [
            ("gzip, deflate, br, zstd", Some(Brotli)),
            ("gzip", Some(Gzip)),
            ("X-GZIP;Q=1.000", Some(Gzip)),
            ("gzip;q=0.9, zstd ; q=0.95, br;q=0.1", Some(Zstd)),
            ("br;q=0, gzip", Some(Gzip)),
            ("*", Some(Brotli)),
            ("*, br;q=0", Some(Zstd)),
            ("*;q=0, gzip;q=0.001", Some(Gzip)),
            ("identity;q=0, gzip", Some(Gzip)),
            ("identity, gzip", Some(Gzip)),
            ("identity, gzip;q=0.9", None),
            ("identity;q=0.5, gzip;q=0.9", Some(Gzip)),
            ("identity;q=0", None),
            ("", None),
            ("deflate", None),
            ("gzip;q=0", None),
            ("gzip;q=0.000", None),
            ("gzip, gzip;q=0", Some(Gzip)),
            ("gzip;q=2, br;q=0.0001, zstd;x=1", None),
            ("gzip;q=-1, br;q=, zstd;q=1.001", None),
            (", ,gzip,", Some(Gzip)),
        ] {
            assert_eq!(accepted(&[line]).best(Coding::ALL), best, "{line}");
        }
        assert_eq!(accepted(&[]).best(Coding::ALL), None);
        assert_eq!(
            accepted(&["gzip", "br"]).best(Coding::ALL),
            Some(Coding::Brotli)
        );
    }

    #[test]
    fn what_an_origin_has_coded_must_be_accepted() {
        let ok = |accepted: &'static str, coded: &'static str| {
            let accepted = (ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            accepts(
                &HeaderMap::from_iter([accepted]),
                &HeaderValue::from_static(coded),
            )
        };
        for (accepted, coded, readable) in [
            ("gzip", "gzip", true),
            ("GZIP;q=0.1", "x-gzip", true),
            ("deflate", "Deflate", true),
            ("*", "deflate", true),
            ("gzip, br", "br, gzip", true),
            ("gzip", "identity", true),
            ("gzip", "br, gzip", false),
            ("gzip;q=0, *", "gzip", false),
            ("identity", "gzip", false),
            ("*;q=0", "deflate", false),
            ("gzip;q=2", "gzip", false),
            ("", "deflate", false),
            ("gzip", "unheard-of", true),
            ("unheard-of;q=0", "unheard-of", false),
        ] {
            assert_eq!(ok(accepted, coded), readable, "{accepted:?} {coded:?}");
        }
        assert!(!accepts(
            &HeaderMap::new(),
            &HeaderValue::from_static("gzip")
        ));
    }

    #[test]
    fn a_bucket_is_read_back_as_itself() {
        for line in [
            "identity",
            "gzip",
            "zstd",
            "zstd, gzip",
            "br",
            "br, gzip",
            "br, zstd",
            "br, zstd, gzip",
        ] {
            assert_eq!(accepted(&[line]).bucket(), line);
        }
    }

    proptest! {
        /// However it is written: order, case, white space and what is unknown change nothing.
        #[test]
        fn spelling_does_not_matter(
            weights in prop::array::uniform3(0u16..=1000),
            shuffled in Just(vec![0usize, 1, 2]).prop_shuffle(),
            upper: bool,
            noise in "[a-z]{0,5}-[a-z;=]{0,8}",
        ) {
            let member = |i: &usize| {
                let token = Coding::ALL[*i].token();
                let token = if upper { token.to_uppercase() } else { token.to_owned() };
                let weight = weights[*i];
                format!(" {token} ;\tq={}.{:03} ", weight / 1000, weight % 1000)
            };
            let members: Vec<_> = shuffled.iter().map(member).collect();
            let line = members.join(&format!(",{noise},"));
            prop_assert_eq!(accepted(&[&line]), Accepted(weights));
        }

        /// Nothing that was refused is chosen, whatever the field says.
        #[test]
        fn no_bytes_panic_and_nothing_is_made_up(bytes in prop::collection::vec(32u8..127, 0..60)) {
            let line = String::from_utf8(bytes).expect("ASCII");
            if let Some(best) = accepted(&[&line]).best(Coding::ALL) {
                let lower = line.to_ascii_lowercase();
                prop_assert!(lower.contains(best.token()) || lower.contains('*'));
            }
        }
    }
}
