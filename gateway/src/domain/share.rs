//! Share links: a page that anybody with the link, and its password if it has one, may open.
//!
//! A visitor who is let in gets passes: tokens of the kind that links of accounts have, which name the share. Each
//! request with a pass asks the database whether the share is still open, so that its end ends its streams.

use std::net::IpAddr;

use nebula_api::share::{MadeShare, NewShare, OpenShare, SharedFile, SharedPath};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::database::share::{self as database, FoundShare, NewLink};
use crate::database::{Client, Database, file, hls};
use crate::domain::auth::password::Passwords;
use crate::domain::auth::session::random_token;
use crate::domain::auth::token::Tokens;
use crate::domain::playback::{self, Pass};
use crate::error::{ApiError, GONE, NOT_AUTHENTICATED, NOT_FOUND};
use crate::infra::rate_limit::ShareGuesses;

/// Characters of a password at most: hashing takes time that grows with it.
const MAX_PASSWORD: usize = 500;

/// Services that decide about visitors.
pub(crate) struct Door<'a> {
    pub(crate) database: &'a Database,
    pub(crate) tokens: &'a Tokens,
    pub(crate) passwords: &'a Passwords,
    pub(crate) guesses: &'a ShareGuesses,
}

/// Makes a link; only its holders know the token from here on.
pub(crate) async fn create(
    database: &Database,
    passwords: &Passwords,
    actor: Uuid,
    new: NewShare,
    address: Option<IpAddr>,
) -> Result<MadeShare, ApiError> {
    let NewShare { file_id, expires_at, password, allows_download, note } = new;
    if let Some(password) = &password
        && !(1..=MAX_PASSWORD).contains(&password.chars().count())
    {
        return Err(ApiError::bad_argument("the password is empty or too long")
            .hint(format!("Give 1 to {MAX_PASSWORD} characters, or none for a link without a password.")));
    }
    let password_hash = match password {
        Some(password) => Some(passwords.hash(password).await?),
        None => None,
    };
    let client = database.client().await?;
    let token = random_token();
    let link = NewLink {
        file_id,
        token_hash: &Sha256::digest(token.as_bytes()),
        password_hash: password_hash.as_deref(),
        expires_at,
        allows_download,
        note: note.as_deref(),
    };
    let share_id = database::create(&client, actor, &link, address).await?;
    Ok(MadeShare { share_id, path: format!("/s/{token}"), expires_at })
}

/// Lets a visitor in. Fails with 404 for an unknown token, 410 for a link that has ended, 401 without the right
/// password, 429 after too many tries.
pub(crate) async fn open(
    door: &Door<'_>,
    asked: OpenShare,
    address: Option<IpAddr>,
) -> Result<SharedFile, ApiError> {
    door.guesses.check_tokens(address)?;
    let found = {
        let client = door.database.client().await?;
        database::find(&client, &Sha256::digest(asked.token.as_bytes())).await?
    };
    let Some(share) = found else {
        door.guesses.count_token(address);
        return Err(ApiError::not_found("there is no such link")
            .hint("Check that it was copied whole, or ask the sender for another one."));
    };
    let file_id = share.file_id.filter(|_| share.state == "open").ok_or_else(|| ended(&share))?;
    check_password(door, &share, asked.password, address).await?;
    let client = door.database.client().await?;
    let shown = show(&client, door, &share, file_id).await.map_err(|error| match error.meaning() {
        // Such as a file in the trash.
        NOT_FOUND => gone("the file of this link was deleted"),
        _ => error,
    })?;
    database::used(&client, share.share_id).await?;
    Ok(shown)
}

/// Refuses a pass whose share has ended. Fails with 410.
pub(crate) async fn check_pass(client: &Client, pass: &Pass, file_id: Uuid) -> Result<(), ApiError> {
    match pass.share_id {
        Some(share_id) if !database::is_open(client, share_id, file_id).await? => {
            Err(gone("this link has ended"))
        }
        _ => Ok(()),
    }
}

async fn check_password(
    door: &Door<'_>,
    share: &FoundShare,
    password: Option<String>,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let Some(hash) = &share.password_hash else { return Ok(()) };
    let refused = |sentence: &str| {
        Err(ApiError::new(NOT_AUTHENTICATED, sentence)
            .hint("The person who sent the link knows the password."))
    };
    let Some(password) = password else { return refused("this link has a password") };
    // Counted before it is checked, so that tries at the same time are not more than are allowed.
    door.guesses.count_password(share.share_id, address)?;
    if !door.passwords.verify(password, Some(hash.clone())).await? {
        return refused("the password is wrong");
    }
    door.guesses.forget_passwords(share.share_id, address);
    Ok(())
}

async fn show(
    client: &Client,
    door: &Door<'_>,
    share: &FoundShare,
    file_id: Uuid,
) -> Result<SharedFile, ApiError> {
    let maker = share.made_by;
    let original = file::content(client, maker, file_id, Some("original")).await?;
    let shown = file::find(client, maker, file_id).await?;
    let shown = shown.ok_or_else(|| ApiError::not_found("the file of this link was deleted"))?;
    let expires = share.expires_at.map(|at| at.timestamp().unsigned_abs());
    let path = |rendition: &str| {
        let link = playback::sign(
            door.tokens,
            maker,
            file_id,
            rendition.to_owned(),
            Some((share.share_id, expires)),
        )?;
        Ok::<_, ApiError>(playback::path(file_id, &link))
    };
    let is_streamed = !hls::playable_variants(client, maker, file_id).await?.is_empty();
    let web = shown.renditions.iter().find(|rendition| rendition.kind == "web");
    // A film whose upload may not be fetched is played from what was made of it.
    let is_media = shown.job_id.is_some();
    let play = match web {
        Some(web) => Some(SharedPath { path: path("web")?, content_type: web.content_type.clone() }),
        None if is_media && !share.allows_download => None,
        None => Some(SharedPath { path: path("original")?, content_type: original.content_type.clone() }),
    };
    Ok(SharedFile {
        size: shown.size,
        content_type: shown.content_type,
        state: shown.state,
        play,
        stream: is_streamed.then(|| path("hls")).transpose()?,
        download: share
            .allows_download
            .then(|| path("original"))
            .transpose()?
            .map(|path| path + "&download=1"),
        expires_at: share.expires_at,
        name: shown.name,
    })
}

fn gone(sentence: impl Into<Box<str>>) -> ApiError {
    ApiError::new(GONE, sentence).hint("Ask the person who sent it for another one.")
}

fn ended(share: &FoundShare) -> ApiError {
    let day = share.ended_at.map(|at| at.format("%-d %B %Y").to_string()).unwrap_or_default();
    match share.state.as_str() {
        "revoked" | "expired" => gone(format!("this link ended on {day}")),
        "deleted" => gone("the file of this link was deleted"),
        _ => gone("this link has ended"),
    }
}
