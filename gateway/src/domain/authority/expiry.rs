//! Authorities that end soon: after that, devices can neither join nor renew.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::signer::day;
use crate::database::Database;
use crate::database::authority::{self, SigningAuthority};
use crate::error::ApiError;

/// How often warnings are recorded and logged.
const INTERVAL: Duration = Duration::from_secs(3600);
/// A database that does not answer is asked again sooner.
const RETRY: Duration = Duration::from_secs(30);
/// From here on an authority needs a successor: devices have to trust it before it takes over.
const WARNING_DAYS: f64 = 30.0;
const DAY: f64 = 86_400.0;

/// The remedy for all that is said here.
pub(crate) const HINT: &str =
    "Make its successor (nebulactl ca create) and rotate to it (nebulactl ca rotate).";

/// How long the authorities last that projects sign with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// Until a day that is far off, or there are none yet.
    Distant,
    /// In words.
    Soon(String),
    /// In words.
    Over(String),
}

impl Expiry {
    /// Of the authority that ends first; `signing` is in the order of their ends.
    pub(crate) fn of(signing: &[SigningAuthority]) -> Self {
        let Some(first) = signing.first() else { return Self::Distant };
        let SigningAuthority { name, not_after, seconds_left, projects, .. } = first;
        let until = day(not_after.timestamp());
        let whose = if *projects == 1 { "a project".to_owned() } else { format!("{projects} projects") };
        if first.has_ended() {
            return Self::Over(format!(
                "{name:?} expired on {until}: devices of {whose} can neither join nor renew"
            ));
        }
        if *seconds_left < WARNING_DAYS * DAY {
            let days = (seconds_left / DAY).floor();
            return Self::Soon(format!("{name:?}, which signs for {whose}, ends on {until}, in {days} days"));
        }
        Self::Distant
    }
}

/// Records and logs which authorities end soon, now and every hour until `stopping` is cancelled.
pub(crate) fn start_warning(database: Database, stopping: CancellationToken) {
    let warning = async move {
        loop {
            let pause = match warn(&database).await {
                Ok(()) => INTERVAL,
                Err(error) => {
                    tracing::debug!(%error, "authorities cannot be looked at just now");
                    RETRY
                }
            };
            tokio::time::sleep(pause).await;
        }
    };
    tokio::spawn(async move { stopping.run_until_cancelled(warning).await });
}

async fn warn(database: &Database) -> Result<(), ApiError> {
    let client = database.client().await?;
    for one in authority::signing(&client).await? {
        match Expiry::of(&[one]) {
            Expiry::Distant => {}
            Expiry::Soon(problem) => tracing::warn!(problem, hint = HINT, "an authority ends soon"),
            Expiry::Over(problem) => tracing::error!(problem, hint = HINT, "an authority has ended"),
        }
    }
    authority::record_ending(&client).await
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, Utc};

    use super::*;

    #[test]
    fn the_authority_that_ends_first_decides_and_its_end_is_named_a_month_before() {
        let one = |days: i64| SigningAuthority {
            fingerprint: "ab".into(),
            name: "home".into(),
            not_after: Utc::now() + TimeDelta::days(days),
            seconds_left: days as f64 * DAY,
            projects: 2,
        };
        assert_eq!(Expiry::of(&[]), Expiry::Distant);
        assert_eq!(Expiry::of(&[one(31)]), Expiry::Distant);
        assert!(
            matches!(Expiry::of(&[one(1), one(100)]), Expiry::Soon(words) if words.contains("in 1 days"))
        );
        assert!(matches!(Expiry::of(&[one(-1)]), Expiry::Over(words) if words.contains("2 projects")));
    }
}
