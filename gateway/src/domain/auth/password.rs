//! Passwords: Argon2id, off the request threads, a few at a time.

use std::fmt;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::error::{ApiError, RATE_LIMITED};

/// How long a sign-in waits for its turn. A longer queue means that passwords are tried in bulk.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// Checks passwords, here those of share links, and in the database those of accounts. Each check takes 19 MiB and
/// tens of milliseconds, so only as many run as there are processors: a flood of sign-ins slows down sign-ins, and nothing else.
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        let turns = available_parallelism().map_or(1, usize::from);
        Self { turns: Arc::new(Semaphore::new(turns)) }
    }

    /// Whether the password belongs to the hash. Fails with 429 when too many others wait.
    pub(crate) async fn verify(&self, password: String, hash: String) -> Result<bool, ApiError> {
        let turn = self.turn().await?;
        let correct = spawn_blocking(move || {
            // Held until the hash is computed, even if the caller has hung up.
            let _turn = turn;
            matches(&password, &hash)
        });
        correct.await.map_err(|error| ApiError::internal(&error))
    }

    /// The hash of a new password. Fails as [`Self::verify`] does.
    pub(crate) async fn hash(&self, password: String) -> Result<String, ApiError> {
        let turn = self.turn().await?;
        let hashed = spawn_blocking(move || {
            let _turn = turn;
            hash_password(&password)
        });
        hashed.await.map_err(|error| ApiError::internal(&error))?.map_err(|error| ApiError::internal(&error))
    }

    /// Waits until a processor is free for a hash.
    pub(crate) async fn turn(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let turn = timeout(TURN_TIMEOUT, Arc::clone(&self.turns).acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or_else(|| {
            ApiError::new(RATE_LIMITED, "too many passwords are being checked just now")
                .hint("Try again in a few seconds.")
        })
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("turns", &self.turns.available_permits()).finish_non_exhaustive()
    }
}

/// The system gives no randomness for the salt.
#[derive(Debug, thiserror::Error)]
#[error("the password cannot be hashed: {0}")]
pub(crate) struct HashError(String);

/// Argon2id in PHC form, with the parameters OWASP recommends (19 MiB, two passes) and a random salt. Blocks.
pub(crate) fn hash_password(password: &str) -> Result<String, HashError> {
    let hashed: PasswordHash =
        Argon2::default().hash_password(password.as_bytes()).map_err(|error| HashError(error.to_string()))?;
    Ok(hashed.to_string())
}

/// Whether the password belongs to the hash. Blocks.
pub(crate) fn matches(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_matches_only_its_password() {
        let hash = hash_password("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(matches("correct horse", &hash));
        assert!(!matches("correct horsf", &hash));
        assert!(!matches("correct horse", "$argon2id$nonsense"));
    }
}
