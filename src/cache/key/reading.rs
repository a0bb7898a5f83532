//! A key read back, for people.

use super::Key;

/// What an operator recognises an object by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyParts {
    pub upstream: String,
    /// Empty where the route's rules leave it out.
    pub scheme: String,
    pub host: String,
    pub path: String,
    /// The parameters that count.
    pub query: Option<String>,
    /// What was made of the object: an image's plan.
    pub made: Option<String>,
}

impl Key {
    pub fn parts(&self) -> Option<KeyParts> {
        let mut rest = Reader(&self.0);
        let (upstream, scheme) = (rest.text()?, rest.text()?);
        let (host, path) = (rest.text()?, rest.text()?);
        let parameters: Vec<_> = (0..rest.length()?)
            .map(|_| rest.text())
            .collect::<Option<_>>()?;
        // Chosen fields and cookies, and what tells variants apart, begin with `+` or `-`, and what tells
        // routes apart with `@`.
        let mut made = None;
        while let Some(part) = rest.part() {
            if part == super::MADE {
                made = rest.text();
            }
        }
        Some(KeyParts {
            upstream,
            scheme,
            host,
            path,
            query: (!parameters.is_empty()).then(|| parameters.join("&")),
            made,
        })
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn text(&mut self) -> Option<String> {
        self.part()
            .map(|part| String::from_utf8_lossy(part).into_owned())
    }

    fn part(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        let (part, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(part)
    }

    /// As `Key::push_length` writes it.
    fn length(&mut self) -> Option<usize> {
        let (mut length, mut shift) = (0, 0);
        loop {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            length |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(length);
            }
            shift += 7;
        }
    }
}
