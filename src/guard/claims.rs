//! What is proven about who asks.

use http::{HeaderName, HeaderValue};
use std::fmt::Write;

/// What the origin is told claims in. Nobody else's fields of such names ever reach it.
const PREFIX: &str = "x-claim-";
/// The same of clients' certificates, which `listen` reads.
const CERTIFICATE: &str = "x-client-cert-";

/// What proxies tell servers in, and what frames a message: names, and beginnings that end with `-`.
const GONE_BY: [&str; 5] = [
    "x-forwarded-",
    "x-real-ip",
    "x-request-id",
    "content-length",
    "transfer-encoding",
];

/// Bytes of a claim's field, and of all together; what is longer is not passed on.
const FIELD: usize = 1024;
const FIELDS: usize = 8 << 10;

/// The claims of a verified token, or of an API key: names and values as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// By name, each once.
    sorted: Box<[Claim]>,
    /// As the origin is told.
    fields: Box<[(HeaderName, HeaderValue)]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim {
    name: Box<str>,
    /// Of a list: its members, joined by commas.
    text: Box<str>,
    /// None: it is one value.
    members: Option<Box<[Box<str>]>>,
}

/// A claim's value, as its issuer wrote it.
pub enum Value {
    One(String),
    List(Vec<String>),
}

impl Claims {
    /// Of two with one name the first holds. All are passed on.
    pub fn new<N: Into<Box<str>>, V: Into<Box<str>>>(
        claims: impl IntoIterator<Item = (N, V)>,
    ) -> Claims {
        let one = |text: V| Value::One(Into::<Box<str>>::into(text).into());
        let claims = claims.into_iter().map(|(name, text)| (name, one(text)));
        Claims::with_values(claims, None)
    }

    /// `passed`: those that the origin is told; None for all.
    pub fn with_values<N: Into<Box<str>>>(
        claims: impl IntoIterator<Item = (N, Value)>,
        passed: Option<&[String]>,
    ) -> Claims {
        let mut sorted: Vec<Claim> = claims
            .into_iter()
            .map(|(name, value)| Claim::new(name.into(), value))
            .collect();
        sorted.sort_by(|a, b| a.name.cmp(&b.name));
        sorted.dedup_by(|later, first| later.name == first.name);
        let is_passed = |claim: &&Claim| {
            passed.is_none_or(|names| names.iter().any(|name| **name == *claim.name))
        };
        let told: Vec<&Claim> = sorted.iter().filter(is_passed).collect();
        Claims {
            fields: fields(&told),
            sorted: sorted.into(),
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.find(name).map(|claim| &*claim.text)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sorted.iter().map(|claim| (&*claim.name, &*claim.text))
    }

    /// Whether a claim is `wanted`, or has it among its members: those of a list, or the words of a
    /// scope (RFC 8693 §4.2).
    pub fn holds(&self, name: &str, wanted: &str) -> bool {
        let Some(claim) = self.find(name) else {
            return false;
        };
        match &claim.members {
            Some(members) => members.iter().any(|member| **member == *wanted),
            None if matches!(name, "scope" | "scp") => {
                claim.text.split(' ').any(|word| word == wanted)
            }
            None => *claim.text == *wanted,
        }
    }

    /// `x-claim-NAME` for each that is passed on.
    pub fn fields(&self) -> &[(HeaderName, HeaderValue)] {
        &self.fields
    }

    /// Bytes, about.
    pub fn size(&self) -> usize {
        let claim = |claim: &Claim| {
            let members = claim.members.iter().flatten();
            64 + claim.name.len() + claim.text.len() + members.map(|m| 16 + m.len()).sum::<usize>()
        };
        let field =
            |(name, value): &(HeaderName, HeaderValue)| 96 + name.as_str().len() + value.len();
        self.sorted.iter().map(claim).sum::<usize>() + self.fields.iter().map(field).sum::<usize>()
    }

    fn find(&self, name: &str) -> Option<&Claim> {
        let at = self.sorted.binary_search_by(|own| (*own.name).cmp(name));
        at.ok().map(|at| &self.sorted[at])
    }
}

impl Claim {
    fn new(name: Box<str>, value: Value) -> Claim {
        match value {
            Value::One(text) => Claim {
                name,
                text: text.into(),
                members: None,
            },
            Value::List(members) => Claim {
                name,
                text: members.join(",").into(),
                members: Some(members.into_iter().map(String::into).collect()),
            },
        }
    }

    /// Printable ASCII; all else, `%`, and a comma within a member, as `%XX`.
    fn field_value(&self) -> String {
        let mut value = String::new();
        match &self.members {
            None => encode(&mut value, &self.text, false),
            Some(members) => {
                for (place, member) in members.iter().enumerate() {
                    value.push_str(if place == 0 { "" } else { "," });
                    encode(&mut value, member, true);
                }
            }
        }
        value
    }
}

/// Whether a field's name says that it is a claim, or of a client's certificate, to anybody: what is
/// neither a letter nor a digit counts as `-`, because CGI and those who learned from it make `_` of
/// all of them.
pub fn is_proof_field(name: &HeaderName) -> bool {
    begins_like(name, PREFIX) || begins_like(name, CERTIFICATE)
}

/// Whether a field is none that proxies or framing go by, but is called like one by those who make `_` of
/// `-`: to them `X_Forwarded_For` is another line of X-Forwarded-For.
pub fn is_disguised(name: &HeaderName) -> bool {
    let is_like = |own: &&str| {
        begins_like(name, own) && (own.ends_with('-') || name.as_str().len() == own.len())
    };
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    GONE_BY.iter().any(is_like) && !name.as_str().bytes().all(is_plain)
}

fn begins_like(name: &HeaderName, with: &str) -> bool {
    let name = name.as_str().as_bytes();
    let like = |(own, b): (u8, &u8)| match own {
        b'-' => !b.is_ascii_alphanumeric(),
        own => own == *b,
    };
    name.len() >= with.len() && with.bytes().zip(name).all(like)
}

/// Where two claims would make one field (`Role` and `role`), the one that is spelled like the field
/// does, and else none: nobody could tell which was meant.
fn fields(claims: &[&Claim]) -> Box<[(HeaderName, HeaderValue)]> {
    let (mut fields, mut left) = (Vec::new(), FIELDS);
    for claim in claims {
        let suffix = suffix(&claim.name);
        let has_rival = || {
            let mut others = claims.iter().filter(|other| other.name != claim.name);
            others.any(|other| self::suffix(&other.name) == suffix)
        };
        if suffix.is_empty() || (*claim.name != *suffix && has_rival()) {
            continue;
        }
        let value = claim.field_value();
        let size = PREFIX.len() + suffix.len() + value.len();
        if size > FIELD.min(left) {
            continue;
        }
        let name = HeaderName::from_bytes(format!("{PREFIX}{suffix}").as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
            left -= size;
            fields.push((name, value));
        }
    }
    fields.into()
}

/// Lower case, and `-` for all that is neither a letter nor a digit of ASCII.
fn suffix(name: &str) -> String {
    let safe = |c: char| match c.is_ascii_alphanumeric() {
        true => c.to_ascii_lowercase(),
        false => '-',
    };
    name.chars().map(safe).collect()
}

fn encode(out: &mut String, text: &str, in_list: bool) {
    let (bytes, last) = (text.as_bytes(), text.len().saturating_sub(1));
    for (at, byte) in bytes.iter().enumerate() {
        let plain = match byte {
            b'%' => false,
            b',' => !in_list,
            // At an end it would be taken for the field's own.
            b' ' => at != 0 && at != last,
            byte => byte.is_ascii_graphic(),
        };
        match plain {
            true => out.push(char::from(*byte)),
            // Writing to a String can't fail.
            false => drop(write!(out, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(claims: &Claims) -> Vec<(&str, &str)> {
        claims
            .fields()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().expect("printable")))
            .collect()
    }

    #[test]
    fn a_claim_is_found_by_its_name_and_the_first_of_two_holds() {
        let claims = Claims::new([("sub", "ann"), ("class", "truck"), ("sub", "bob")]);
        assert_eq!(claims.get("sub"), Some("ann"));
        assert_eq!(claims.get("class"), Some("truck"));
        assert_eq!(claims.get("role"), None);
        let all: Vec<_> = claims.iter().collect();
        assert_eq!(all, [("class", "truck"), ("sub", "ann")]);
    }

    #[test]
    fn a_value_that_only_looks_like_a_list_is_none() {
        let list = |members: &[&str]| Value::List(members.iter().map(|m| m.to_string()).collect());
        let claims = Claims::with_values(
            [
                ("groups", list(&["staff", "a,admin"])),
                ("name", Value::One("x,admin".into())),
                ("scope", Value::One("read write".into())),
            ],
            None,
        );
        assert!(claims.holds("groups", "staff"));
        assert!(!claims.holds("groups", "admin"));
        assert!(!claims.holds("name", "admin"));
        assert!(claims.holds("name", "x,admin"));
        assert!(claims.holds("scope", "write"));
        assert!(!claims.holds("scope", "read write"));
        assert!(!claims.holds("absent", ""));
        assert_eq!(
            told(&claims),
            [
                ("x-claim-groups", "staff,a%2Cadmin"),
                ("x-claim-name", "x,admin"),
                ("x-claim-scope", "read write"),
            ]
        );
    }

    #[test]
    fn names_are_made_safe_and_never_stand_for_two() {
        let claims = Claims::new([
            ("Role", "admin"),
            ("role", "user"),
            ("https://x.example/a b", "1"),
            ("a_b", "1"),
            ("a.b", "2"),
            ("", "nobody"),
        ]);
        assert_eq!(
            told(&claims),
            [
                ("x-claim-https---x-example-a-b", "1"),
                ("x-claim-role", "user")
            ]
        );
        let some = ["sub".to_owned()];
        let values = [("sub", "ann"), ("role", "x")].map(|(n, v)| (n, Value::One(v.into())));
        let claims = Claims::with_values(values, Some(&some));
        assert_eq!(told(&claims), [("x-claim-sub", "ann")]);
        assert_eq!(claims.get("role"), Some("x"));
    }

    #[test]
    fn what_is_too_long_is_not_passed_on() {
        let long = "x".repeat(FIELD);
        assert_eq!(told(&Claims::new([("a", long.as_str())])), []);
        let many = (0..40).map(|n| (format!("n{n:02}"), "y".repeat(500)));
        let fields = told(&Claims::new(many)).len();
        assert!((10..=16).contains(&fields), "{fields}");
    }

    #[test]
    fn a_field_of_a_claim_is_known_however_it_is_written() {
        for (name, is) in [
            ("x-claim-role", true),
            ("x_claim_role", true),
            ("x-claim_role", true),
            ("x.claim~role", true),
            ("x-claim-", true),
            ("x_client_cert_subject", true),
            ("x-client-cert-", true),
            ("x-client-certs", false),
            ("x-claims-role", false),
            ("x-claim", false),
            ("xxclaim-role", false),
            ("x-forwarded-for", false),
        ] {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            assert_eq!(is_proof_field(&name), is, "{name}");
        }
    }

    #[test]
    fn a_disguise_is_known_and_the_field_itself_is_none() {
        for (name, is) in [
            ("x_forwarded_for", true),
            ("x-forwarded_proto", true),
            ("x-forwarded-for.", true),
            ("x_real_ip", true),
            ("x.request-id", true),
            ("content_length", true),
            ("transfer~encoding", true),
            ("x-forwarded-for", false),
            ("x-real-ip", false),
            ("content-length", false),
            ("content_length_of_mine", false),
            ("content_type", false),
            ("x_forward", false),
        ] {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            assert_eq!(is_disguised(&name), is, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_claims_make_fields_that_can_be_read_back(
            claims in proptest::collection::vec((any::<String>(), any::<String>()), 0..8),
        ) {
            let claims = Claims::new(claims);
            for (name, value) in claims.fields() {
                prop_assert!(is_proof_field(name));
                let text = value.to_str().expect("printable");
                let read = percent_decoded(text);
                let mut all = claims.iter();
                prop_assert!(all.any(|(_, text)| text.as_bytes() == read));
            }
        }
    }

    fn percent_decoded(text: &str) -> Vec<u8> {
        let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
        while let [first, after @ ..] = rest {
            rest = after;
            if *first == b'%' {
                let digits = std::str::from_utf8(&after[..2]).expect("two digits");
                bytes.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
                rest = &after[2..];
            } else {
                bytes.push(*first);
            }
        }
        bytes
    }
}
