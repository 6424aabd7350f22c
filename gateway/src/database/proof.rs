//! Proof of the caller: signed tokens, which `nebula.actor` checks in the database.
//!
//! The database does not take the gateway's word for whom a call is made. A statement carries the access token of its
//! account instead of an identifier; the gateway signs a token of its own for what it does for no account.

mod claims;
mod signer;

pub(crate) use claims::{ACCESS_LIFETIME, Claims, Grant, TokenError, now, open_as};
pub(crate) use signer::{Signer, key_id};

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, accepts, to_sql_checked};
use uuid::Uuid;

use self::signer::MARGIN;
use super::origin::{self, Origin};
use super::vault::SECRET;
use crate::error::ApiError;

impl Signer {
    /// An account that acts by a right which this gateway has checked itself.
    pub(crate) fn account(&self, id: Uuid, grant: Grant) -> Account {
        Account { id, grant, token: None, origin: Origin::current(), signer: self.clone() }
    }
}

/// An account that a call acts for. As a value of a statement it is a token, for `nebula.actor`.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) id: Uuid,
    pub(crate) grant: Grant,
    /// The token that the client sent, and its end.
    token: Option<(Arc<str>, u64)>,
    /// The request that the account makes. Its work may go on elsewhere: in a batch, or after the answer.
    origin: Option<Origin>,
    signer: Signer,
}

impl Account {
    /// The account of an access token, which was read by [`Signer::open`]; `None` if that is a share's.
    pub(crate) fn of_token(signer: &Signer, claims: &Claims, token: &str) -> Option<Self> {
        let token = Some((token.into(), claims.exp));
        let origin = Origin::current();
        Some(Self { id: claims.sub, grant: claims.grant?, token, origin, signer: signer.clone() })
    }

    /// `X-Request-Id` of its request.
    pub(crate) fn request_id(&self) -> Option<&str> {
        self.origin.as_ref().map(Origin::request_id)
    }

    /// An account by its personal token, which lasts as long as the database says.
    pub(super) fn of_personal_token(signer: &Signer, id: Uuid, token_id: Uuid, token: &str) -> Self {
        let token = Some((token.into(), u64::MAX));
        let origin = Origin::current();
        Self { id, grant: Grant::Token(token_id), token, origin, signer: signer.clone() }
    }

    fn proof(&self) -> Result<Arc<str>, jsonwebtoken::errors::Error> {
        match &self.token {
            Some((token, exp)) if *exp > now() + MARGIN => Ok(Arc::clone(token)),
            // Long work, such as an upload, outlives the token that it began with, but not its session.
            _ => self.signer.own_token(Some((self.id, self.grant))),
        }
    }
}

/// Without the token, which must not get into a log.
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("id", &self.id).field("grant", &self.grant).finish_non_exhaustive()
    }
}

impl ToSql for Account {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        origin::write(&self.proof()?, self.origin.as_ref(), ty, out)
    }

    accepts!(TEXT);
    to_sql_checked!();
}

/// The gateway, for calls that act for no account. Null in commands of administrators, who need no proof.
#[derive(Debug, Clone)]
pub(crate) struct Gateway(pub(super) Option<Signer>);

impl Gateway {
    /// Seals the secret of a node.
    pub(super) fn seal(&self, node_id: Uuid, secret: &[u8]) -> Result<Vec<u8>, ApiError> {
        self.signer()?.nodes().seal(node_id, secret)
    }

    /// Opens the secret of a node. One that is not sealed yet is as long as a secret.
    pub(super) fn open(&self, node_id: Uuid, kept: Vec<u8>) -> Result<Vec<u8>, ApiError> {
        if kept.len() == SECRET {
            return Ok(kept);
        }
        self.signer()?.nodes().open(node_id, &kept).ok_or_else(|| {
            ApiError::internal(&format!(
                "a secret of node {node_id} was not sealed with this NEBULA_TOKEN_KEY; make another: \
                 nebulactl node secret make"
            ))
        })
    }

    /// Seals the secret of an account's authenticator.
    pub(super) fn seal_totp(&self, account_id: Uuid, secret: &[u8]) -> Result<Vec<u8>, ApiError> {
        self.signer()?.second_factors().seal(account_id, secret)
    }

    /// Opens the secret of an account's authenticator.
    pub(super) fn open_totp(&self, account_id: Uuid, kept: &[u8]) -> Result<Vec<u8>, ApiError> {
        self.signer()?.second_factors().open(account_id, kept).ok_or_else(|| {
            ApiError::internal(&format!(
                "the authenticator of account {account_id} was not sealed with this NEBULA_TOKEN_KEY; take it away \
                 in psql: SELECT nebula.remove_totp('name')"
            ))
        })
    }

    fn signer(&self) -> Result<&Signer, ApiError> {
        self.0.as_ref().ok_or_else(|| ApiError::internal(&"a command has no key that seals"))
    }
}

impl ToSql for Gateway {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match &self.0 {
            Some(signer) => origin::write(&signer.own_token(None)?, Origin::current().as_ref(), ty, out),
            None => Ok(IsNull::Yes),
        }
    }

    accepts!(TEXT);
    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer::new(&[7; 32]).unwrap()
    }

    fn sent(value: &impl ToSql) -> String {
        let mut out = BytesMut::new();
        value.to_sql(&Type::TEXT, &mut out).unwrap();
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn an_access_token_is_read_back_by_its_signer_only() {
        let (account, session) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let token = signer().access_token(account, session, ("anna", "member")).unwrap();
        let claims = signer().open(&token).unwrap();
        assert_eq!((claims.sub, claims.grant), (account, Some(Grant::Session(session))));
        assert_eq!((claims.username.as_str(), claims.role.as_str()), ("anna", "member"));
        assert_eq!(Signer::new(&[8; 32]).unwrap().open(&token), Err(TokenError::Invalid));
        assert_eq!(signer().open(""), Err(TokenError::Invalid));
    }

    #[test]
    fn expired_tokens_and_those_of_the_gateway_itself_sign_nobody_in() {
        let claims = Claims {
            sub: Uuid::nil(),
            grant: None,
            username: String::new(),
            role: String::new(),
            iat: 0,
            exp: now() - 1,
            aud: Claims::ACCOUNT.into(),
        };
        assert_eq!(signer().open(&signer().sign(&claims).unwrap()), Err(TokenError::Expired));
        assert_eq!(signer().open(&sent(&Gateway(Some(signer())))), Err(TokenError::Invalid));
    }

    #[test]
    fn an_account_sends_the_token_that_it_came_with_until_that_is_about_to_end() {
        let signer = signer();
        let token = signer.access_token(Uuid::from_u128(1), Uuid::from_u128(2), ("anna", "member")).unwrap();
        let mut claims = signer.open(&token).unwrap();
        assert_eq!(sent(&Account::of_token(&signer, &claims, &token).unwrap()), token);
        claims.exp = now() + MARGIN;
        let renewed = sent(&Account::of_token(&signer, &claims, &token).unwrap());
        assert_ne!(renewed, token);
        let renewed = signer.open(&renewed).unwrap();
        assert_eq!((renewed.sub, renewed.grant), (claims.sub, claims.grant));
    }

    #[test]
    fn tokens_of_the_gateways_own_calls_are_made_once() {
        let signer = signer();
        let account = signer.account(Uuid::from_u128(1), Grant::Share(Uuid::from_u128(2)));
        assert_eq!(sent(&account), sent(&account.clone()));
        assert_ne!(
            sent(&account),
            sent(&signer.account(Uuid::from_u128(1), Grant::Share(Uuid::from_u128(3))))
        );
    }

    #[test]
    fn secrets_of_nodes_from_before_they_were_sealed_are_taken_as_they_are() {
        let gateway = Gateway(Some(signer()));
        let secret = vec![7; SECRET];
        assert_eq!(gateway.open(Uuid::nil(), secret.clone()).unwrap(), secret);
        let sealed = gateway.seal(Uuid::nil(), &secret).unwrap();
        assert_eq!(gateway.open(Uuid::nil(), sealed).unwrap(), secret);
        assert!(gateway.open_totp(Uuid::nil(), &secret).is_err());
    }

    #[test]
    fn no_token_and_no_key_is_shown() {
        let signer = signer();
        let account = signer.account(Uuid::from_u128(1), Grant::Share(Uuid::from_u128(2)));
        let shown = format!("{account:?} {signer:?}");
        assert!(!shown.contains(&sent(&account)), "{shown}");
    }
}
