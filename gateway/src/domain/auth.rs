//! Signing in: passwords, and two tokens; and the tokens of programs, which do not sign in.
//!
//! A short access token (JWT, 15 minutes) is checked without the database; a long refresh token (30 days) is
//! random, known to the database by hash only, and good for one exchange.

pub(crate) mod common_password;
pub(crate) mod password;
pub(crate) mod personal_token;
pub(crate) mod session;
pub(crate) mod token;
pub(crate) mod totp;
