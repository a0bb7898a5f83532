//! The sticky cookie: which server a client was given, signed so that only we can say it.
//!
//! The proxy reads it before it picks a server and issues it with the answer. A cookie that
//! doesn't verify is as good as none; it must never be an error, and never choose a server.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::server::ServerId;
use super::settings::StickySettings;

/// First byte of the value. Another number is another layout, and reads as no cookie.
const VERSION: u8 = 1;
const SIGNED: usize = 1 + 8 + 8;
const MAC: usize = 16;
const VALUE: usize = SIGNED + MAC;
const ENCODED: usize = VALUE / 3 * 4;

/// A shorter key could be guessed.
const SHORTEST_KEY: usize = 16;

/// Cookies of our name that are looked at. Browsers send more than one only when paths overlap;
/// verifying costs, so a client can't ask for thousands.
const LOOKED_AT: usize = 4;

pub struct Sticky {
    cookie: String,
    max_age: Duration,
    /// Keyed, and fed the upstream's name: a cookie of another upstream doesn't verify here.
    mac: Hmac<Sha256>,
}

impl Sticky {
    /// `process_key` signs when the settings name no file.
    pub fn new(
        upstream: &str,
        settings: &StickySettings,
        process_key: impl FnOnce() -> Result<[u8; 32], String>,
    ) -> Result<Sticky, String> {
        let key = match &settings.key_file {
            Some(path) => read_key(path).map_err(|why| format!("upstream {upstream}: {why}"))?,
            None => process_key()?.to_vec(),
        };
        let mut mac = Hmac::new_from_slice(&key).expect("HMAC takes keys of any length");
        mac.update(upstream.as_bytes());
        mac.update(&[0]);
        Ok(Sticky {
            cookie: settings.cookie.clone(),
            max_age: settings.max_age,
            mac,
        })
    }

    /// The server that this client was given. `cookies` are the values of its Cookie fields.
    /// None when there is no cookie, or it is forged, foreign, or older than `max_age`.
    pub fn read<'a>(
        &self,
        cookies: impl Iterator<Item = &'a [u8]>,
        now: SystemTime,
    ) -> Option<ServerId> {
        cookies
            .flat_map(|field| field.split(|byte| *byte == b';'))
            .filter_map(|pair| value_of(&self.cookie, pair.trim_ascii()))
            .take(LOOKED_AT)
            .find_map(|value| self.verify(value, now))
    }

    /// Whether the answer needs a Set-Cookie: the client has none, or was served elsewhere.
    pub fn needs_issue(&self, read: Option<ServerId>, served: ServerId) -> bool {
        read != Some(served)
    }

    /// A value for Set-Cookie.
    pub fn issue(&self, id: ServerId, now: SystemTime, secure: bool) -> String {
        let mut value = [0; VALUE];
        value[0] = VERSION;
        value[1..9].copy_from_slice(&id.0.to_be_bytes());
        value[9..SIGNED].copy_from_slice(&unix_seconds(now).to_be_bytes());
        let mac = self
            .mac
            .clone()
            .chain_update(&value[..SIGNED])
            .finalize()
            .into_bytes();
        value[SIGNED..].copy_from_slice(&mac[..MAC]);
        format!(
            "{}={}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{}",
            self.cookie,
            URL_SAFE_NO_PAD.encode(value),
            self.max_age.as_secs(),
            if secure { "; Secure" } else { "" },
        )
    }

    fn verify(&self, encoded: &[u8], now: SystemTime) -> Option<ServerId> {
        if encoded.len() != ENCODED {
            return None;
        }
        let mut value = [0; VALUE];
        URL_SAFE_NO_PAD.decode_slice(encoded, &mut value).ok()?;
        let (signed, mac) = value.split_at(SIGNED);
        // Compares in constant time: how much of a guess was right must not show.
        self.mac
            .clone()
            .chain_update(signed)
            .verify_truncated_left(mac)
            .ok()?;
        let issued = number(&signed[9..]);
        let fresh = unix_seconds(now).saturating_sub(issued) <= self.max_age.as_secs();
        (signed[0] == VERSION && fresh).then(|| ServerId(number(&signed[1..9])))
    }
}

/// Names are compared whole: `my-lakh=…` is not `lakh=…`.
fn value_of<'a>(name: &str, pair: &'a [u8]) -> Option<&'a [u8]> {
    pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().expect("eight bytes by the layout"))
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

fn read_key(path: &std::path::Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let make = format!("make one with: head -c 32 /dev/urandom > {shown}");
    let key = std::fs::read(path)
        .map_err(|why| format!("cannot read sticky key_file {shown}: {why}; {make}"))?;
    if key.len() < SHORTEST_KEY {
        let held = key.len();
        return Err(format!(
            "sticky key_file {shown} holds {held} bytes, fewer than {SHORTEST_KEY}; {make}"
        ));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const ID: ServerId = ServerId(0x0123_4567_89AB_CDEF);

    fn sticky(upstream: &str, key: u8) -> Sticky {
        let settings = StickySettings {
            cookie: "lakh".into(),
            max_age: HOUR,
            key_file: None,
        };
        Sticky::new(upstream, &settings, || Ok([key; 32])).expect("a key is given")
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    /// `lakh=…` as a browser sends it back.
    fn issued(sticky: &Sticky) -> String {
        let set_cookie = sticky.issue(ID, now(), false);
        set_cookie
            .split(';')
            .next()
            .expect("split gives one at least")
            .to_owned()
    }

    fn read(sticky: &Sticky, cookie: &str) -> Option<ServerId> {
        sticky.read([cookie.as_bytes()].into_iter(), now())
    }

    #[test]
    fn a_cookie_comes_back_as_the_server_it_names() {
        let sticky = sticky("app", 1);
        let cookie = issued(&sticky);
        assert_eq!(read(&sticky, &cookie), Some(ID));
        assert_eq!(read(&sticky, &format!("a=b; {cookie};c=d")), Some(ID));
        let fields = ["a=b", cookie.as_str()].map(str::as_bytes);
        assert_eq!(sticky.read(fields.into_iter(), now()), Some(ID));
    }

    #[test]
    fn set_cookie_is_written_with_its_attributes() {
        let sticky = sticky("app", 1);
        let plain = sticky.issue(ID, now(), false);
        assert!(
            plain.ends_with("; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"),
            "{plain}"
        );
        assert_eq!(sticky.issue(ID, now(), true), format!("{plain}; Secure"));
    }

    #[test]
    fn other_keys_and_other_upstreams_are_not_believed() {
        let cookie = issued(&sticky("app", 1));
        assert_eq!(read(&sticky("app", 2), &cookie), None);
        assert_eq!(read(&sticky("other", 1), &cookie), None);
    }

    #[test]
    fn an_old_cookie_is_no_cookie() {
        let sticky = sticky("app", 1);
        let cookie = issued(&sticky);
        let at = |age| sticky.read([cookie.as_bytes()].into_iter(), now() + age);
        assert_eq!(at(HOUR), Some(ID));
        assert_eq!(at(HOUR + Duration::from_secs(1)), None);
    }

    #[test]
    fn names_are_matched_whole() {
        let sticky = sticky("app", 1);
        let cookie = issued(&sticky);
        let value = cookie.strip_prefix("lakh=").expect("the name is first");
        for other in [
            format!("xlakh={value}"),
            format!("lakhx={value}"),
            format!("Lakh={value}"),
        ] {
            assert_eq!(read(&sticky, &other), None, "{other}");
        }
        assert_eq!(read(&sticky, &format!("lakh=planted; {cookie}")), Some(ID));
    }

    #[test]
    fn only_a_few_of_our_name_are_looked_at() {
        let sticky = sticky("app", 1);
        let cookie = format!("{}{}", "lakh=x; ".repeat(LOOKED_AT), issued(&sticky));
        assert_eq!(read(&sticky, &cookie), None);
    }

    #[test]
    fn a_cookie_is_issued_when_the_server_is_another() {
        let sticky = sticky("app", 1);
        assert!(sticky.needs_issue(None, ID));
        assert!(sticky.needs_issue(Some(ServerId(1)), ID));
        assert!(!sticky.needs_issue(Some(ID), ID));
    }

    #[test]
    fn a_bad_key_file_is_named_with_what_to_do() {
        let path = std::env::temp_dir().join(format!("lakh-key-{}", std::process::id()));
        let settings = StickySettings {
            cookie: "lakh".into(),
            max_age: HOUR,
            key_file: Some(path.clone()),
        };
        let try_it = || Sticky::new("app", &settings, || unreachable!("a file is named"));
        let why = try_it().err().expect("there is no such file");
        assert!(
            why.contains("upstream app: cannot read sticky key_file"),
            "{why}"
        );
        std::fs::write(&path, "short").expect("the temporary folder can be written");
        let why = try_it().err().expect("the key is too short");
        assert!(why.contains("holds 5 bytes"), "{why}");
        std::fs::write(&path, [7; 32]).expect("the temporary folder can be written");
        let from_file = try_it().expect("a good key");
        assert_eq!(read(&from_file, &issued(&sticky("app", 7))), Some(ID));
        std::fs::remove_file(&path).expect("it was written above");
    }

    proptest! {
        #[test]
        fn a_changed_cookie_is_not_believed(at in 5usize..49, to in "[A-Za-z0-9_-]") {
            let sticky = sticky("app", 1);
            let mut cookie = issued(&sticky);
            prop_assume!(cookie[at..=at] != to);
            cookie.replace_range(at..=at, &to);
            prop_assert_eq!(read(&sticky, &cookie), None);
        }

        #[test]
        fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let field = [b"lakh=".as_slice(), &bytes].concat();
            prop_assert_eq!(sticky("app", 1).read([&field[..]].into_iter(), now()), None);
        }
    }
}
