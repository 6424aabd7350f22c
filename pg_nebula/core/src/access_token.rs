//! Access tokens: JSON web tokens (RFC 7519) that are signed with Ed25519 (RFC 8037).
//!
//! The gateway signs them; the extension reads them here and looks up what only the database knows: whether the key
//! is in force, and whether the session or the share that a token names still is.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use serde::Deserialize;
use uuid::Uuid;

/// Audience of a token that acts for an account.
pub const ACCOUNT_AUDIENCE: &str = "nebula";
/// Audience of a token by which a gateway proves that it is one.
pub const GATEWAY_AUDIENCE: &str = "nebula-gateway";

/// Longest token that is read, in bytes. A gateway's tokens have some 400.
const MAX_LENGTH: usize = 4096;

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// It has not the form of a signed token, or not these claims.
    #[error("this is no access token")]
    Malformed,
    /// The signature is not one by the key that the token names.
    #[error("the access token is not signed by the key that it names")]
    Forged,
}

/// The right by which a token acts for its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// A session, as long as it has not ended.
    Session([u8; 16]),
    /// A share link that the account made, as long as it is open.
    Share([u8; 16]),
    /// A personal token of the account, as long as it lasts, and within its scopes.
    Token([u8; 16]),
}

/// The caller that a token names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// An account, by one of its rights.
    Account {
        /// The account.
        account: [u8; 16],
        /// Its right.
        by: Grant,
    },
    /// The gateway itself.
    Gateway,
}

/// The claims of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims {
    /// The key that it says it is signed with.
    pub key: [u8; 16],
    /// The caller.
    pub holder: Holder,
    /// Its end, in seconds since 1970.
    pub expires: u64,
}

/// A token that was read. Nothing in it is true until [`Token::verify`] has said so.
#[derive(Debug)]
pub struct Token<'a> {
    claims: Claims,
    /// Header and payload as they were signed.
    signed: &'a str,
    signature: Signature,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Uuid,
}

#[derive(Deserialize)]
struct Payload {
    aud: String,
    exp: u64,
    sub: Uuid,
    session: Option<Uuid>,
    share: Option<Uuid>,
    token: Option<Uuid>,
}

impl<'a> Token<'a> {
    /// Reads a token without checking its signature.
    ///
    /// # Errors
    /// [`TokenFault::Malformed`].
    pub fn parse(token: &'a str) -> Result<Self, TokenFault> {
        Self::read(token).ok_or(TokenFault::Malformed)
    }

    fn read(token: &'a str) -> Option<Self> {
        if token.len() > MAX_LENGTH {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        let payload: Payload = serde_json::from_slice(&decode(payload)?).ok()?;
        // RFC 9864 names the algorithm Ed25519; EdDSA is the older name.
        if !matches!(header.alg.as_str(), "EdDSA" | "Ed25519") {
            return None;
        }
        let by = match (payload.session, payload.share, payload.token) {
            (None, None, None) => None,
            (Some(session), None, None) => Some(Grant::Session(session.into_bytes())),
            (None, Some(share), None) => Some(Grant::Share(share.into_bytes())),
            (None, None, Some(token)) => Some(Grant::Token(token.into_bytes())),
            _ => return None,
        };
        let holder = match (payload.aud.as_str(), by) {
            (GATEWAY_AUDIENCE, None) => Holder::Gateway,
            (ACCOUNT_AUDIENCE, Some(by)) => Holder::Account { account: payload.sub.into_bytes(), by },
            _ => return None,
        };
        let signature = Signature::from_slice(&decode(signature)?).ok()?;
        let claims = Claims { key: header.kid.into_bytes(), holder, expires: payload.exp };
        Some(Self { claims, signed, signature })
    }

    /// The key that the token says it is signed with.
    #[must_use]
    pub fn key(&self) -> [u8; 16] {
        self.claims.key
    }

    /// The claims, if this public key signed them.
    ///
    /// # Errors
    /// [`TokenFault::Forged`].
    pub fn verify(&self, public_key: &[u8]) -> Result<Claims, TokenFault> {
        let key = <&[u8; 32]>::try_from(public_key).ok().and_then(|key| VerifyingKey::from_bytes(key).ok());
        match key.map(|key| key.verify_strict(self.signed.as_bytes(), &self.signature)) {
            Some(Ok(())) => Ok(self.claims),
            _ => Err(TokenFault::Forged),
        }
    }
}

/// Signs tokens in tests; the extension itself has no signing key.
#[cfg(any(test, feature = "sign"))]
pub mod sign {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ed25519_dalek::{Signer, SigningKey};

    /// The public key that belongs to a secret one.
    #[must_use]
    pub fn public_key(secret: [u8; 32]) -> [u8; 32] {
        SigningKey::from_bytes(&secret).verifying_key().to_bytes()
    }

    /// A token with this header and these claims, both JSON.
    #[must_use]
    pub fn token(secret: [u8; 32], header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = SigningKey::from_bytes(&secret).sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [7; 32];
    const KEY: Uuid = Uuid::from_u128(1);
    const HEADER: &str = r#"{"alg":"EdDSA","typ":"JWT","kid":"00000000-0000-0000-0000-000000000001"}"#;
    const CLAIMS: &str = r#"{"aud":"nebula","exp":9,"sub":"00000000-0000-0000-0000-000000000002",
                             "session":"00000000-0000-0000-0000-000000000003","username":"anna"}"#;

    fn read(header: &str, claims: &str) -> Result<Claims, TokenFault> {
        Token::parse(&sign::token(SECRET, header, claims))?.verify(&sign::public_key(SECRET))
    }

    #[test]
    fn a_signed_token_is_read() {
        let by = Grant::Session(Uuid::from_u128(3).into_bytes());
        let holder = Holder::Account { account: Uuid::from_u128(2).into_bytes(), by };
        assert_eq!(read(HEADER, CLAIMS), Ok(Claims { key: KEY.into_bytes(), holder, expires: 9 }));
        let gateway = CLAIMS.replace("\"nebula\"", "\"nebula-gateway\"").replace("\"session\"", "\"other\"");
        assert_eq!(read(HEADER, &gateway).map(|claims| claims.holder), Ok(Holder::Gateway));
        let share = CLAIMS.replace("\"session\"", "\"share\"");
        assert!(matches!(
            read(HEADER, &share).map(|claims| claims.holder),
            Ok(Holder::Account { by: Grant::Share(_), .. })
        ));
        let token = CLAIMS.replace("\"session\"", "\"token\"");
        assert!(matches!(
            read(HEADER, &token).map(|claims| claims.holder),
            Ok(Holder::Account { by: Grant::Token(_), .. })
        ));
    }

    #[test]
    fn a_token_names_one_right_of_an_account_and_none_of_a_gateway() {
        for claims in [
            CLAIMS.replace("\"session\"", "\"other\""),
            CLAIMS.replace("\"exp\"", "\"share\":\"00000000-0000-0000-0000-000000000004\",\"exp\""),
            CLAIMS.replace("\"exp\"", "\"token\":\"00000000-0000-0000-0000-000000000004\",\"exp\""),
            CLAIMS.replace("\"nebula\"", "\"nebula-gateway\""),
            CLAIMS.replace("\"nebula\"", "\"nebula-link\""),
            CLAIMS.replace("\"aud\"", "\"for\""),
            CLAIMS.replace("\"exp\"", "\"end\""),
            CLAIMS.replace("\"exp\":9", "\"exp\":-9"),
            CLAIMS.replace("\"sub\"", "\"who\""),
        ] {
            assert_eq!(read(HEADER, &claims), Err(TokenFault::Malformed), "{claims}");
        }
    }

    #[test]
    fn other_algorithms_are_refused() {
        for algorithm in ["none", "HS256", "ES256", "eddsa"] {
            let header = HEADER.replace("EdDSA", algorithm);
            assert_eq!(read(&header, CLAIMS), Err(TokenFault::Malformed), "{algorithm}");
        }
    }

    #[test]
    fn every_changed_byte_of_a_token_is_noticed() {
        let token = sign::token(SECRET, HEADER, CLAIMS);
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            let read = Token::parse(&changed).and_then(|token| token.verify(&sign::public_key(SECRET)));
            assert!(read.is_err(), "byte {at}");
        }
        assert_eq!(Token::parse(&token).unwrap().verify(&sign::public_key([8; 32])), Err(TokenFault::Forged));
        assert_eq!(Token::parse(&token).unwrap().verify(b"short"), Err(TokenFault::Forged));
        for text in ["", ".", "..", "a.b.c", &"x".repeat(MAX_LENGTH + 1)] {
            assert_eq!(Token::parse(text).err(), Some(TokenFault::Malformed), "{text}");
        }
    }
}
