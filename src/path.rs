//! A path as those behind the edge may read it, so that no spelling of one leads around what is said
//! of it. Routes are chosen and stored answers are named by it; what is sent on stays as it was written.
//!
//! To one server `%2F` is a slash and to another it is part of a name, some merge `//`, some take `\`
//! for `/`, and some leave out what follows a `;` (RFC 3986 §3.3). The *normal* path is that of a server
//! which does all of that. Where nothing climbs, it is a safe answer: another server finds what it is
//! asked for below the same beginning, or finds nothing. With a `..`, each such liberty changes what is
//! left out, so there all readers must come to the same.

use std::borrow::Cow;

/// Why nobody should be asked for a path. It has no meaning, or too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw(pub &'static str);

const MEANINGLESS: Flaw =
    Flaw("its path does not begin with a slash, leads above the root, or has a zero byte");
const AMBIGUOUS: Flaw =
    Flaw("its path has a `..` that not every server reads alike; write it without");

/// What `find` says of the path. An error where readers would come to something else.
pub fn agreed<'t, T>(
    path: &[u8],
    find: impl Fn(&str) -> Option<&'t T>,
) -> Result<Option<&'t T>, Flaw> {
    let normal = normal(path).ok_or(MEANINGLESS)?;
    let found = find(&normal);
    if matches!(normal, Cow::Owned(_)) && climbs(path) {
        let is_found = |reading: Option<String>| {
            reading.is_some_and(|path| match (find(&path), found) {
                (Some(one), Some(other)) => std::ptr::eq(one, other),
                (one, other) => one.is_none() && other.is_none(),
            })
        };
        if !Reading::all().all(|by| is_found(read(path, by))) {
            return Err(AMBIGUOUS);
        }
    }
    Ok(found)
}

/// Letters, digits and such as themselves, all else as `%XX`; no `.`, `..` or empty segment but the last,
/// and no parameters (`;`). RFC 3986 §6.2.2, and beyond. Nothing is copied where the path is written so.
/// None: it does not begin with `/`, leads above the root, or has a zero byte.
pub fn normal(path: &[u8]) -> Option<Cow<'_, str>> {
    match std::str::from_utf8(path) {
        Ok(path) if is_plain(path.as_bytes()) => Some(Cow::Borrowed(path)),
        _ => read(path, Reading::GENEROUS).map(Cow::Owned),
    }
}

/// Whether it is seen at a glance that the path is in its normal form. One step for each byte: every request
/// is asked this.
pub fn is_plain(path: &[u8]) -> bool {
    let (mut found, mut after_slash) = (0, 0);
    for byte in path {
        let kind = KINDS[usize::from(*byte)];
        found |= kind & (ODD | after_slash);
        after_slash = (kind & SLASH) >> 1;
    }
    found == 0 && path.first() == Some(&b'/')
}

/// Whether a reader may find a `..` in it.
pub fn climbs(path: &[u8]) -> bool {
    !is_plain(path)
        && unescaped(path, true).is_none_or(|text| text.split('/').any(|s| name(s) == ".."))
}

/// What a reader does.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// `%2F`, `\` and `%5C` are slashes.
    takes_for_slashes: bool,
    /// `//` is `/`.
    merges: bool,
    /// What follows `;` is not the name's.
    drops_parameters: bool,
    /// `.` and `..` are not names.
    follows_dots: bool,
}

impl Reading {
    const GENEROUS: Reading = Reading {
        takes_for_slashes: true,
        merges: true,
        drops_parameters: true,
        follows_dots: true,
    };

    fn all() -> impl Iterator<Item = Reading> {
        (0..16).map(|bits| Reading {
            takes_for_slashes: bits & 1 > 0,
            merges: bits & 2 > 0,
            drops_parameters: bits & 4 > 0,
            follows_dots: bits & 8 > 0,
        })
    }
}

fn read(path: &[u8], by: Reading) -> Option<String> {
    let text = unescaped(path, by.takes_for_slashes)?;
    let mut read: Vec<&str> = Vec::new();
    let mut segments = text.strip_prefix('/')?.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        let segment = match by.drops_parameters {
            true => name(segment),
            false => segment,
        };
        match segment {
            "." | ".." if by.follows_dots => {
                if segment == ".." {
                    read.pop()?;
                }
                if is_last {
                    read.push("");
                }
            }
            "" if by.merges && !is_last => {}
            segment => read.push(segment),
        }
    }
    Some(format!("/{}", read.join("/")))
}

/// A segment without its parameters.
fn name(segment: &str) -> &str {
    segment.split_once(';').map_or(segment, |(name, _)| name)
}

/// With each byte in its one spelling. None: it has a zero byte, at which some end.
fn unescaped(path: &[u8], takes_for_slashes: bool) -> Option<String> {
    let mut text = String::with_capacity(path.len() + 8);
    let mut rest = path;
    while let [first, after @ ..] = rest {
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        let (byte, after) = match escaped {
            Some((high, low)) => (high * 16 + low, &after[2..]),
            None => (*first, after),
        };
        rest = after;
        match byte {
            0 => return None,
            b'/' | b'\\' if takes_for_slashes => text.push('/'),
            b'/' | b';' if escaped.is_none() => text.push(char::from(byte)),
            byte if byte != b'/' && KINDS[usize::from(byte)] & ODD == 0 => {
                text.push(char::from(byte));
            }
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    Some(text)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|digit| digit as u8)
}

/// What a byte is. It has more than one spelling, or is more than a part of a name.
const ODD: u8 = 1;
/// It may not follow a slash.
const NOT_FIRST: u8 = 2;
const SLASH: u8 = 4;

const KINDS: [u8; 256] = {
    let mut kinds = [ODD; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        kinds[byte as usize] = match byte {
            b'/' => SLASH | NOT_FIRST,
            b'.' => NOT_FIRST,
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => ODD,
            // They are more than text in a URL, in a segment, or in a route's pattern.
            b'%' | b'?' | b'#' | b';' | b'*' => ODD,
            _ => 0,
        };
        byte += 1;
    }
    kinds
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal_of(path: &str) -> Option<String> {
        normal(path.as_bytes()).map(Cow::into_owned)
    }

    #[test]
    fn a_path_has_one_normal_form() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b.c/~d:e@f,(g)!$&'=+", "/a/b.c/~d:e@f,(g)!$&'=+"),
            ("/%61dmin/x", "/admin/x"),
            ("//admin///x", "/admin/x"),
            ("/./admin/./x/.", "/admin/x/"),
            ("/x/../admin/y/..", "/admin/"),
            ("/x/%2e%2E/admin/", "/admin/"),
            ("/admin%2fx", "/admin/x"),
            ("/admin\\x%5cy", "/admin/x/y"),
            ("/admin;a=1/x;b", "/admin/x"),
            ("/x/..;/admin", "/admin"),
            ("/a%3Bb", "/a%3Bb"),
            ("/...", "/..."),
            ("/.a/..b", "/.a/..b"),
            ("/a//", "/a/"),
            ("/a%20b%c3%a9\u{e9}", "/a%20b%C3%A9%C3%A9"),
            ("/%2561", "/%2561"),
            ("/100%", "/100%25"),
            ("/%zz*", "/%25zz%2A"),
        ] {
            assert_eq!(normal_of(path).as_deref(), Some(expected), "{path}");
        }
        for path in [
            "",
            "a",
            "*",
            "/..",
            "/a/../..",
            "/%2e%2e/a",
            "//..",
            "/a%00",
        ] {
            assert_eq!(normal_of(path), None, "{path}");
        }
        assert!(matches!(normal(b"/a/b.c"), Some(Cow::Borrowed(_))));
    }

    /// One place that is closed, one within it that is open, and all else.
    fn find(path: &str) -> Option<&'static &'static str> {
        const PLACES: [&str; 3] = ["closed", "open", "rest"];
        let is_in = |folder: &str| path.starts_with(folder);
        match (is_in("/shut/open/"), is_in("/shut/")) {
            (true, _) => Some(&PLACES[1]),
            (_, true) => Some(&PLACES[0]),
            _ => Some(&PLACES[2]),
        }
    }

    #[test]
    fn who_climbs_must_come_to_the_same_for_all() {
        let agreed = |path: &str| agreed(path.as_bytes(), find).map(|found| found.copied());
        assert_eq!(agreed("/x/../y"), Ok(Some("rest")));
        assert_eq!(agreed("/shut/x/../y"), Ok(Some("closed")));
        assert_eq!(agreed("/%73hut/y"), Ok(Some("closed")));
        for path in [
            "/x/../shut/y",
            "/shut/../y",
            "/shut/open/../y",
            "/x/..;/shut/y",
            "/shut//../y",
            "/a%2Fb/../../shut/y",
        ] {
            assert_eq!(agreed(path), Err(AMBIGUOUS), "{path}");
        }
        assert_eq!(agreed("/../shut/y"), Err(MEANINGLESS));
    }

    /// What paths are made of, when they are made to be read in different ways.
    fn spelling() -> impl Strategy<Value = String> {
        let part = prop::sample::select(vec![
            "/", "/", "/", "//", "shut", "s%68ut", "open", "o%70en", ".", "..", "%2e", "%2E.",
            "%2f", "%2F", "\\", "%5c", ";", ";x", "%3b", "%", "%25", "%2", "a", "*", "%20",
            "\u{e9}",
        ]);
        prop::collection::vec(part, 0..12).prop_map(|parts| format!("/{}", parts.concat()))
    }

    proptest! {
        #[test]
        fn what_is_normal_stays(path in spelling()) {
            if let Some(normal) = normal_of(&path) {
                prop_assert_eq!(normal_of(&normal), Some(normal.clone()));
                prop_assert!(!climbs(normal.as_bytes()));
            }
            if is_plain(path.as_bytes()) {
                prop_assert_eq!(read(path.as_bytes(), Reading::GENEROUS), Some(path));
            }
        }

        #[test]
        fn any_bytes_are_read(path in prop::collection::vec(any::<u8>(), 0..40)) {
            let path = [b"/", &path[..]].concat();
            if let Some(first) = normal(&path) {
                let again = normal(first.as_bytes()).expect("it is one");
                prop_assert_eq!(&again, &first);
            }
        }

        /// Whoever reads the path as being in the closed place, it was let through as one that is.
        #[test]
        fn no_spelling_leads_into_what_is_closed(path in spelling()) {
            let path = path.as_bytes();
            let is_closed = |path: &str| path.starts_with("/shut/");
            let place = |path: &str| Some(if is_closed(path) { &"closed" } else { &"rest" });
            if let Ok(found) = agreed(path, place) {
                for reader in Reading::all() {
                    let reached = read(path, reader).is_some_and(|path| is_closed(&path));
                    prop_assert!(!reached || found == Some(&"closed"), "{reader:?}");
                }
            }
        }

        /// As above, of one that is open within one that is closed: nobody gets out of it.
        #[test]
        fn who_climbs_comes_to_no_other_place(path in spelling()) {
            let path = path.as_bytes();
            if let Ok(found) = agreed(path, find) && climbs(path) {
                for reader in Reading::all() {
                    let reached = read(path, reader).and_then(|path| find(&path));
                    prop_assert_eq!(reached, found, "{:?}", reader);
                }
            }
        }
    }
}
