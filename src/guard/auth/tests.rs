use super::fixtures::{self, RSA, SECRET, Signer, hs256, with_header};
use super::jwt::{Keys, prove};
use super::*;
use crate::observe::Metrics;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

const NOW: u64 = 1_000_000;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let id = std::process::id();
        let path = std::env::temp_dir().join(format!("lakh-auth-{name}-{id}"));
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn file(&self, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join("file");
        std::fs::write(&path, contents).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the temporary folder harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn jwt(keys: KeySource, algorithms: &[Algorithm]) -> AuthSettings {
    AuthSettings {
        name: "people".into(),
        proof: ProofSettings::Jwt(JwtSettings {
            keys,
            algorithms: algorithms.to_vec(),
            issuers: Vec::new(),
            audiences: Vec::new(),
            leeway: Duration::ZERO,
            cookie: None,
        }),
        optional: false,
        claims: None,
    }
}

fn built(auths: &Auths, settings: &AuthSettings) -> Arc<Auth> {
    let metrics = Metrics::new();
    let built = auths.build(std::slice::from_ref(settings), |name| metrics.auth(name));
    built.expect("sound settings").remove(0)
}

fn bearer_of(token: &str) -> HeaderMap {
    let value = HeaderValue::from_str(&format!("Bearer {token}")).expect("a field's value");
    HeaderMap::from_iter([(AUTHORIZATION, value)])
}

/// `sub`, or what is wrong.
fn found(auth: &Auth, headers: &HeaderMap, now: u64) -> Result<String, Flaw> {
    let found = auth.check(headers, now, true);
    auth.count(&found);
    match found {
        Identity::Known(claims, _) => Ok(claims.get("sub").unwrap_or("").to_owned()),
        Identity::Nobody => Ok("nobody".into()),
        Identity::Refused(flaw) => Err(flaw),
        Identity::Undecided(_) | Identity::NoKeys => panic!("it can be decided"),
    }
}

fn ann() -> Value {
    json!({"sub": "ann", "exp": NOW + 60})
}

fn with_secret(folder: &Folder) -> Arc<Auth> {
    let source = KeySource::SecretFile(folder.file(SECRET));
    built(&Auths::default(), &jwt(source, &[Algorithm::Hs256]))
}

#[test]
fn each_algorithm_verifies_what_another_implementation_signed() {
    let folder = Folder::new("each");
    let token = hs256(SECRET, &ann());
    assert_eq!(
        found(&with_secret(&folder), &bearer_of(&token), NOW),
        Ok("ann".into())
    );
    let (ec, ed) = (fixtures::ec(), fixtures::ed());
    let signers: [(&Signer, _); 3] = [
        (&RSA, Algorithm::Rs256),
        (&ec, Algorithm::Es256),
        (&ed, Algorithm::EdDsa),
    ];
    for (signer, algorithm) in signers {
        let source = KeySource::PublicKeyFile(folder.file(&signer.pem));
        let auth = built(&Auths::default(), &jwt(source, &[algorithm]));
        let token = signer.sign(None, &ann());
        assert_eq!(
            found(&auth, &bearer_of(&token), NOW),
            Ok("ann".into()),
            "{algorithm:?}"
        );
        // The public key is no secret, whoever says so.
        let forged = hs256(signer.pem.as_bytes(), &ann());
        assert_eq!(found(&auth, &bearer_of(&forged), NOW), Err(Flaw::Algorithm));
        let all = Algorithm::ALL.map(|(_, it)| it);
        let source = KeySource::PublicKeyFile(folder.file(&signer.pem));
        let lax = built(&Auths::default(), &jwt(source, &all));
        assert_eq!(found(&lax, &bearer_of(&forged), NOW), Err(Flaw::UnknownKey));
        let others = [&*RSA, &ec, &ed]
            .into_iter()
            .filter(|it| it.algorithm != signer.algorithm);
        for other in others {
            let token = other.sign(None, &ann());
            assert_eq!(found(&lax, &bearer_of(&token), NOW), Err(Flaw::UnknownKey));
        }
    }
    let (one, other) = (fixtures::ec(), fixtures::ec());
    let source = KeySource::PublicKeyFile(folder.file(&one.pem));
    let auth = built(&Auths::default(), &jwt(source, &[Algorithm::Es256]));
    let token = other.sign(None, &ann());
    assert_eq!(found(&auth, &bearer_of(&token), NOW), Err(Flaw::Signature));
}

#[test]
fn what_a_token_says_of_itself_changes_nothing() {
    let folder = Folder::new("says");
    let auth = with_secret(&folder);
    for (header, expected) in [
        (json!({"alg": "HS256"}), Ok("ann".to_owned())),
        (json!({"alg": "HS256", "kid": "any"}), Ok("ann".to_owned())),
        (json!({"alg": "none"}), Err(Flaw::Algorithm)),
        (json!({"alg": "RS256"}), Err(Flaw::Algorithm)),
        (json!({"alg": "HS512"}), Err(Flaw::Algorithm)),
        (
            json!({"alg": "HS256", "crit": ["exp"]}),
            Err(Flaw::Critical),
        ),
        (
            json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "AA"}}),
            Ok("ann".to_owned()),
        ),
    ] {
        let token = with_header(&header, SECRET, &ann());
        assert_eq!(found(&auth, &bearer_of(&token), NOW), expected, "{header}");
    }
    let none = with_header(&json!({"alg": "none"}), SECRET, &ann());
    let unsigned = &none[..=none.rfind('.').expect("three parts")];
    assert_eq!(
        found(&auth, &bearer_of(unsigned), NOW),
        Err(Flaw::Algorithm)
    );
    let with_jwk = json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "eHh4"}});
    let forged = with_header(&with_jwk, b"xxx", &ann());
    assert_eq!(found(&auth, &bearer_of(&forged), NOW), Err(Flaw::Signature));
}

#[test]
fn a_verified_token_is_known_again_until_it_expires() {
    let folder = Folder::new("again");
    let auth = with_secret(&folder);
    let request = bearer_of(&hs256(SECRET, &ann()));
    for now in [NOW, NOW + 1, NOW + 59] {
        assert_eq!(found(&auth, &request, now), Ok("ann".into()));
    }
    let counted = || (auth.metrics.verified.get(), auth.metrics.cached.get());
    assert_eq!(counted(), (1, 2));
    assert_eq!(found(&auth, &request, NOW + 60), Err(Flaw::Expired));
    assert_eq!(found(&auth, &request, NOW + 61), Err(Flaw::Expired));
    assert_eq!(counted(), (1, 2));
    assert_eq!(auth.metrics.refused.get(), 2);
}

#[test]
fn a_request_proves_itself_once_and_in_one_place() {
    let folder = Folder::new("once");
    let auth = with_secret(&folder);
    let token = hs256(SECRET, &ann());
    assert_eq!(found(&auth, &HeaderMap::new(), NOW), Err(Flaw::Missing));
    let mut twice = bearer_of(&token);
    twice.append(AUTHORIZATION, twice[AUTHORIZATION].clone());
    assert_eq!(found(&auth, &twice, NOW), Err(Flaw::Several));
    let of = |value: &str| {
        let value = HeaderValue::from_str(value).expect("a field's value");
        HeaderMap::from_iter([(AUTHORIZATION, value)])
    };
    assert_eq!(
        found(&auth, &of(&format!("bEARER  {token}")), NOW),
        Ok("ann".into())
    );
    assert_eq!(found(&auth, &of("Basic YTpi"), NOW), Err(Flaw::Missing));
    assert_eq!(found(&auth, &of("Bearer "), NOW), Err(Flaw::Malformed));
    assert_eq!(
        found(&auth, &of(&format!("Bearer {token}, {token}")), NOW),
        Err(Flaw::Malformed)
    );
    let long = format!("Bearer {}", "a".repeat(20_000));
    assert_eq!(found(&auth, &of(&long), NOW), Err(Flaw::TooLong));
}

#[test]
fn a_token_may_come_in_a_cookie_and_may_be_needless() {
    let folder = Folder::new("cookie");
    let mut settings = jwt(
        KeySource::SecretFile(folder.file(SECRET)),
        &[Algorithm::Hs256],
    );
    settings.optional = true;
    if let ProofSettings::Jwt(rules) = &mut settings.proof {
        rules.cookie = Some("session".into());
    }
    let auth = built(&Auths::default(), &settings);
    let token = hs256(SECRET, &ann());
    let cookie = |text: String| {
        let value = HeaderValue::from_str(&text).expect("a field's value");
        HeaderMap::from_iter([(http::header::COOKIE, value)])
    };
    assert_eq!(
        found(&auth, &cookie(format!("a=b; session={token}")), NOW),
        Ok("ann".into())
    );
    assert_eq!(
        found(&auth, &cookie("a=b; sessions=1".into()), NOW),
        Ok("nobody".into())
    );
    assert_eq!(found(&auth, &bearer_of(&token), NOW), Ok("nobody".into()));
    assert_eq!(
        found(&auth, &cookie("session=x".into()), NOW),
        Err(Flaw::Malformed)
    );
    let twice = cookie(format!("session={token}; session={token}"));
    assert_eq!(found(&auth, &twice, NOW), Err(Flaw::Several));
}

#[test]
fn a_reload_keeps_what_is_unchanged_and_nothing_else() {
    let (folder, auths) = (Folder::new("reload"), Auths::default());
    let settings = jwt(
        KeySource::SecretFile(folder.file(SECRET)),
        &[Algorithm::Hs256],
    );
    let request = bearer_of(&hs256(SECRET, &ann()));
    let first = built(&auths, &settings);
    let nothing: Fetch = Arc::new(|url| Box::pin(async { Err(url) }));
    auths.commit(std::slice::from_ref(&first), &nothing);
    assert_eq!(found(&first, &request, NOW), Ok("ann".into()));
    assert!(Arc::ptr_eq(&first, &built(&auths, &settings)));

    folder.file("another secret, which is as long as it must be");
    let second = built(&auths, &settings);
    assert_eq!(found(&second, &request, NOW), Err(Flaw::Signature));
    folder.file(SECRET);
    let mut stricter = settings.clone();
    if let ProofSettings::Jwt(rules) = &mut stricter.proof {
        rules.issuers.push("somebody".into());
    }
    assert_eq!(
        found(&built(&auths, &stricter), &request, NOW),
        Err(Flaw::Issuer)
    );

    folder.file("short");
    let metrics = Metrics::new();
    let refused = auths.build(&[settings], |name| metrics.auth(name));
    let why = refused.err().expect("no key");
    assert!(why.contains("has 5 bytes"), "{why}");
}

#[test]
fn api_keys_are_known_by_their_hash() {
    let folder = Folder::new("keys");
    let key = "the-key-of-ann-0123456789";
    let line = api_key_line("ann", key.as_bytes(), &["class=truck".into()]).expect("a line");
    let settings = AuthSettings {
        name: "devices".into(),
        proof: ProofSettings::ApiKeys(ApiKeySettings {
            file: folder.file(line),
            header: http::HeaderName::from_static("x-api-key"),
        }),
        optional: false,
        claims: Some(vec!["class".into()]),
    };
    let auth = built(&Auths::default(), &settings);
    let with = |value: &'static str| {
        HeaderMap::from_iter([(
            http::HeaderName::from_static("x-api-key"),
            HeaderValue::from_static(value),
        )])
    };
    assert_eq!(found(&auth, &with(key), NOW), Ok("ann".into()));
    assert_eq!(
        found(&auth, &with("the-key-of-bob-0123456789"), NOW),
        Err(Flaw::UnknownApiKey)
    );
    assert_eq!(found(&auth, &HeaderMap::new(), NOW), Err(Flaw::Missing));
    assert_eq!(
        auth.challenge(Flaw::Missing),
        "ApiKey realm=\"devices\", header=\"x-api-key\""
    );
    let Identity::Known(claims, _) = auth.check(&with(key), NOW, false) else {
        panic!("it is known")
    };
    let told: Vec<_> = claims
        .fields()
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(told, ["x-claim-class"]);
}

#[tokio::test]
async fn keys_of_an_issuer_are_found_by_name_and_outlive_its_absence() {
    let (old, new) = (fixtures::ec(), fixtures::ed());
    let served: Arc<Mutex<Result<Value, String>>> = Arc::new(Mutex::new(Err("down".into())));
    let serve = |document: Result<Value, String>| {
        *served.lock().expect("no panic") = document;
    };
    let fetch: Fetch = Arc::new({
        let served = served.clone();
        move |_| {
            let document = served.lock().expect("no panic").clone();
            Box::pin(async move { document.map(|document| document.to_string().into()) })
        }
    });
    let jwks = JwksSettings {
        url: "https://issuer.test/jwks.json".into(),
        refresh: Duration::from_secs(3600),
    };
    let settings = jwt(KeySource::Jwks(jwks), &[Algorithm::Es256, Algorithm::EdDsa]);
    let auths = Auths::default();
    let auth = built(&auths, &settings);
    auths.commit(std::slice::from_ref(&auth), &fetch);
    auths.asked_once().await;

    let first = bearer_of(&old.sign(Some("old"), &ann()));
    assert!(matches!(auth.check(&first, NOW, true), Identity::NoKeys));
    let Identity::Undecided(issuer) = auth.check(&first, NOW, false) else {
        panic!("its issuer may know")
    };
    serve(Ok(json!({"keys": [old.jwk("old")]})));
    issuer.ask().await;
    assert_eq!(found(&auth, &first, NOW), Ok("ann".into()));

    serve(Err("down".into()));
    issuer.fetch(&fetch).await;
    assert_eq!(
        found(&auth, &first, NOW),
        Ok("ann".into()),
        "the issuer is down"
    );
    let second = bearer_of(&new.sign(Some("new"), &ann()));
    assert!(matches!(
        auth.check(&second, NOW, false),
        Identity::Undecided(_)
    ));
    assert_eq!(found(&auth, &second, NOW), Err(Flaw::UnknownKey));

    let mut stricter = settings.clone();
    stricter.optional = true;
    let reloaded = built(&auths, &stricter);
    assert_eq!(
        found(&reloaded, &first, NOW),
        Ok("ann".into()),
        "its keys survive"
    );

    serve(Ok(json!({"keys": [new.jwk("new")]})));
    issuer.fetch(&fetch).await;
    assert_eq!(found(&auth, &second, NOW), Ok("ann".into()));
    assert!(
        matches!(auth.check(&first, NOW, false), Identity::Undecided(_)),
        "what was verified with keys that are gone is not known any more"
    );
    assert_eq!(found(&auth, &first, NOW), Err(Flaw::UnknownKey));
}

proptest! {
    #[test]
    fn a_changed_token_never_verifies(at in any::<prop::sample::Index>(), with in any::<u8>()) {
        static AUTHS: std::sync::LazyLock<Vec<(Arc<Auth>, String)>> =
            std::sync::LazyLock::new(|| {
                let folder = Folder::new("changed");
                let ec = fixtures::ec();
                let public = KeySource::PublicKeyFile(folder.file(&ec.pem));
                let public = built(&Auths::default(), &jwt(public, &[Algorithm::Es256]));
                let secret = with_secret(&folder);
                vec![(public, ec.sign(None, &ann())), (secret, hs256(SECRET, &ann()))]
            });
        for (auth, token) in AUTHS.iter() {
            let mut bytes = token.clone().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = with;
            if bytes != token.as_bytes() {
                let Proof::Jwt(Jwt { rules, keys: Keys::Fixed(set), .. }) = &auth.proof else {
                    panic!("a fixed key")
                };
                prop_assert!(prove(&bytes, &set.keys, rules, NOW).is_err());
            }
        }
    }

    #[test]
    fn no_fields_panic(value in proptest::collection::vec(any::<u8>(), 0..100)) {
        let folder = Folder::new("panic");
        let auth = with_secret(&folder);
        for value in [value.clone(), [b"Bearer ", &value[..]].concat()] {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
                prop_assert!(found(&auth, &headers, NOW).is_err());
            }
        }
    }
}
