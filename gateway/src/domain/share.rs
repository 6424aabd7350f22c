//! Share links: a page that anybody with the link, and its password if it has one, may open.
//!
//! A visitor who is let in gets passes: tokens of the kind that links of accounts have, which name the share. Each
//! request with a pass asks the database whether the share is still open, so that its end ends its streams.

use std::net::IpAddr;

use nebula_api::file_name;
use nebula_api::share::{MadeShare, NewShare, OpenShare, Shared};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::database::share::{self as database, FoundShare, NewLink, Target};
use crate::database::{Account, Client, Database};
use crate::domain::auth::password::Passwords;
use crate::domain::auth::session::random_token;
use crate::domain::auth::token::Tokens;
use crate::domain::file;
use crate::domain::playback::Pass;
use crate::domain::rate_limit::{Limit, RateLimits, Subject};
use crate::error::{ApiError, GONE, NOT_AUTHENTICATED, NOT_FOUND};

mod shown;

/// Characters of a password at most: hashing takes time that grows with it.
const MAX_PASSWORD: usize = 500;

/// Services that decide about visitors.
pub(crate) struct Door<'a> {
    pub(crate) database: &'a Database,
    pub(crate) tokens: &'a Tokens,
    pub(crate) passwords: &'a Passwords,
    pub(crate) limits: &'a RateLimits,
}

/// Makes a link; only its holders know the token from here on.
pub(crate) async fn create(
    database: &Database,
    passwords: &Passwords,
    actor: &Account,
    new: NewShare,
    address: Option<IpAddr>,
) -> Result<MadeShare, ApiError> {
    let NewShare { file_id, project_id, folder, expires_at, password, allows_download, note } = new;
    let target = target(file_id, project_id, folder)?;
    if let Some(password) = &password
        && !(1..=MAX_PASSWORD).contains(&password.chars().count())
    {
        return Err(ApiError::bad_argument("the password is empty or too long")
            .field("password")
            .hint(format!("Give 1 to {MAX_PASSWORD} characters, or none for a link without a password.")));
    }
    let password_hash = match password {
        Some(password) => Some(passwords.hash(password).await?),
        None => None,
    };
    let client = database.client().await?;
    let token = random_token();
    let link = NewLink {
        target: &target,
        token_hash: &Sha256::digest(token.as_bytes()),
        password_hash: password_hash.as_deref(),
        expires_at,
        allows_download,
        note: note.as_deref(),
    };
    let share_id = database::create(&client, actor, &link, address).await?;
    Ok(MadeShare { share_id, path: format!("/s/{token}"), expires_at })
}

/// The one place that a new link leads to. Fails with 400.
fn target(
    file_id: Option<Uuid>,
    project_id: Option<Uuid>,
    folder: Option<String>,
) -> Result<Target, ApiError> {
    match (file_id, project_id, folder) {
        (Some(file_id), None, None) => Ok(Target::File(file_id)),
        (None, Some(project_id), Some(folder)) => {
            let folder = file_name::composed(&folder);
            file::check_folder(&folder).map(|()| Target::Folder(project_id, folder))
        }
        _ => Err(ApiError::bad_argument("a link leads to one file or to one folder")
            .hint("Give fileId, or projectId and folder.")),
    }
}

/// Lets a visitor in. Fails with 404 for an unknown token, 410 for a link that has ended and for a file that is not
/// behind it, 401 without the right password, 429 after too many tries.
pub(crate) async fn open(
    door: &Door<'_>,
    asked: OpenShare,
    address: Option<IpAddr>,
) -> Result<Shared, ApiError> {
    let visitor = Subject::address(address);
    door.limits.check(Limit::WrongLinks, &visitor).await?;
    let found = {
        let client = door.database.client().await?;
        database::find(&client, &Sha256::digest(asked.token.as_bytes())).await?
    };
    let Some(share) = found else {
        door.limits.take(Limit::WrongLinks, &visitor).await?;
        return Err(ApiError::not_found("there is no such link")
            .hint("Check that it was copied whole, or ask the sender for another one."));
    };
    let Some(target) = share.target.as_ref().filter(|_| share.state == "open") else {
        return Err(ended(&share));
    };
    check_password(door, &share, asked.password, address).await?;
    let client = door.database.client().await?;
    let shown = match (target, asked.file_id) {
        (Target::Folder(project_id, folder), None) => {
            shown::folder(&client, door.tokens, &share, *project_id, folder).await.map(Shared::Folder)
        }
        (_, Some(file_id)) if !database::is_open(&client, share.share_id, file_id).await? => {
            Err(gone("this file is no longer behind the link"))
        }
        (_, Some(file_id)) => shown::file(&client, door.tokens, &share, file_id).await.map(Shared::File),
        (Target::File(file_id), None) => {
            shown::file(&client, door.tokens, &share, *file_id).await.map(Shared::File)
        }
    };
    let shown = shown.map_err(|error| match error.meaning() {
        // Such as a file in the trash.
        NOT_FOUND => gone("the file of this link was deleted"),
        _ => error,
    })?;
    // A look into a folder counts, not each of its films.
    if asked.file_id.is_none() {
        database::used(&client, share.share_id).await?;
    }
    Ok(shown)
}

/// Refuses a pass whose share has ended. Fails with 410.
pub(crate) async fn check_pass(client: &Client, pass: &Pass, file_id: Uuid) -> Result<(), ApiError> {
    match pass.share_id() {
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
    let visitor = Subject::address(address).within(share.share_id);
    let everybody = Subject::everybody(share.share_id);
    door.limits.take(Limit::SharePasswords, &visitor).await?;
    door.limits.take(Limit::SharePasswordsOfAll, &everybody).await?;
    if !door.passwords.verify(password, hash.clone()).await? {
        return refused("the password is wrong");
    }
    // A visitor who knows the password begins anew, and uses up nothing of the others.
    door.limits.forget(Limit::SharePasswords, &visitor).await?;
    door.limits.give_back(Limit::SharePasswordsOfAll, &everybody).await?;
    Ok(())
}

fn gone(sentence: impl Into<Box<str>>) -> ApiError {
    ApiError::new(GONE, sentence).hint("Ask the person who sent it for another one.")
}

fn ended(share: &FoundShare) -> ApiError {
    let day = share.ended_at.map(|at| at.format("%-d %B %Y").to_string()).unwrap_or_default();
    match share.state.as_str() {
        "revoked" | "expired" => gone(format!("this link ended on {day}")),
        "deleted" if matches!(share.target, Some(Target::Folder(..))) => {
            gone("the folder of this link is empty, or has another name")
        }
        "deleted" => gone("the file of this link was deleted"),
        _ => gone("this link has ended"),
    }
}
