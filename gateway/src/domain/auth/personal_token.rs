//! Personal tokens: `nebula_pat_`, 30 random characters, and a checksum, by which scanners for leaked secrets recognise
//! them and typing errors are noticed without asking the database. Only their SHA-256 is kept.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nebula_api::personal_token::{CreatePersonalToken, NewPersonalToken};
use rand::RngExt;
use rand::distr::Alphanumeric;
use sha2::{Digest, Sha256};

use crate::database::personal_token::{self as database, Holder, NewToken};
use crate::database::{Account, Database, Signer};
use crate::error::{ApiError, BAD_ARGUMENT};

const PREFIX: &str = "nebula_pat_";
/// Each has almost six bits: 178 together.
const RANDOM_LENGTH: usize = 30;
const CHECKSUM_LENGTH: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// How long a token lasts whose maker does not say, and at most, in days.
const USUAL_DAYS: u32 = 90;
const MAX_DAYS: u32 = 3650;

/// Pause after which the database is asked again whose a token is, and notes its use. It checks the token in each call,
/// so that one that has ended is refused at once.
const LOOK_UP_INTERVAL: Duration = Duration::from_secs(600);
/// Tokens whose accounts are kept.
const MAX_KEPT: usize = 4096;

fn random_token() -> String {
    let random: String = rand::rng().sample_iter(Alphanumeric).take(RANDOM_LENGTH).map(char::from).collect();
    let checksum = checksum(&random);
    format!("{PREFIX}{random}{checksum}")
}

/// CRC-32 of the random part, in base 62.
fn checksum(random: &str) -> String {
    let mut rest = crc32fast::hash(random.as_bytes()) as usize;
    let mut digits = [b'0'; CHECKSUM_LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[rest % 62];
        rest /= 62;
    }
    digits.map(char::from).iter().collect()
}

/// Whether a text has the form and the checksum of a personal token.
pub(crate) fn is_well_formed(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(PREFIX) else { return false };
    if rest.len() != RANDOM_LENGTH + CHECKSUM_LENGTH || !rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        return false;
    }
    let (random, check) = rest.split_at(RANDOM_LENGTH);
    checksum(random) == check
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Makes a token of an account that has signed in. Fails with 400, 403 for scopes above its role, 409 name taken, and
/// 507 too many.
pub(crate) async fn create(
    connections: &Database,
    account: &Account,
    wanted: CreatePersonalToken,
    address: Option<IpAddr>,
) -> Result<NewPersonalToken, ApiError> {
    let days = wanted.days.unwrap_or(USUAL_DAYS);
    if !(1..=MAX_DAYS).contains(&days) {
        return Err(ApiError::new(BAD_ARGUMENT, format!("a token cannot last {days} days"))
            .hint(format!("Give 1 to {MAX_DAYS} days.")));
    }
    let token = random_token();
    let new = NewToken { name: wanted.name, hash: &hash(&token), scopes: wanted.scopes, days, address };
    let entry = database::create(&connections.client().await?, account, new).await?;
    Ok(NewPersonalToken { token, entry })
}

/// The accounts of tokens that were used lately.
#[derive(Default)]
pub(crate) struct Holders(Mutex<HashMap<[u8; 32], (Holder, Instant)>>);

impl Holders {
    /// Asks the database whose a token is, unless it was asked lately. Fails with 401.
    pub(crate) async fn look_up(
        &self,
        connections: &Database,
        signer: &Signer,
        token: &str,
        address: Option<IpAddr>,
    ) -> Result<(), ApiError> {
        let hash = hash(token);
        let is_fresh = |(_, at): &(Holder, Instant)| at.elapsed() < LOOK_UP_INTERVAL;
        if self.lock().get(&hash).is_some_and(is_fresh) {
            return Ok(());
        }
        let client = connections.client().await?;
        let holder = database::holder(&client, signer, token, &hash, address).await;
        let mut known = self.lock();
        known.remove(&hash);
        let holder = holder?;
        if known.len() >= MAX_KEPT {
            known.clear();
        }
        known.insert(hash, (holder, Instant::now()));
        Ok(())
    }

    /// The account of a token that was looked up.
    pub(crate) fn holder(&self, token: &str) -> Option<Holder> {
        self.lock().get(&hash(token)).map(|(holder, _)| holder.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], (Holder, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holders").field("known", &self.lock().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_tokens_differ_and_have_prefix_and_checksum() {
        let (one, other) = (random_token(), random_token());
        assert_ne!(one, other);
        assert_eq!(one.len(), 47);
        assert!(is_well_formed(&one) && is_well_formed(&other), "{one} {other}");
    }

    #[test]
    fn a_token_with_any_other_character_is_malformed() {
        let token = random_token();
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(!is_well_formed(&changed), "{changed}");
        }
        for wrong in ["", PREFIX, &token[1..], &format!("{token}a"), &token.replace('_', "-")] {
            assert!(!is_well_formed(wrong), "{wrong}");
        }
    }

    #[test]
    fn the_checksum_is_crc_32_in_base_62() {
        // The check value of CRC-32 (IEEE 802.3) is 0xCBF43926, with the digits 3 45 35 27 22 14 in base 62.
        assert_eq!(checksum("123456789"), "3jZRME");
    }
}
