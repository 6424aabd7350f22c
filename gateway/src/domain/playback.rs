//! Links that play a file without the header `Authorization`, and the decision what is played by them.

use chrono::{DateTime, Utc};
use nebula_api::playback::{Capabilities, Playback};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::database::file as database;
use crate::database::hls;
use crate::database::playback::{self as playback_database, Record};
use crate::database::proof::{TokenError, now};
use crate::database::{Account, Client, Grant};
use crate::domain::auth::token::Tokens;
use crate::error::{ApiError, NOT_AUTHENTICATED, NOT_FOUND};

pub(crate) mod decision;

use decision::Decided;

/// How long a link plays, in seconds: longer than any film with an interval, and a link found in an old chat
/// is dead.
const LINK_LIFETIME: u64 = 12 * 3600;

/// The rendition of links to the streams of a film.
const HLS: &str = "hls";

/// Claims of a link's token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LinkClaims {
    /// The account that made the link. Its rights are checked at each request, so the link ends with them.
    sub: Uuid,
    file: Uuid,
    rendition: String,
    /// The session that made it, or the share that let its holder in; the link ends with it.
    #[serde(flatten)]
    grant: Grant,
    /// Seconds since 1970.
    exp: u64,
    /// [`LinkClaims::AUDIENCE`].
    aud: String,
}

impl LinkClaims {
    /// Keeps link tokens from passing as access tokens, and the other way round.
    const AUDIENCE: &'static str = "nebula-link";
}

/// A link's token and its end in seconds since 1970.
pub(crate) struct NewLink {
    pub(crate) token: String,
    expires: u64,
    /// Whether the link is to the playlist of the streams; otherwise it is to the bytes of a rendition.
    is_stream: bool,
}

/// Rights that the token of a link gives.
#[derive(Debug, Clone)]
pub(crate) struct Pass {
    /// The account whose rights it has, as long as the session or the share lasts that it came by.
    pub(crate) account: Account,
    pub(crate) rendition: String,
}

impl Pass {
    /// The share that its holder came by.
    pub(crate) fn share_id(&self) -> Option<Uuid> {
        match self.account.grant {
            Grant::Share(share_id) => Some(share_id),
            Grant::Session(_) | Grant::Token(_) => None,
        }
    }
}

/// Makes a link to a rendition, or to the one that plays best. Fails with 404 if the account sees no such
/// file or rendition.
pub(crate) async fn make(
    client: &Client,
    tokens: &Tokens,
    account: &Account,
    file_id: Uuid,
    rendition: Option<String>,
) -> Result<NewLink, ApiError> {
    let look_up = async |kind: &str| database::content(client, account, file_id, Some(kind)).await;
    // The choice is made once and kept in the token. Made at each request, it would switch a player in the
    // middle of the upload to the rendition as soon as that is finished. A link to a missing rendition is
    // refused here.
    let rendition = match rendition {
        Some(kind) if kind == HLS => {
            match hls::playable_variants(client, account, file_id).await?.is_empty() {
                true => {
                    return Err(ApiError::not_found("there is no stream of this file, or not yet")
                        .hint("Wait for its job, or ask for rendition \"original\"."));
                }
                false => kind,
            }
        }
        Some(kind) => look_up(&kind).await.map(|_| kind)?,
        None => match look_up("web").await {
            Ok(_) => "web".to_owned(),
            Err(error) if error.meaning() == NOT_FOUND => {
                look_up("original").await.map(|_| "original".to_owned())?
            }
            Err(error) => return Err(error),
        },
    };
    sign(tokens, account, file_id, rendition, None)
}

/// A link with the rights of an account, which are not checked here. One of a share ends with that, at the second `end`
/// since 1970.
pub(crate) fn sign(
    tokens: &Tokens,
    account: &Account,
    file_id: Uuid,
    rendition: String,
    end: Option<u64>,
) -> Result<NewLink, ApiError> {
    let expires = end.unwrap_or(u64::MAX).min(now() + LINK_LIFETIME);
    let is_stream = rendition == HLS;
    let claims = LinkClaims {
        sub: account.id,
        file: file_id,
        rendition,
        grant: account.grant,
        exp: expires,
        aud: LinkClaims::AUDIENCE.to_owned(),
    };
    Ok(NewLink { token: tokens.sign(&claims)?, expires, is_stream })
}

/// Decides what a client plays, records it, and makes the link. Fails with 404.
pub(crate) async fn choose(
    client: &Client,
    tokens: &Tokens,
    account: &Account,
    file_id: Uuid,
    capabilities: &Capabilities,
    program: Option<&str>,
) -> Result<Playback, ApiError> {
    let source = playback_database::source(client, account, file_id).await?;
    let Decided { decision, rendition, reasons } = decision::decide(&source, capabilities);
    let link = rendition.map(|kind| sign(tokens, account, file_id, kind.to_owned(), None)).transpose()?;
    let names = reasons.iter().map(name).collect::<Result<Vec<_>, _>>()?;
    let record = Record { decision: &name(&decision)?, rendition, reasons: &names, program };
    playback_database::record(client, account, file_id, record).await?;
    Ok(Playback {
        decision,
        rendition: rendition.map(str::to_owned),
        url: link.as_ref().map(|link| path(file_id, link)),
        expires_at: link.map(|link| link.expires_at()).transpose()?,
        reasons,
    })
}

/// The name by which programs know a decision or a reason.
fn name(value: &impl Serialize) -> Result<String, ApiError> {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => Ok(name),
        other => Err(ApiError::internal(&format!("{other:?} is no name"))),
    }
}

impl NewLink {
    pub(crate) fn expires_at(&self) -> Result<DateTime<Utc>, ApiError> {
        let seconds = i64::try_from(self.expires).map_err(|error| ApiError::internal(&error))?;
        DateTime::from_timestamp(seconds, 0)
            .ok_or_else(|| ApiError::internal(&"the clock is beyond what a date can hold"))
    }
}

/// Path and query of a link.
pub(crate) fn path(file_id: Uuid, link: &NewLink) -> String {
    let (place, token) = (if link.is_stream { "hls/master.m3u8" } else { "content" }, &link.token);
    format!("/api/files/{file_id}/{place}?token={token}")
}

/// The rights that a link to this file gives. Fails with 401.
pub(crate) fn open(tokens: &Tokens, token: &str, file_id: Uuid) -> Result<Pass, ApiError> {
    open_form(tokens, token, file_id, false)
}

/// The rights that a link to the streams of this file gives. Fails with 401.
pub(crate) fn open_hls(tokens: &Tokens, token: &str, file_id: Uuid) -> Result<Pass, ApiError> {
    open_form(tokens, token, file_id, true)
}

fn open_form(tokens: &Tokens, token: &str, file_id: Uuid, is_stream: bool) -> Result<Pass, ApiError> {
    let pass = open_any(tokens, token, file_id)?;
    if (pass.rendition == HLS) == is_stream {
        Ok(pass)
    } else {
        Err(refused("this link is to another form of the file"))
    }
}

/// The rights that a link to whatever form of this file gives. Fails with 401.
pub(crate) fn open_any(tokens: &Tokens, token: &str, file_id: Uuid) -> Result<Pass, ApiError> {
    match tokens.open::<LinkClaims>(token, LinkClaims::AUDIENCE) {
        Ok(claims) if claims.file == file_id => {
            let account = tokens.signer().account(claims.sub, claims.grant);
            Ok(Pass { account, rendition: claims.rendition })
        }
        Ok(_) => Err(refused("this link belongs to another file")),
        Err(TokenError::Expired) => Err(refused("this link has expired")),
        Err(TokenError::Invalid) => Err(refused("this link is not valid")),
    }
}

fn refused(sentence: &str) -> ApiError {
    ApiError::new(NOT_AUTHENTICATED, sentence).hint("Make a new one: POST /api/files/{id}/link.")
}
