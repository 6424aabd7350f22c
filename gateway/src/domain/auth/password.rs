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

use crate::database::account::PasswordCheck;
use crate::error::{ApiError, NOT_PERMITTED, RATE_LIMITED};

/// Shorter passwords can be guessed.
const MIN_LENGTH: usize = 8;
/// Longer ones are mistakes, and cost time.
const MAX_LENGTH: usize = 1024;

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

/// Refuses a new password that is too short. The sentence does not repeat it.
pub(crate) fn check_new(password: &str) -> Result<(), ApiError> {
    let length = password.chars().count();
    if length < MIN_LENGTH {
        let detail = format!("the password has fewer than {MIN_LENGTH} characters");
        return Err(ApiError::bad_argument(detail).hint("Take a few words, for example."));
    }
    if length > MAX_LENGTH {
        let detail = format!("the password has more than {MAX_LENGTH} characters");
        return Err(ApiError::bad_argument(detail).hint("Take a shorter one."));
    }
    Ok(())
}

/// The failure of a signed-in account that gave a wrong password of its own, or too many; not 401, which would say
/// that it is not signed in.
pub(crate) fn accepted(check: PasswordCheck) -> Result<(), ApiError> {
    match check {
        PasswordCheck::Right => Ok(()),
        PasswordCheck::Wrong => Err(ApiError::new(NOT_PERMITTED, "the password is wrong")
            .hint("Give the password with which the account signs in now.")),
        PasswordCheck::Wait(wait) => Err(too_many_failures(wait)),
    }
}

/// The failure of a name or an address that has tried too many passwords.
pub(super) fn too_many_failures(wait: Duration) -> ApiError {
    ApiError::new(RATE_LIMITED, "signing in has failed too often")
        .hint(format!("Try again in {} s.", wait.as_secs() + 1))
        .retry_after(wait)
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
    fn new_passwords_have_eight_characters_at_least_and_are_not_repeated() {
        check_new("pässword").unwrap();
        let refused = check_new("secret7").unwrap_err();
        assert!(!refused.to_string().contains("secret7"), "{refused}");
        assert!(check_new(&"x".repeat(2000)).is_err());
    }

    #[test]
    fn a_hash_matches_only_its_password() {
        let hash = hash_password("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(matches("correct horse", &hash));
        assert!(!matches("correct horsf", &hash));
        assert!(!matches("correct horse", "$argon2id$nonsense"));
    }
}
