//! `auth`: what proves who asks.

use super::refusal::Refusal;
use super::section::Section;
use super::units::{duration, wait};
use super::values::{choice, cookie_name, header_name, secret_file, some_text, switch};
use crate::guard::{
    Algorithm, ApiKeySettings, ApiKeys, AuthSettings, JwksSettings, JwtSettings, KeySource,
    ProofSettings,
};
use http::{HeaderName, Uri};
use std::path::PathBuf;
use std::time::Duration;

const LEEWAY: Duration = Duration::from_secs(30);
const REFRESH: Duration = Duration::from_secs(600);
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

pub fn read(name: &str, s: &mut Section<'_>) -> Option<AuthSettings> {
    let jwt = s.section("jwt", jwt);
    let api_keys = s.section("api_keys", api_keys);
    let (has_jwt, has_keys) = (s.has("jwt"), s.has("api_keys"));
    if has_jwt && has_keys {
        let message = "one name is for one kind of proof; move it to a name of its own";
        s.error_at(s.key_span("api_keys"), "api_keys", message);
    }
    if !has_jwt && !has_keys {
        s.error_here("proves nothing; write jwt: {secret_file: FILE}, or api_keys: {file: FILE}");
    }
    let optional = s.or("optional", false, switch);
    let claims = s.has("claims").then(|| s.list("claims", some_text));
    if claims.is_none() {
        // `null` is known too.
        s.list("claims", some_text);
    }
    let proof = match jwt {
        Some(jwt) => ProofSettings::Jwt(jwt),
        None => ProofSettings::ApiKeys(api_keys?),
    };
    Some(AuthSettings {
        name: name.to_owned(),
        proof,
        optional,
        claims,
    })
}

fn jwt(s: &mut Section<'_>) -> Option<JwtSettings> {
    let keys = keys(s);
    let known: Vec<Algorithm> = match &keys {
        Some((_, Some(kind))) => vec![*kind],
        // A secret is never published, so HMAC is not for published keys.
        _ => vec![Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa],
    };
    let settings = JwtSettings {
        algorithms: s.list_or(
            "algorithms",
            known.clone(),
            algorithm(known, keys.is_some()),
        ),
        issuers: s.one_or_list("issuer", some_text),
        audiences: s.one_or_list("audience", some_text),
        leeway: s.or("leeway", LEEWAY, duration),
        cookie: s.optional("cookie", cookie_name),
        keys: keys.map(|(source, _)| source)?,
    };
    Some(settings)
}

/// What tokens are checked with, and the algorithm that it is for, where it is one key.
fn keys(s: &mut Section<'_>) -> Option<(KeySource, Option<Algorithm>)> {
    let one_key = |make: fn(PathBuf) -> KeySource| move |path: &str| key_in_file(path, make);
    let secret = s.optional("secret_file", one_key(KeySource::SecretFile));
    let public = s.optional("public_key_file", one_key(KeySource::PublicKeyFile));
    let url = s.optional("jwks_url", jwks_url);
    let refresh = s.or("refresh", REFRESH, wait);
    if s.has("refresh") && !s.has("jwks_url") {
        let message = "only jwks_url is fetched again; remove the key";
        s.error_at(s.key_span("refresh"), "refresh", message);
    }
    let ways = ["secret_file", "public_key_file", "jwks_url"];
    let written: Vec<_> = ways.into_iter().filter(|way| s.has(way)).collect();
    match written[..] {
        [] => s.error_here(
            "has no key; write secret_file: FILE, public_key_file: FILE or jwks_url: URL",
        ),
        [_] => {}
        [first, second, ..] => {
            let message = format!("the keys come from {first} already; remove one of them");
            s.error_at(s.key_span(second), second, &message);
        }
    }
    let jwks = |url| (KeySource::Jwks(JwksSettings { url, refresh }), None);
    let file = |(source, kind)| (source, Some(kind));
    secret.map(file).or(public.map(file)).or(url.map(jwks))
}

/// Read once more when it is put in force.
fn key_in_file(
    path: &str,
    make: fn(PathBuf) -> KeySource,
) -> Result<(KeySource, Algorithm), String> {
    let path = secret_file(path)?;
    let contents = std::fs::read(&path).unwrap_or_default();
    let source = make(path.clone());
    let key = source.key(&contents);
    let key = key.map_err(|why| format!("`{}` {why}", path.display()))?;
    Ok((source, key.algorithm()))
}

/// `known`: those that fit the key. Without one, its own mistake is enough.
fn algorithm(known: Vec<Algorithm>, has_key: bool) -> impl Fn(&str) -> Result<Algorithm, Refusal> {
    move |text| {
        let algorithm = choice(&Algorithm::ALL)(text)?;
        if has_key && !known.contains(&algorithm) {
            let names: Vec<_> = known.iter().map(|it| it.name()).collect();
            let names = super::units::one_of(&names);
            return Err(format!("`{text}` is not for the key above; write {names}").into());
        }
        Ok(algorithm)
    }
}

/// Whoever can change what is fetched makes himself anybody; so without TLS only on this machine.
fn jwks_url(text: &str) -> Result<String, String> {
    let wrong = || format!("`{text}` is not a URL; write it like https://issuer.example/jwks.json");
    let url: Uri = text.parse().map_err(|_| wrong())?;
    if url
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err("a key set is public, so no USER:PASSWORD@ belongs before its host".to_owned());
    }
    let host = url
        .host()
        .filter(|host| !host.is_empty())
        .ok_or_else(wrong)?;
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    let is_local = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    match url.scheme_str() {
        Some("https") => Ok(text.to_owned()),
        Some("http") if is_local => Ok(text.to_owned()),
        Some("http") => Err(format!(
            "`{text}`: without TLS, anybody on the way could replace the keys; write https://"
        )),
        _ => Err(wrong()),
    }
}

fn api_keys(s: &mut Section<'_>) -> Option<ApiKeySettings> {
    let header = s.or("header", X_API_KEY, header_name);
    let file = s.required("file", "keys.txt", |path| {
        let path = secret_file(path)?;
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        match ApiKeys::read(&text, None) {
            Ok(_) => Ok(path),
            Err(why) => Err(format!("`{}` {why}", path.display())),
        }
    });
    Some(ApiKeySettings {
        file: file?,
        header,
    })
}
