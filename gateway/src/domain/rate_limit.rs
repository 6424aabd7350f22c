//! Rate limits that hold for all gateways together and across restarts: they are counted in the database.
//!
//! A gateway sets an eighth of a limit aside at a time, so that most calls ask nobody, and together the gateways never let
//! more through than the limit.

mod rules;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

pub(crate) use rules::{Limit, Maxima};

use crate::database::Database;
use crate::database::rate_window::{self as database, Caller, Rate, Taken};
use crate::error::{ApiError, RATE_LIMITED};
use crate::infra::client_prefix::client_prefix;

/// Subjects whose calls are set aside here; 10 000 take some megabytes.
const MAX_KEPT: usize = 10_000;

/// The subject that a limit counts for.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    key: String,
    caller: Caller,
}

impl Subject {
    /// An account, wherever it calls from.
    pub(crate) fn account(account: Uuid, client: Option<IpAddr>) -> Self {
        Self { key: account.to_string(), caller: Caller { account: Some(account), client } }
    }

    /// A network of clients, whatever their accounts.
    pub(crate) fn address(client: Option<IpAddr>) -> Self {
        Self { key: client_prefix(client).to_string(), caller: Caller { account: None, client } }
    }

    /// The same in one project, share or the like.
    pub(crate) fn within(mut self, place: Uuid) -> Self {
        self.key = format!("{} {place}", self.key);
        self
    }

    /// All clients together, in one project, share or the like.
    pub(crate) fn everybody(place: Uuid) -> Self {
        Self { key: place.to_string(), caller: Caller { account: None, client: None } }
    }
}

/// A window as this gateway knows it, until it ends.
#[derive(Debug, Clone, Copy)]
struct Lease {
    ends: Instant,
    /// Calls that it has set aside; `None`: the limit is reached, so a client that goes on costs no more statements.
    left: Option<u32>,
}

type Leases = HashMap<(Limit, String), Lease>;

/// The limits, and what this gateway has set aside of them.
pub(crate) struct RateLimits {
    database: Database,
    maxima: Maxima,
    leases: Mutex<Leases>,
}

impl RateLimits {
    pub(crate) fn new(database: Database, maxima: Maxima) -> Self {
        Self { database, maxima, leases: Mutex::default() }
    }

    /// Counts a call. Fails with 429, and the time to wait, when there were too many.
    pub(crate) async fn take(&self, limit: Limit, subject: &Subject) -> Result<(), ApiError> {
        let Some(rate) = self.maxima.rate(limit) else { return Ok(()) };
        match self.take_set_aside(limit, subject) {
            Some(Ok(())) => return Ok(()),
            Some(Err(rest)) => return Err(refusal(limit, rate, rest)),
            None => {}
        }
        let Taken { count, rest } = self.ask(rate, subject, limit.share(rate.max)).await?;
        self.keep(limit, subject, Lease { left: count.checked_sub(1), ends: Instant::now() + rest });
        if count == 0 {
            warn(rate, subject);
            return Err(refusal(limit, rate, rest));
        }
        Ok(())
    }

    /// Counts a call of an account, and of the network that it comes from.
    pub(crate) async fn take_both(
        &self,
        limit: Limit,
        account: Uuid,
        client: Option<IpAddr>,
    ) -> Result<(), ApiError> {
        self.take(limit, &Subject::account(account, client)).await?;
        self.take(limit, &Subject::address(client)).await
    }

    /// Fails with 429 if [`Self::take`] would; counts nothing.
    pub(crate) async fn check(&self, limit: Limit, subject: &Subject) -> Result<(), ApiError> {
        let Some(rate) = self.maxima.rate(limit) else { return Ok(()) };
        let rest = database::look(&self.database.client().await?, rate, &subject.key, subject.caller).await?;
        if rest.is_zero() {
            return Ok(());
        }
        warn(rate, subject);
        Err(refusal(limit, rate, rest))
    }

    /// Gives a call back that has turned out to be none of those that are limited.
    pub(crate) async fn give_back(&self, limit: Limit, subject: &Subject) -> Result<(), ApiError> {
        let Some(rate) = self.maxima.rate(limit) else { return Ok(()) };
        self.ask(rate, subject, -1).await.map(drop)
    }

    /// Lets a subject begin anew.
    pub(crate) async fn forget(&self, limit: Limit, subject: &Subject) -> Result<(), ApiError> {
        let Some(rate) = self.maxima.rate(limit) else { return Ok(()) };
        self.lock().remove(&(limit, subject.key.clone()));
        database::forget(&self.database.client().await?, rate, &subject.key).await
    }

    async fn ask(&self, rate: Rate, subject: &Subject, wanted: i32) -> Result<Taken, ApiError> {
        let client = self.database.client().await?;
        database::take(&client, rate, &subject.key, wanted, subject.caller).await
    }

    /// Takes one of the calls that were set aside; `None`: the database has to be asked.
    fn take_set_aside(&self, limit: Limit, subject: &Subject) -> Option<Result<(), Duration>> {
        let mut leases = self.lock();
        let lease = leases.get_mut(&(limit, subject.key.clone()))?;
        let rest = lease.ends.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero())?;
        let Some(left) = lease.left else { return Some(Err(rest)) };
        lease.left = Some(left.checked_sub(1)?);
        Some(Ok(()))
    }

    fn keep(&self, limit: Limit, subject: &Subject, lease: Lease) {
        let mut leases = self.lock();
        let key = (limit, subject.key.clone());
        if leases.len() >= MAX_KEPT && !leases.contains_key(&key) {
            let now = Instant::now();
            leases.retain(|_, lease| lease.ends > now);
            // A flood from many addresses: asking the database again is better than growing.
            if leases.len() >= MAX_KEPT {
                leases.clear();
            }
        }
        leases.insert(key, lease);
    }

    fn lock(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn warn(rate: Rate, subject: &Subject) {
    let Caller { account, client } = subject.caller;
    tracing::warn!(limit = rate.name, ?account, ?client, "a rate limit is reached");
}

fn refusal(limit: Limit, rate: Rate, rest: Duration) -> ApiError {
    let (minutes, what) = (rate.window.as_secs() / 60, limit.description());
    let span = if minutes == 1 { "a minute".to_owned() } else { format!("{minutes} minutes") };
    let hint = match limit.setting() {
        Some(setting) => format!("Wait, or have {setting} of the gateway raised."),
        None => "Wait, then try again.".to_owned(),
    };
    ApiError::new(RATE_LIMITED, format!("{} {what} within {span} are the limit", rate.max))
        .hint(hint)
        .retry_after(rest)
}

impl fmt::Debug for RateLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimits").field("maxima", &self.maxima).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Signer;

    fn limits() -> RateLimits {
        // Nothing listens there: what asks the database fails.
        let url = "postgresql://u@127.0.0.1:1/d";
        let database = Database::new(url, None, 1, Signer::new(&[7; 32]).unwrap()).unwrap();
        RateLimits::new(database, Maxima::default())
    }

    fn subject(last: u8) -> Subject {
        Subject::address(Some(IpAddr::from([192, 0, 2, last])))
    }

    #[tokio::test]
    async fn calls_that_were_set_aside_ask_nobody_and_end_with_their_window() {
        let (limits, limit) = (limits(), Limit::Uploads);
        let ends = Instant::now() + Duration::from_secs(60);
        limits.keep(limit, &subject(1), Lease { ends, left: Some(2) });
        limits.take(limit, &subject(1)).await.unwrap();
        limits.take(limit, &subject(1)).await.unwrap();
        assert_ne!(limits.take(limit, &subject(1)).await.unwrap_err().meaning(), RATE_LIMITED, "asked");
        assert_ne!(limits.take(limit, &subject(2)).await.unwrap_err().meaning(), RATE_LIMITED, "asked");
        limits.keep(limit, &subject(3), Lease { ends: Instant::now(), left: Some(2) });
        assert_ne!(limits.take(limit, &subject(3)).await.unwrap_err().meaning(), RATE_LIMITED, "asked");
    }

    #[tokio::test]
    async fn a_limit_that_is_reached_is_refused_without_asking_until_its_window_ends() {
        let (limits, limit) = (limits(), Limit::Uploads);
        let ends = Instant::now() + Duration::from_secs(50);
        limits.keep(limit, &subject(1), Lease { ends, left: None });
        let refused = limits.take(limit, &subject(1)).await.unwrap_err();
        assert_eq!(refused.meaning(), RATE_LIMITED);
        assert!(refused.retry_after_seconds().is_some_and(|seconds| (40..=51).contains(&seconds)));
        assert!(refused.failure().hint.is_some_and(|hint| hint.contains("NEBULA_UPLOADS_PER_MINUTE")));
    }

    #[tokio::test]
    async fn without_a_limit_nobody_is_asked() {
        let database = limits().database;
        let limits = RateLimits::new(database, Maxima::none());
        for limit in [Limit::Registrations, Limit::WrongCodes, Limit::Uploads, Limit::Streams] {
            limits.take(limit, &subject(1)).await.unwrap();
            limits.check(limit, &subject(1)).await.unwrap();
        }
    }

    #[test]
    fn a_flood_from_many_addresses_does_not_grow_memory() {
        let limits = limits();
        let ends = Instant::now() + Duration::from_secs(60);
        for number in 0..2 * MAX_KEPT as u128 + 1 {
            let subject = Subject::everybody(Uuid::from_u128(number));
            limits.keep(Limit::Streams, &subject, Lease { ends, left: None });
        }
        assert!(limits.lock().len() <= MAX_KEPT);
    }

    #[test]
    fn clients_of_one_network_share_their_limit_and_others_have_their_own() {
        let key = |text: &str| Subject::address(text.parse().ok()).key;
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:1::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        let account = Uuid::from_u128(1);
        let (one, other) = (Uuid::from_u128(2), Uuid::from_u128(3));
        assert_ne!(
            Subject::account(account, None).within(one).key,
            Subject::account(account, None).within(other).key
        );
    }
}
