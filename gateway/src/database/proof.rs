//! Proof of the caller: signed tokens, which `nebula.actor` checks in the database.
//!
//! The database does not take the gateway's word for whom a call is made. A statement carries the access token of its
//! account instead of an identifier; the gateway signs a token of its own for what it does for no account.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use openssl::pkey::{Id, PKey};
use openssl::sha::sha256;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, accepts, to_sql_checked};
use uuid::Uuid;

use super::derived_key::{Purpose, derive};
use super::vault::Vault;
use crate::error::ApiError;

/// Lifetime of an access token; a client exchanges its refresh token then.
pub(crate) const ACCESS_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// Lifetime of a token that never leaves the gateway and the database.
const OWN_LIFETIME: u64 = 5 * 60;
/// A token that ends sooner is replaced before it is sent: a transaction may take that long.
const MARGIN: u64 = 60;
/// Tokens that are kept: accounts that are active at the same time.
const MAX_KEPT: usize = 4096;

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The right by which a token acts for its account; the database refuses the token once the right has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Grant {
    Session(Uuid),
    /// A share link that the account made.
    Share(Uuid),
}

/// Claims of a token, as the database reads them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// The account; the nil identifier for the gateway.
    pub(crate) sub: Uuid,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) grant: Option<Grant>,
    /// For display, never for a decision.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) username: String,
    /// `admin` or `member`, as of the token; for display, never for a decision.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) role: String,
    /// Seconds since 1970.
    pub(crate) iat: u64,
    /// Seconds since 1970.
    pub(crate) exp: u64,
    pub(crate) aud: String,
}

impl Claims {
    /// Audience of a token of an account.
    pub(crate) const ACCOUNT: &'static str = "nebula";
    /// Audience of a token of the gateway itself.
    const GATEWAY: &'static str = "nebula-gateway";
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenError {
    Expired,
    /// Wrong key, wrong algorithm, wrong audience, or no token at all.
    Invalid,
}

/// Holder of a token that this gateway signs for its own calls; `None` is the gateway itself.
type Holder = Option<(Uuid, Grant)>;

/// Signs access tokens with Ed25519. Clones share the key and the tokens that were made; the key never leaves them.
#[derive(Clone)]
pub(crate) struct Signer(Arc<Inner>);

struct Inner {
    sign: EncodingKey,
    check: DecodingKey,
    public_key: [u8; 32],
    header: Header,
    vault: Vault,
    kept: Mutex<HashMap<Holder, (Arc<str>, u64)>>,
    /// Tokens of clients whose signature is good: a client sends one for a quarter of an hour.
    opened: Mutex<HashMap<Box<str>, Claims>>,
}

/// The key cannot be derived; OpenSSL says why.
#[derive(Debug, thiserror::Error)]
#[error("NEBULA_TOKEN_KEY gives no signing key: {0}")]
pub(crate) struct KeyError(#[from] openssl::error::ErrorStack);

impl Signer {
    /// Derives the signing key from NEBULA_TOKEN_KEY.
    pub(crate) fn new(token_key: &[u8]) -> Result<Self, KeyError> {
        let seed = derive(token_key, Purpose::AccessTokens)?;
        let key = PKey::private_key_from_raw_bytes(&seed, Id::ED25519)?;
        let public = key.raw_public_key()?;
        let mut public_key = [0; 32];
        public_key.copy_from_slice(&public);
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(key_id(&public_key).to_string());
        Ok(Self(Arc::new(Inner {
            sign: EncodingKey::from_ed_der(&key.private_key_to_pkcs8()?),
            check: DecodingKey::from_ed_der(&public_key),
            public_key,
            header,
            vault: Vault::new(token_key)?,
            kept: Mutex::default(),
            opened: Mutex::default(),
        })))
    }

    /// The key that verifies these tokens: `nebula.token_key`.
    pub(crate) fn public_key(&self) -> &[u8; 32] {
        &self.0.public_key
    }

    /// Signs the access token of a session.
    pub(crate) fn access_token(
        &self,
        account: Uuid,
        session: Uuid,
        (username, role): (&str, &str),
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let iat = now();
        self.sign(&Claims {
            sub: account,
            grant: Some(Grant::Session(session)),
            username: username.to_owned(),
            role: role.to_owned(),
            iat,
            exp: iat + ACCESS_LIFETIME.as_secs(),
            aud: Claims::ACCOUNT.to_owned(),
        })
    }

    /// Reads an access token that has not expired. Only EdDSA is accepted, whatever its header says.
    pub(crate) fn open(&self, token: &str) -> Result<Claims, TokenError> {
        let lock = || self.0.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(token).cloned();
        match known {
            Some(claims) if claims.exp <= now() => Err(TokenError::Expired),
            Some(claims) => Ok(claims),
            None => {
                let claims: Claims = open_as(token, &self.0.check, Algorithm::EdDSA, Claims::ACCOUNT)?;
                let mut opened = lock();
                if opened.len() >= MAX_KEPT {
                    opened.clear();
                }
                opened.insert(token.into(), claims.clone());
                Ok(claims)
            }
        }
    }

    /// An account that acts by a right which this gateway has checked itself.
    pub(crate) fn account(&self, id: Uuid, grant: Grant) -> Account {
        Account { id, grant, token: None, signer: self.clone() }
    }

    /// A token for a call of the gateway; the one made before, as long as it lasts.
    fn own_token(&self, holder: Holder) -> Result<Arc<str>, jsonwebtoken::errors::Error> {
        let iat = now();
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((token, exp)) = kept.get(&holder)
            && *exp > iat + MARGIN
        {
            return Ok(Arc::clone(token));
        }
        let exp = iat + OWN_LIFETIME;
        let aud = if holder.is_some() { Claims::ACCOUNT } else { Claims::GATEWAY };
        let token: Arc<str> = self
            .sign(&Claims {
                sub: holder.map_or(Uuid::nil(), |(account, _)| account),
                grant: holder.map(|(_, grant)| grant),
                username: String::new(),
                role: String::new(),
                iat,
                exp,
                aud: aud.to_owned(),
            })?
            .into();
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(holder, (Arc::clone(&token), exp));
        Ok(token)
    }

    fn sign(&self, claims: &Claims) -> Result<String, jsonwebtoken::errors::Error> {
        encode(&self.0.header, claims, &self.0.sign)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

/// Name of a public key in a token: the first 16 bytes of its SHA-256.
pub(crate) fn key_id(public_key: &[u8; 32]) -> Uuid {
    let mut id = [0; 16];
    id.copy_from_slice(&sha256(public_key)[..16]);
    Uuid::from_bytes(id)
}

/// Reads a token of this audience, signed with this algorithm, that has not expired.
pub(crate) fn open_as<C: DeserializeOwned + Clone>(
    token: &str,
    key: &DecodingKey,
    algorithm: Algorithm,
    audience: &str,
) -> Result<C, TokenError> {
    let mut rules = Validation::new(algorithm);
    rules.leeway = 0;
    rules.set_audience(&[audience]);
    // Without this a token that has no audience at all would pass.
    rules.set_required_spec_claims(&["exp", "aud"]);
    match decode::<C>(token, key, &rules) {
        Ok(token) => Ok(token.claims),
        Err(error) if matches!(error.kind(), ErrorKind::ExpiredSignature) => Err(TokenError::Expired),
        Err(_) => Err(TokenError::Invalid),
    }
}

/// An account that a call acts for. As a value of a statement it is a token, for `nebula.actor`.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) id: Uuid,
    pub(crate) grant: Grant,
    /// The token that the client sent, and its end.
    token: Option<(Arc<str>, u64)>,
    signer: Signer,
}

impl Account {
    /// The account of an access token, which was read by [`Signer::open`]; `None` if that is a share's.
    pub(crate) fn of_token(signer: &Signer, claims: &Claims, token: &str) -> Option<Self> {
        let token = Some((token.into(), claims.exp));
        Some(Self { id: claims.sub, grant: claims.grant?, token, signer: signer.clone() })
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
        (&*self.proof()?).to_sql(ty, out)
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
        self.vault()?.seal(node_id, secret)
    }

    /// Opens the secret of a node.
    pub(super) fn open(&self, node_id: Uuid, kept: Vec<u8>) -> Result<Vec<u8>, ApiError> {
        self.vault()?.open(node_id, kept)
    }

    fn vault(&self) -> Result<&Vault, ApiError> {
        let signer = self.0.as_ref().ok_or_else(|| ApiError::internal(&"a command has no key that seals"))?;
        Ok(&signer.0.vault)
    }
}

impl ToSql for Gateway {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match &self.0 {
            Some(signer) => (&*signer.own_token(None)?).to_sql(ty, out),
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
    fn no_token_and_no_key_is_shown() {
        let signer = signer();
        let account = signer.account(Uuid::from_u128(1), Grant::Share(Uuid::from_u128(2)));
        let shown = format!("{account:?} {signer:?}");
        assert!(!shown.contains(&sent(&account)), "{shown}");
    }
}
