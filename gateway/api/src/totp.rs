//! The second factor of the caller's account: time-based one-time codes (TOTP, RFC 6238). `/api/account/totp`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Answer of `GET /api/account/totp`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TotpState {
    /// Whether signing in needs a code.
    pub enabled: bool,
    /// Recovery codes that are left.
    pub recovery_codes: i32,
}

/// Body of `POST /api/account/totp` and `POST /api/account/totp/end`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TotpRequest {
    /// Password of the account: whoever finds an open session must not change how to sign in.
    pub password: String,
}

/// Answer of `POST /api/account/totp`, for an authenticator.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NewTotp {
    /// The secret, in base32, to type it.
    pub secret: String,
    /// `otpauth://totp/…`, the content of the QR code.
    pub url: String,
    /// PNG of the QR code, in base64.
    pub qr_png: String,
}

/// Body of `PUT /api/account/totp`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TotpCode {
    /// The six digits that the authenticator shows.
    pub code: String,
}

/// Answer of `PUT /api/account/totp`: the only one that has the recovery codes.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RecoveryCodes {
    /// Codes that are good once each, for the loss of the authenticator.
    pub recovery_codes: Vec<String>,
}

// Secrets must not reach a log through a stray `{:?}`.
macro_rules! without_content {
    ($($name:ident),*) => {
        $(impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        })*
    };
}
without_content!(TotpRequest, NewTotp, TotpCode, RecoveryCodes);
