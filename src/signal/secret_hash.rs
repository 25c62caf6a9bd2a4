//! Secrets as their hash: what a token is compared by, so that none is held or shown.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// SHA-256 of a secret. Tokens are long and random, so a plain hash is enough.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// Compares in constant time, so that timing tells nothing about a secret.
    pub fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_secrets_are_equal_and_nothing_shows_them() {
        assert!(SecretHash::of("s3cret").is(&SecretHash::of("s3cret")));
        assert!(!SecretHash::of("s3cret").is(&SecretHash::of("s3cres")));
        assert_eq!(format!("{:?}", SecretHash::of("s3cret")), "SecretHash(…)");
    }
}
