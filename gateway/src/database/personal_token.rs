//! Personal tokens. The database sees only their hashes, and in each call of a program the token itself.

use std::net::IpAddr;

use nebula_api::personal_token::PersonalToken;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::proof::{Account, Signer};
use super::query::{GenericClient, map_rows, query, query_one, query_opt};
use crate::error::{ApiError, NOT_AUTHENTICATED};

/// A token that is to be made.
pub(crate) struct NewToken<'a> {
    pub(crate) name: String,
    pub(crate) hash: &'a [u8],
    pub(crate) scopes: Vec<String>,
    pub(crate) days: u32,
    pub(crate) address: Option<IpAddr>,
}

/// The account that a token acts for.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    pub(crate) token_id: Uuid,
    pub(crate) account_id: Uuid,
    pub(crate) username: String,
    /// `admin` or `member`, when the token was looked up.
    pub(crate) role: String,
}

/// Keeps the hash of a new token. Fails with 400, 403 a scope above the role of the account, 409 name taken.
pub(crate) async fn create(
    client: &impl GenericClient,
    actor: &Account,
    new: NewToken<'_>,
) -> Result<PersonalToken, ApiError> {
    let sql = "SELECT * FROM nebula.create_personal_token(nebula.actor($1), $2, $3, $4, make_interval(days => $5), $6)";
    let days = i32::try_from(new.days).unwrap_or(i32::MAX);
    let values: [&(dyn ToSql + Sync); 6] = [&actor, &new.name, &new.hash, &new.scopes, &days, &new.address];
    let row = query_one(client, sql, &values).await?;
    Ok(PersonalToken {
        token_id: row.try_get("token_id")?,
        name: new.name,
        scopes: new.scopes,
        actions: row.try_get("actions")?,
        made_at: row.try_get("made_at")?,
        expires_at: row.try_get("expires_at")?,
        last_used_at: None,
        last_used_from: None,
    })
}

/// Tokens of the account itself or, for operators, of another one, newest first. Fails with 403.
pub(crate) async fn list(
    client: &impl GenericClient,
    actor: &Account,
    account_id: Option<Uuid>,
) -> Result<Vec<PersonalToken>, ApiError> {
    let sql = "SELECT * FROM nebula.list_personal_tokens(nebula.actor($1), $2)";
    let rows = query(client, sql, &[&actor, &account_id]).await?;
    map_rows(&rows, |row| {
        Ok(PersonalToken {
            token_id: row.try_get("token_id")?,
            name: row.try_get("name")?,
            scopes: row.try_get("scopes")?,
            actions: row.try_get("actions")?,
            made_at: row.try_get("made_at")?,
            expires_at: row.try_get("expires_at")?,
            last_used_at: row.try_get("last_used_at")?,
            last_used_from: row.try_get("last_used_from")?,
        })
    })
}

/// Ends a token at once. Fails with 404 none in sight.
pub(crate) async fn end(
    client: &impl GenericClient,
    actor: &Account,
    token_id: Uuid,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.end_personal_token(nebula.actor($1), $2, $3)";
    query(client, sql, &[&actor, &token_id, &address]).await.map(drop)
}

/// The account of a token, whose use is noted. Fails with 401.
pub(crate) async fn holder(
    client: &impl GenericClient,
    signer: &Signer,
    token: &str,
    hash: &[u8],
    address: Option<IpAddr>,
) -> Result<Holder, ApiError> {
    // The account is what the answer says; until then only the token counts.
    let unknown = Account::of_personal_token(signer, Uuid::nil(), Uuid::nil(), token);
    let sql = "SELECT token_id, account_id, username, role FROM nebula.use_personal_token(nebula.actor($1), $2, $3)";
    let row = query_opt(client, sql, &[&unknown, &hash, &address]).await?;
    // The token was valid when nebula.actor read it, and had ended when use_personal_token did.
    let row = row.ok_or_else(|| ApiError::new(NOT_AUTHENTICATED, "the personal token has ended"))?;
    Ok(Holder {
        token_id: row.try_get(0)?,
        account_id: row.try_get(1)?,
        username: row.try_get(2)?,
        role: row.try_get(3)?,
    })
}

impl Account {
    /// The account that a personal token acts for, by that token.
    pub(crate) fn of_holder(signer: &Signer, holder: &Holder, token: &str) -> Self {
        Self::of_personal_token(signer, holder.account_id, holder.token_id, token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Grant;

    #[test]
    fn a_personal_token_is_sent_as_it_is_and_signed_for_links_by_its_identifier() {
        let signer = Signer::new(&[7; 32]).unwrap();
        let (account_id, token_id) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let account = Account::of_personal_token(&signer, account_id, token_id, "nebula_pat_x");
        assert_eq!(account.grant, Grant::Token(token_id));
        assert_eq!(account.id, account_id);
        assert!(!format!("{account:?}").contains("nebula_pat_x"));
    }
}
