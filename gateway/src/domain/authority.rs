//! Certificate authorities: this process reads their keys and never gives them away. The database says which
//! of them signs for a project and which its devices trust.

mod attempt;
pub(crate) mod expiry;
mod key_form;
mod keyring;
mod keyring_error;
mod project_authority;
mod signer;

pub(crate) use key_form::AuthorityFolder;
pub(crate) use keyring::{KeySource, Keyring, MISSING_KEY_HINT};
pub(crate) use signer::{Authority, Subject, day};
