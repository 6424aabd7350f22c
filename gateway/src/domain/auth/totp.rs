//! One-time codes of authenticators (TOTP, RFC 6238), and recovery codes for their loss.

use std::net::IpAddr;

use nebula_api::totp::NewTotp;
use totp_rs::{Builder, Secret, Totp};

use super::password::{self, Passwords};
use crate::database::proof::now;
use crate::database::session::SecondFactor;
use crate::database::{Account, Database, GenericClient, totp as database};
use crate::domain::enrolment::{code_hash, png};
use crate::error::{ApiError, BAD_ARGUMENT};

/// Name beside the account in an authenticator.
const ISSUER: &str = "Nebula";
/// Recovery codes of an account.
const RECOVERY_CODES: usize = 10;

/// Codes of 6 digits for 30 s each (SHA-1, as every authenticator takes them); the ones before and after count, too,
/// because clocks differ.
fn codes(secret: &[u8], username: &str) -> Result<Totp, ApiError> {
    let builder = Builder::new().with_secret(Secret::from(secret.to_vec()));
    let codes = builder.with_account_name(username).with_issuer(Some(ISSUER)).build();
    codes.map_err(|error| ApiError::internal(&error))
}

/// The step of a code; `None`: it is not one of these minutes.
fn step(secret: &[u8], code: &str, now: u64) -> Result<Option<i64>, ApiError> {
    let found = codes(secret, "")?.check(code, now);
    Ok(found.and_then(|step| i64::try_from(step).ok()))
}

/// Reads what somebody gave who signs in: six digits, or a recovery code.
pub(super) async fn second_factor(
    client: &impl GenericClient,
    username: &str,
    given: &str,
) -> Result<SecondFactor, ApiError> {
    let plain: String = given.chars().filter(|letter| !letter.is_whitespace()).collect();
    if plain.len() != 6 || !plain.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(SecondFactor::Recovery(code_hash(&plain)));
    }
    let step = match database::secret(client, username).await? {
        Some(secret) => step(&secret, &plain, now())?,
        None => None,
    };
    Ok(SecondFactor::Step(step.unwrap_or(0)))
}

/// Makes a secret for the authenticator of an account, which counts once a code of it was shown.
pub(crate) async fn begin(
    connections: &Database,
    passwords: &Passwords,
    actor: &Account,
    username: &str,
    given: &str,
    address: Option<IpAddr>,
) -> Result<NewTotp, ApiError> {
    let secret: [u8; 20] = rand::random();
    let codes = codes(&secret, username)?;
    let _turn = passwords.turn().await?;
    let client = connections.client().await?;
    password::accepted(database::begin(&client, actor, given, &secret, address).await?)?;
    let url = codes.to_url().map_err(|error| ApiError::internal(&error))?;
    Ok(NewTotp { secret: codes.secret().to_base32(), qr_png: png(&url)?, url })
}

/// Switches the second factor on; answers the recovery codes.
pub(crate) async fn confirm(
    connections: &Database,
    actor: &Account,
    code: &str,
    address: Option<IpAddr>,
) -> Result<Vec<String>, ApiError> {
    let client = connections.client().await?;
    let secret = database::pending(&client, actor).await?;
    let plain: String = code.chars().filter(|letter| !letter.is_whitespace()).collect();
    let step = step(&secret, &plain, now())?.ok_or_else(|| {
        ApiError::new(BAD_ARGUMENT, "this is not the code that the authenticator shows now").hint(
            "Compare the clocks of the authenticator and of the gateway, and give the code of this moment.",
        )
    })?;
    let recovery = recovery_codes();
    let hashes: Vec<_> = recovery.iter().map(|code| code_hash(code)).collect();
    database::confirm(&client, actor, step, &hashes, address).await?;
    Ok(recovery)
}

/// Codes of 80 random bits, in groups of four letters and digits.
fn recovery_codes() -> Vec<String> {
    let code = || {
        let letters = Secret::from(rand::random::<[u8; 10]>().to_vec()).to_base32();
        let groups: Vec<_> = letters.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
        groups.join("-")
    };
    std::iter::repeat_with(code).take(RECOVERY_CODES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of RFC 6238, appendix B.
    const SECRET: &[u8] = b"12345678901234567890";

    #[test]
    fn codes_are_those_of_the_rfc_and_count_for_their_neighbours_too() {
        let at = |now| step(SECRET, "287082", now).unwrap();
        assert_eq!([at(59), at(30), at(29), at(89), at(90)], [Some(1), Some(1), Some(1), Some(1), None]);
        assert_eq!(step(SECRET, "287083", 59).unwrap(), None);
        assert_eq!(step(SECRET, "", 59).unwrap(), None);
    }

    #[test]
    fn an_authenticator_is_told_account_and_issuer() {
        let url = codes(SECRET, "anna").unwrap().to_url().unwrap();
        assert!(url.starts_with("otpauth://totp/Nebula:anna?secret=GEZDGNBV"), "{url}");
        assert!(url.contains("issuer=Nebula"), "{url}");
    }

    #[test]
    fn recovery_codes_differ_and_are_no_codes_of_an_authenticator() {
        let codes = recovery_codes();
        assert_eq!(codes.len(), RECOVERY_CODES);
        for code in &codes {
            assert_eq!(code.len(), 19, "{code}");
            assert_eq!(codes.iter().filter(|other| *other == code).count(), 1);
        }
    }
}
