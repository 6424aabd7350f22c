//! Invitations: the link that carries a code, and what it is used for.

use std::net::IpAddr;

use nebula_api::invitation::{AcceptInvitation, OpenInvitation};
use uuid::Uuid;

use super::auth::common_password;
use super::auth::password::{self, Passwords};
use super::enrolment::code_hash;
use crate::database::{Account, Database, GenericClient, invitation as database};
use crate::domain::rate_limit::{Limit, RateLimits, Subject};
use crate::error::ApiError;

/// The page on which a person accepts. The code is behind `#`, so that no server and no log on the way sees it.
pub(crate) fn link(server: &str, code: &str) -> String {
    format!("{server}/invite#{code}")
}

/// A person who holds a code, and the limits on guessing one.
pub(crate) struct Visitor<'a> {
    pub(crate) limits: &'a RateLimits,
    pub(crate) address: Option<IpAddr>,
}

impl Visitor<'_> {
    /// The invitation behind a code. Fails with 404 no open invitation, and 429 after too many of those.
    pub(crate) async fn find(
        &self,
        client: &impl GenericClient,
        code: &str,
    ) -> Result<OpenInvitation, ApiError> {
        // Codes are guessed as links of shares are, and count with them.
        let caller = Subject::address(self.address);
        self.limits.check(Limit::WrongLinks, &caller).await?;
        let found = database::find(client, &code_hash(code)).await;
        if found.as_ref().is_err_and(ApiError::is_not_found) {
            self.limits.take(Limit::WrongLinks, &caller).await?;
        }
        found
    }

    /// Makes the account that a code invites. Fails as [`Self::find`], with 409 if the name is taken, and 400.
    pub(crate) async fn accept(
        &self,
        connections: &Database,
        passwords: &Passwords,
        given: AcceptInvitation,
    ) -> Result<Uuid, ApiError> {
        password::check_new(&given.password)?;
        common_password::refuse(&given.password, &[&given.username])?;
        // Before the hash, whose work is only for those who hold a code.
        self.find(&connections.client().await?, &given.code).await?;
        let hash = passwords.hash(given.password).await?;
        let username = given.username.trim().to_lowercase();
        let client = connections.client().await?;
        database::accept(&client, &code_hash(&given.code), (&username, &hash), self.address).await
    }

    /// Makes an account a member of the project that a code invites to. Fails as [`Self::find`], and with 409.
    pub(crate) async fn join(
        &self,
        client: &impl GenericClient,
        actor: &Account,
        code: &str,
    ) -> Result<Uuid, ApiError> {
        self.find(client, code).await?;
        database::join(client, actor, &code_hash(code), self.address).await
    }
}
