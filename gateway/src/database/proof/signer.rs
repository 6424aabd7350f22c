//! The key that signs access tokens, and the tokens that it has signed and read.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode};
use openssl::pkey::{Id, PKey};
use openssl::sha::sha256;
use uuid::Uuid;

use super::claims::{ACCESS_LIFETIME, Claims, Grant, TokenError, now, open_as};
use crate::database::derived_key::{Purpose, derive};
use crate::database::vault::Vault;

/// Lifetime of a token that never leaves the gateway and the database.
const OWN_LIFETIME: u64 = 5 * 60;
/// A token that ends sooner is replaced before it is sent: a transaction may take that long.
pub(super) const MARGIN: u64 = 60;
/// Tokens that are kept: accounts that are active at the same time.
const MAX_KEPT: usize = 4096;

/// Holder of a token that this gateway signs for its own calls; `None` is the gateway itself.
pub(super) type Holder = Option<(Uuid, Grant)>;

/// Signs access tokens with Ed25519. Clones share the key and the tokens that were made; the key never leaves them.
#[derive(Clone)]
pub(crate) struct Signer(Arc<Inner>);

struct Inner {
    sign: EncodingKey,
    check: DecodingKey,
    public_key: [u8; 32],
    header: Header,
    nodes: Vault,
    second_factors: Vault,
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
            nodes: Vault::new(token_key, Purpose::NodeSecrets)?,
            second_factors: Vault::new(token_key, Purpose::SecondFactors)?,
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

    /// Seals secrets of nodes with a key that is derived from the same setting.
    pub(super) fn nodes(&self) -> &Vault {
        &self.0.nodes
    }

    /// Seals secrets of authenticators, likewise.
    pub(super) fn second_factors(&self) -> &Vault {
        &self.0.second_factors
    }

    /// A token for a call of the gateway; the one made before, as long as it lasts.
    pub(super) fn own_token(&self, holder: Holder) -> Result<Arc<str>, jsonwebtoken::errors::Error> {
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

    pub(super) fn sign(&self, claims: &Claims) -> Result<String, jsonwebtoken::errors::Error> {
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
