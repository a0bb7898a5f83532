//! The named ways to prove oneself, from their settings: what is unchanged survives a reload.

use super::api_keys::ApiKeys;
use super::issuer::{Fetch, Issuer, KeySet};
use super::jwt::{Jwt, Keys};
use super::keys::Key;
use super::settings::{AuthSettings, JwksSettings, KeySource, ProofSettings};
use super::verified::{Verified, fingerprint};
use super::{Auth, Proof};
use crate::observe::{AuthMetrics, KeysMetrics};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

/// All named ways to prove oneself. Those whose settings and files are unchanged survive a reload,
/// and so do the keys of an issuer.
#[derive(Default)]
pub struct Auths {
    in_force: Mutex<Vec<Arc<Auth>>>,
}

impl Auths {
    /// Those for `settings`, in order, or why one can't be. Nothing that runs is changed.
    pub fn build(
        &self,
        settings: &[AuthSettings],
        metrics: impl Fn(&str) -> (AuthMetrics, KeysMetrics),
    ) -> Result<Vec<Arc<Auth>>, String> {
        let known = self.in_force();
        let build = |settings: &AuthSettings| {
            let (auth, keys) = metrics(&settings.name);
            Auth::build(settings, &known, auth, keys)
                .map_err(|why| format!("auth.{}: {why}", settings.name))
        };
        settings.iter().map(build).collect()
    }

    /// From here on these are in force.
    pub fn commit(&self, auths: &[Arc<Auth>], fetch: &Fetch) {
        auths
            .iter()
            .filter_map(|auth| auth.issuer())
            .for_each(|issuer| issuer.start(fetch));
        *self.in_force() = auths.to_vec();
    }

    /// Until all issuers were asked once.
    pub async fn asked_once(&self) {
        let auths = self.in_force().clone();
        for issuer in auths.iter().filter_map(|auth| auth.issuer()) {
            issuer.asked_once().await;
        }
    }

    /// Brings gauges up to date.
    pub fn report(&self) {
        self.in_force().iter().for_each(|auth| auth.report());
    }

    fn in_force(&self) -> MutexGuard<'_, Vec<Arc<Auth>>> {
        self.in_force
            .lock()
            .expect("no code panics while it holds this lock")
    }
}

impl Auth {
    fn build(
        settings: &AuthSettings,
        known: &[Arc<Auth>],
        metrics: AuthMetrics,
        keys_metrics: KeysMetrics,
    ) -> Result<Arc<Auth>, String> {
        let contents = settings.proof.file().map(read).transpose()?;
        let file = fingerprint(contents.as_deref().unwrap_or_default());
        let is_same = |auth: &&Arc<Auth>| auth.settings == *settings && auth.file == file;
        if let Some(auth) = known.iter().find(is_same) {
            return Ok(auth.clone());
        }
        let contents = contents.as_deref().unwrap_or_default();
        let proof = match &settings.proof {
            ProofSettings::ApiKeys(api_keys) => {
                let text = String::from_utf8_lossy(contents);
                let keys = ApiKeys::read(&text, settings.claims.as_deref());
                Proof::ApiKeys {
                    header: api_keys.header.clone(),
                    keys: keys.map_err(|why| settings.proof.in_file(&why))?,
                }
            }
            ProofSettings::Jwt(rules) => Proof::Jwt(Jwt {
                rules: rules.clone(),
                keys: match &rules.keys {
                    KeySource::Jwks(jwks) => Keys::Of(issuer_of(jwks, known, keys_metrics)),
                    source => {
                        let key = source.key(contents);
                        let key = key.map_err(|why| settings.proof.in_file(&why))?;
                        Keys::Fixed(Arc::new(KeySet::fixed(key)))
                    }
                },
                verified: Verified::new(),
                passed: settings.claims.clone(),
            }),
        };
        Ok(Arc::new(Auth {
            settings: settings.clone(),
            file,
            proof,
            metrics,
        }))
    }

    fn issuer(&self) -> Option<&Arc<Issuer>> {
        match &self.proof {
            Proof::Jwt(Jwt {
                keys: Keys::Of(issuer),
                ..
            }) => Some(issuer),
            _ => None,
        }
    }

    fn report(&self) {
        self.metrics.kept.set(match &self.proof {
            Proof::Jwt(jwt) => jwt.verified.count() as i64,
            Proof::ApiKeys { keys, .. } => keys.count() as i64,
        });
    }
}

/// The issuer of before, with the keys that it has.
fn issuer_of(jwks: &JwksSettings, known: &[Arc<Auth>], metrics: KeysMetrics) -> Arc<Issuer> {
    let mut issuers = known.iter().filter_map(|auth| auth.issuer());
    let same = issuers.find(|issuer| issuer.settings == *jwks);
    same.cloned()
        .unwrap_or_else(|| Arc::new(Issuer::new(jwks.clone(), metrics)))
}

impl ProofSettings {
    fn in_file(&self, why: &str) -> String {
        let file = self.file().unwrap_or(Path::new(""));
        format!("{} {why}", file.display())
    }

    fn file(&self) -> Option<&Path> {
        match self {
            ProofSettings::ApiKeys(keys) => Some(&keys.file),
            ProofSettings::Jwt(jwt) => match &jwt.keys {
                KeySource::SecretFile(file) | KeySource::PublicKeyFile(file) => Some(file),
                KeySource::Jwks(_) => None,
            },
        }
    }
}

impl KeySource {
    /// The key in a file. The error completes a sentence that begins with the file.
    pub fn key(&self, contents: &[u8]) -> Result<Key, String> {
        match self {
            KeySource::SecretFile(_) => Key::secret(contents),
            _ => Key::public(&String::from_utf8_lossy(contents)),
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|e| format!("{} can't be read: {e}", file.display()))
}
