//! Guesses of visitors of share links: tokens that are none, and wrong passwords.

use std::net::IpAddr;
use std::time::Instant;

use uuid::Uuid;

use super::{FixedWindow, GUESS_INTERVAL, client_prefix};
use crate::error::{ApiError, RATE_LIMITED};

/// Unknown tokens that one client may send per [`GUESS_INTERVAL`].
const MAX_TOKENS: u64 = 20;
/// Passwords of one share that one client, and all of them together, may try per [`GUESS_INTERVAL`].
const MAX_PASSWORDS: u64 = 10;
const MAX_PASSWORDS_OF_ALL: u64 = 200;

#[derive(Debug)]
pub(crate) struct ShareGuesses {
    tokens: FixedWindow<IpAddr>,
    passwords: FixedWindow<(Uuid, IpAddr)>,
    all_passwords: FixedWindow<Uuid>,
}

impl Default for ShareGuesses {
    fn default() -> Self {
        Self {
            tokens: FixedWindow::new(GUESS_INTERVAL),
            passwords: FixedWindow::new(GUESS_INTERVAL),
            all_passwords: FixedWindow::new(GUESS_INTERVAL),
        }
    }
}

impl ShareGuesses {
    /// Fails with 429, and the time to wait, for a client that sent too many tokens that are none.
    pub(crate) fn check_tokens(&self, client: Option<IpAddr>) -> Result<(), ApiError> {
        match self.tokens.peek(&client_prefix(client), Instant::now()) {
            Some((count, wait)) if count >= MAX_TOKENS => {
                let detail = format!("{count} links that do not exist were asked for from this address");
                Err(ApiError::new(RATE_LIMITED, detail).hint("Wait, then try again.").retry_after(wait))
            }
            _ => Ok(()),
        }
    }

    /// Counts a token that is none.
    pub(crate) fn count_token(&self, client: Option<IpAddr>) {
        self.tokens.count(client_prefix(client), Instant::now());
    }

    /// Counts a password, before it is known whether it is right. Fails with 429 if there were too many.
    pub(crate) fn count_password(&self, share: Uuid, client: Option<IpAddr>) -> Result<(), ApiError> {
        let (key, now) = ((share, client_prefix(client)), Instant::now());
        let (own, _) = self.passwords.count(key, now);
        // Those that are refused do not use up what the others have.
        let is_refused = own > MAX_PASSWORDS || self.all_passwords.count(share, now).0 > MAX_PASSWORDS_OF_ALL;
        if !is_refused {
            return Ok(());
        }
        let wait = self.passwords.peek(&key, now).map_or(GUESS_INTERVAL, |(_, wait)| wait);
        Err(ApiError::new(RATE_LIMITED, "too many passwords were tried")
            .hint("Wait, then try again.")
            .retry_after(wait))
    }

    /// The client knows the password: its tries count no more, nor does this one among those of all.
    pub(crate) fn forget_passwords(&self, share: Uuid, client: Option<IpAddr>) {
        self.passwords.forget(&(share, client_prefix(client)));
        self.all_passwords.take_back(&share);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn a_client_tries_a_few_passwords_and_leaves_others_theirs() {
        let (guesses, [one, other]) = (ShareGuesses::default(), [1, 2].map(Uuid::from_u128));
        let tries = |share, last| {
            (0..1000).take_while(|_| guesses.count_password(share, client(last)).is_ok()).count()
        };
        assert_eq!(tries(one, 1) as u64, MAX_PASSWORDS);
        let refused = guesses.count_password(one, client(1)).unwrap_err();
        assert_eq!(refused.meaning(), RATE_LIMITED);
        assert!(refused.retry_after_seconds().is_some_and(|seconds| seconds > 500));
        assert_eq!(tries(one, 2) as u64, MAX_PASSWORDS);
        assert_eq!(tries(other, 1) as u64, MAX_PASSWORDS);
        guesses.forget_passwords(one, client(1));
        assert_eq!(tries(one, 1) as u64, MAX_PASSWORDS);
        let all: usize = (3..200).map(|last| tries(one, last)).sum();
        // That of the client which knew the password was given back.
        assert_eq!(all as u64, MAX_PASSWORDS_OF_ALL - 3 * MAX_PASSWORDS + 1);
    }

    #[test]
    fn right_passwords_keep_nobody_out() {
        let (guesses, share) = (ShareGuesses::default(), Uuid::from_u128(1));
        for visit in 0..2 * MAX_PASSWORDS_OF_ALL {
            let visitor = client((visit % 250) as u8);
            guesses.count_password(share, visitor).unwrap();
            guesses.forget_passwords(share, visitor);
        }
    }

    #[test]
    fn a_client_that_asks_for_links_that_do_not_exist_has_to_wait() {
        let guesses = ShareGuesses::default();
        for _ in 0..MAX_TOKENS {
            guesses.check_tokens(client(1)).unwrap();
            guesses.count_token(client(1));
        }
        assert_eq!(guesses.check_tokens(client(1)).unwrap_err().meaning(), RATE_LIMITED);
        guesses.check_tokens(client(2)).unwrap();
    }
}
