//! Keys that signatures are checked with. Each is for one algorithm alone, whatever a token says:
//! a public key never serves as an HMAC's secret.

use super::pem::{self, PublicKey};
use super::settings::Algorithm;
use ring::{hmac, signature};

/// RFC 7518 §3.2: a shorter secret is weaker than the signature.
pub const SHORTEST_SECRET: usize = 32;

/// Of RSA's modulus, in bytes: RFC 7518 §3.3, and what `ring` takes.
const RSA_MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;

#[derive(Clone)]
pub struct Key {
    /// None: for all tokens of its algorithm.
    pub kid: Option<String>,
    material: Material,
}

#[derive(Clone)]
enum Material {
    Secret(hmac::Key),
    Rsa(signature::RsaPublicKeyComponents<Vec<u8>>),
    /// An uncompressed point.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl Key {
    /// Spaces and newlines around it are not part of it.
    pub fn secret(secret: &[u8]) -> Result<Key, String> {
        let secret = secret.trim_ascii();
        if secret.len() < SHORTEST_SECRET {
            return Err(format!(
                "has {} bytes, and HS256 needs {SHORTEST_SECRET}; make one with: openssl rand -hex 32",
                secret.len()
            ));
        }
        Ok(Key {
            kid: None,
            material: Material::Secret(hmac::Key::new(hmac::HMAC_SHA256, secret)),
        })
    }

    /// A public key of one of the three kinds, as PEM.
    pub fn public(text: &str) -> Result<Key, String> {
        Key::of(pem::read(text)?, None)
    }

    /// None where it is no sound key: RSA of less than 2048 bits, a point that can't be one.
    pub fn of(key: PublicKey, kid: Option<String>) -> Result<Key, String> {
        let material = match key {
            PublicKey::Rsa { n, e } if RSA_MODULUS.contains(&n.len()) => {
                Material::Rsa(signature::RsaPublicKeyComponents { n, e })
            }
            PublicKey::Rsa { n, .. } => {
                return Err(format!(
                    "is an RSA key of {} bits; RS256 needs 2048 to 8192",
                    n.len() * 8
                ));
            }
            PublicKey::P256(point) if point.len() == 65 && point[0] == 4 => Material::P256(point),
            PublicKey::Ed25519(point) if point.len() == 32 => Material::Ed25519(point),
            PublicKey::P256(_) | PublicKey::Ed25519(_) => {
                return Err("is a key of the wrong length".to_owned());
            }
        };
        Ok(Key { kid, material })
    }

    pub fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Secret(_) => Algorithm::Hs256,
            Material::Rsa(_) => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
            Material::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// In a time that says nothing of the secret.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        use signature::{ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256};
        let by = |how: &'static dyn signature::VerificationAlgorithm, key: &[u8]| {
            signature::UnparsedPublicKey::new(how, key).verify(message, signature)
        };
        match &self.material {
            Material::Secret(secret) => hmac::verify(secret, message, signature),
            Material::Rsa(key) => key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature),
            Material::P256(point) => by(&ECDSA_P256_SHA256_FIXED, point),
            Material::Ed25519(point) => by(&ED25519, point),
        }
        .is_ok()
    }
}
