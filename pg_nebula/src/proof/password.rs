//! Passwords: compared here, so that no role but the owner reads a hash.

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use pgrx::prelude::*;

/// Compared with where there is no account, so that the time of an answer does not tell which names exist. The
/// parameters are those of new hashes (19 MiB, two passes); the password is not the point, the answer is no in any case.
const DECOY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBzYWx0IGZvciBub2JvZHk$RdescudvJCsgt3ub+b+dWRWJTmaaJObG";

#[pg_extern]
fn password_matches(p_password: Option<&str>, p_hash: Option<&str>) -> bool {
    let is_right = matches(p_password.unwrap_or_default(), p_hash.unwrap_or(DECOY));
    is_right && p_password.is_some() && p_hash.is_some()
}

fn matches(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}
