//! A request's pseudo-fields, as they came: RFC 9114 §4.3, in the field lines of RFC 9204 §4.5.
//!
//! `h3` keeps the last of several, wherever they stand, and takes one of an answer's too. Who reads the first would
//! see another request.

use crate::listen::Malformed;

/// Names of a request's, as they are written and in Huffman's code (RFC 7541 §5.2), which has one way for each.
const NAMES: [(&[u8], &[u8]); 5] = [
    (b":authority", b"\xb8\x3b\x53\x39\xec\x32\x7d\x7f"),
    (b":path", b"\xb9\x58\xd3\x3f"),
    (b":method", b"\xb9\x49\x53\x39\xe4"),
    (b":scheme", b"\xb8\x82\x4e\x5a\x4b"),
    (b":protocol", b"\xb9\x5d\x87\x49\xc8\x7a\x3f"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    /// By its place in `NAMES`.
    Pseudo(usize),
    /// A pseudo-field that no request has.
    Foreign,
    Field,
}

/// Whether each comes once at most and before all other fields, and is one of a request's. Values are not looked at.
pub fn check(section: &[u8]) -> Result<(), Malformed> {
    const UNREADABLE: Malformed = Malformed("fields that can't be read");
    let mut rest = section;
    // The prefix: what it says is of the dynamic table, and we offer none.
    for bits in [8, 7] {
        integer(&mut rest, bits).ok_or(UNREADABLE)?;
    }
    let (mut seen, mut fields) = ([false; NAMES.len()], false);
    while !rest.is_empty() {
        match line(&mut rest).ok_or(UNREADABLE)? {
            Name::Field => fields = true,
            Name::Foreign => return Err(Malformed("a pseudo-field that no request has")),
            Name::Pseudo(_) if fields => return Err(Malformed("a pseudo-field after a field")),
            Name::Pseudo(which) => {
                if std::mem::replace(&mut seen[which], true) {
                    return Err(Malformed("a pseudo-field twice"));
                }
            }
        }
    }
    Ok(())
}

/// The next line's name.
fn line(rest: &mut &[u8]) -> Option<Name> {
    let first = *rest.first()?;
    let is_static = |bit: u8| (first & bit != 0).then_some(());
    if first & 0x80 != 0 {
        is_static(0x40)?;
        return Some(in_table(integer(rest, 6)?));
    }
    let name = if first & 0x40 != 0 {
        is_static(0x10)?;
        in_table(integer(rest, 4)?)
    } else if first & 0x20 != 0 {
        literal(string(rest, 3)?, first & 0x08 != 0)
    } else {
        return None;
    };
    string(rest, 7)?;
    Some(name)
}

/// RFC 9204, Appendix A.
fn in_table(index: u64) -> Name {
    match index {
        0 => Name::Pseudo(0),
        1 => Name::Pseudo(1),
        15..=21 => Name::Pseudo(2),
        22..=23 => Name::Pseudo(3),
        24..=28 | 63..=71 => Name::Foreign,
        _ => Name::Field,
    }
}

fn literal(name: &[u8], is_coded: bool) -> Name {
    let same = |(plain, coded): &(&[u8], &[u8])| name == if is_coded { *coded } else { *plain };
    let begins_with_a_colon = match is_coded {
        // Its code is of seven bits.
        true => name.first().is_some_and(|byte| byte >> 1 == 0x5c),
        false => name.first() == Some(&b':'),
    };
    match NAMES.iter().position(same) {
        Some(which) => Name::Pseudo(which),
        None if begins_with_a_colon => Name::Foreign,
        None => Name::Field,
    }
}

/// A string after so many bits of its length. RFC 9204 §4.1.2.
fn string<'a>(rest: &mut &'a [u8], bits: u32) -> Option<&'a [u8]> {
    let length = usize::try_from(integer(rest, bits)?).ok()?;
    rest.split_off(..length)
}

/// The last bits of a byte, and what follows if they are all set. RFC 7541 §5.1, up to 63 bits.
fn integer(rest: &mut &[u8], bits: u32) -> Option<u64> {
    let most = u8::MAX >> (8 - bits);
    let begun = rest.split_off_first()? & most;
    let mut value = u64::from(begun);
    if begun < most {
        return Some(value);
    }
    for shift in (0..63).step_by(7) {
        let byte = *rest.split_off_first()?;
        value += u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As a client may write it, and what it is.
    fn lines() -> impl Strategy<Value = (Vec<u8>, Name)> {
        let value = prop_oneof![Just(&b"\x01x"[..]), Just(&b"\x7f\x00"[..])].prop_map(|value| {
            let mut value = value.to_vec();
            if value[0] == 0x7f {
                value.extend([b'v'; 0x7f]);
            }
            value
        });
        let names = prop_oneof![
            (0..NAMES.len(), any::<bool>()).prop_map(|(which, coded)| {
                let (plain, huffman) = NAMES[which];
                let (name, flag) = if coded { (huffman, 0x08) } else { (plain, 0) };
                let mut line = match name.len() {
                    length @ ..7 => vec![0x20 | flag | length as u8],
                    length => vec![0x27 | flag, length as u8 - 7],
                };
                line.extend(name);
                (line, true, Name::Pseudo(which))
            }),
            Just((vec![0x50], true, Name::Pseudo(0))),
            Just((vec![0x51], true, Name::Pseudo(1))),
            Just((vec![0xc1], false, Name::Pseudo(1))),
            (15..22u8).prop_map(|index| (vec![0xc0 | index], false, Name::Pseudo(2))),
            Just((vec![0x5f, 0], true, Name::Pseudo(2))),
            (22..24u8).prop_map(|index| (vec![0xc0 | index], false, Name::Pseudo(3))),
            (24..29u8).prop_map(|index| (vec![0xc0 | index], false, Name::Foreign)),
            (63..72u8).prop_map(|index| (vec![0xff, index - 63], false, Name::Foreign)),
            Just((b"\x27\x00:status".to_vec(), true, Name::Foreign)),
            Just((b"\x2d\xb8\x84\x8d\x36\xa3".to_vec(), true, Name::Foreign)),
            Just((b"\x22x:".to_vec(), true, Name::Field)),
            Just((vec![0xc2], false, Name::Field)),
            Just((vec![0xff, 0x80, 0], false, Name::Foreign)),
            Just((vec![0xff, 27], false, Name::Field)),
        ];
        (names, value).prop_map(|((mut line, has_value, name), value)| {
            if has_value {
                line.extend(value);
            }
            (line, name)
        })
    }

    proptest! {
        #[test]
        fn each_line_is_read_to_its_end_for_what_it_is((written, name) in lines(), after: Vec<u8>) {
            let all = [&written[..], &after].concat();
            let mut rest = &all[..];
            prop_assert_eq!(line(&mut rest), Some(name));
            prop_assert_eq!(rest, &after[..]);
        }

        #[test]
        fn a_request_has_each_once_and_first(lines in prop::collection::vec(lines(), 0..8)) {
            let mut section = vec![0, 0];
            lines.iter().for_each(|(line, _)| section.extend(line));
            let names: Vec<_> = lines.iter().map(|(_, name)| *name).collect();
            let first = names.iter().take_while(|name| **name != Name::Field).count();
            let (pseudo, fields) = names.split_at(first);
            let is_one = fields.iter().all(|name| *name == Name::Field)
                && (0..pseudo.len()).all(|n| {
                    pseudo[n] != Name::Foreign && !pseudo[..n].contains(&pseudo[n])
                });
            prop_assert_eq!(check(&section).is_ok(), is_one, "{:?}", names);
        }
    }

    #[test]
    fn what_is_no_field_line_is_none() {
        let section = |line: &[u8]| [b"\0\0", line].concat();
        for line in [
            // Of the dynamic table, by index and by name, from its base on too.
            &b"\x80"[..],
            b"\x40\x01x",
            b"\x10",
            b"\x00\x01x",
            // Cut off, and longer than a number may be.
            b"\x51",
            b"\x51\x02x",
            b"\x27",
            b"\x21",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00",
            b"\x51\x7f\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        ] {
            assert!(check(&section(line)).is_err(), "{line:02x?}");
        }
        assert!(check(b"").is_err() && check(b"\0").is_err());
        assert!(check(b"\0\0").is_ok());
    }
}
