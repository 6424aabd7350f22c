//! The limits: how much of what in which time.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::database::rate_window::Rate;

const MINUTE: Duration = Duration::from_secs(60);
/// Window of guesses: codes, links and passwords.
const GUESS_WINDOW: Duration = Duration::from_secs(600);
/// Parts of a limit that a gateway sets aside at a time.
const SHARES: u32 = 8;

/// Unknown share links that one client may ask for.
const MAX_LINKS: u32 = 20;
/// Passwords of one share that one client, and all of them together, may try.
const MAX_PASSWORDS: u32 = 10;
const MAX_PASSWORDS_OF_ALL: u32 = 200;

/// Something whose rate is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Limit {
    /// Devices that an account registers in a project.
    Registrations,
    /// Enrolment codes that are none.
    WrongCodes,
    /// Uploads that begin.
    Uploads,
    /// Files and live events that begin to be sent.
    Streams,
    /// Tokens of share links that are none.
    WrongLinks,
    /// Passwords of a share link.
    SharePasswords,
    /// The same of all clients together.
    SharePasswordsOfAll,
}

impl Limit {
    /// The setting that changes it.
    pub(super) fn setting(self) -> Option<&'static str> {
        match self {
            Self::Registrations => Some("NEBULA_REGISTRATIONS_PER_MINUTE"),
            Self::WrongCodes => Some("NEBULA_WRONG_CODES"),
            Self::Uploads => Some("NEBULA_UPLOADS_PER_MINUTE"),
            Self::Streams => Some("NEBULA_STREAMS_PER_MINUTE"),
            Self::WrongLinks | Self::SharePasswords | Self::SharePasswordsOfAll => None,
        }
    }

    /// The calls that are counted, in the plural.
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::Registrations => "devices that an account registers in a project",
            Self::WrongCodes => "wrong enrolment codes from an address",
            Self::Uploads => "uploads that an account or an address begins",
            Self::Streams => "files and streams that an account or an address begins",
            Self::WrongLinks => "links that do not exist, asked for from an address,",
            Self::SharePasswords | Self::SharePasswordsOfAll => "passwords of a link",
        }
    }

    /// How much a gateway sets aside at a time. Guesses are few, and each counts for all gateways at once.
    pub(super) fn share(self, max: u32) -> i32 {
        match self {
            Self::Registrations | Self::Uploads | Self::Streams => {
                i32::try_from(max.div_ceil(SHARES)).unwrap_or(i32::MAX)
            }
            Self::WrongCodes | Self::WrongLinks | Self::SharePasswords | Self::SharePasswordsOfAll => 1,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Registrations => "registrations",
            Self::WrongCodes => "wrong codes",
            Self::Uploads => "uploads",
            Self::Streams => "streams",
            Self::WrongLinks => "wrong links",
            Self::SharePasswords => "share passwords",
            Self::SharePasswordsOfAll => "share passwords of all",
        }
    }

    fn window(self) -> Duration {
        match self {
            Self::Registrations | Self::Uploads | Self::Streams => MINUTE,
            Self::WrongCodes | Self::WrongLinks | Self::SharePasswords | Self::SharePasswordsOfAll => {
                GUESS_WINDOW
            }
        }
    }
}

/// The limits that are settings; `None`: none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Maxima {
    pub(crate) registrations: Option<NonZeroU32>,
    pub(crate) wrong_codes: Option<NonZeroU32>,
    pub(crate) uploads: Option<NonZeroU32>,
    pub(crate) streams: Option<NonZeroU32>,
}

impl Maxima {
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { registrations: None, wrong_codes: None, uploads: None, streams: None }
    }

    /// The limit as a rate; `None`: it is not limited.
    pub(super) fn rate(self, limit: Limit) -> Option<Rate> {
        let max = match limit {
            Limit::Registrations => self.registrations?.get(),
            Limit::WrongCodes => self.wrong_codes?.get(),
            Limit::Uploads => self.uploads?.get(),
            Limit::Streams => self.streams?.get(),
            Limit::WrongLinks => MAX_LINKS,
            Limit::SharePasswords => MAX_PASSWORDS,
            Limit::SharePasswordsOfAll => MAX_PASSWORDS_OF_ALL,
        };
        Some(Rate { name: limit.name(), max, window: limit.window() })
    }
}

/// Those of the settings.
#[cfg(test)]
impl Default for Maxima {
    fn default() -> Self {
        let max = NonZeroU32::new(10);
        Self { registrations: max, wrong_codes: max, uploads: max, streams: max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_sets_an_eighth_of_a_limit_aside_and_guesses_one_by_one() {
        assert_eq!(Limit::Registrations.share(30), 4);
        assert_eq!(Limit::Uploads.share(1), 1);
        assert_eq!(Limit::WrongCodes.share(20), 1);
        assert_eq!(Limit::SharePasswordsOfAll.share(200), 1);
    }
}
