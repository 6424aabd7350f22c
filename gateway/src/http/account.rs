//! `/api/accounts`, for administrators, and `/api/account`, one's own.

use actix_web::{HttpRequest, web};
use nebula_api::account::{Account, AccountChanges, PasswordChange, Session};
use nebula_api::{Envelope, Page};
use serde::Deserialize;
use uuid::Uuid;

use crate::database::{account as database, session, totp};
use crate::domain::auth::{common_password, password};
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::object::Object;
use crate::http::origin::client_address;
use crate::state::AppState;

/// Query of `GET /api/accounts`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct ListQuery {
    /// `next` of the page before.
    cursor: Option<String>,
    /// How many at most: 1 to 1000, 100 without it.
    #[param(minimum = 1, maximum = 1000)]
    max: Option<i32>,
}

/// Accounts by name.
#[utoipa::path(get, path = "/api/accounts", tag = "account", params(ListQuery),
    responses((status = 200, description = "Accounts", body = Page<Account>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    query: web::Query<ListQuery>,
) -> Result<web::Json<Page<Account>>, ApiError> {
    let client = state.database.client().await?;
    let max = query.max.unwrap_or(100).clamp(1, 1000);
    let data = database::list(&client, &actor.account, query.cursor.as_deref(), max).await?;
    let is_full = i32::try_from(data.len()).is_ok_and(|count| count == max);
    let next = data.last().filter(|_| is_full).map(|account| account.username.clone());
    Ok(web::Json(Page::new(data, next)))
}

/// Gives an account another role, disables or enables it. Disabling ends its sessions.
#[utoipa::path(patch, path = "/api/accounts/{id}", tag = "account", params(("id" = Uuid, Path)),
    request_body = AccountChanges,
    responses((status = 200, description = "Changed", body = Envelope<serde_json::Value>)))]
pub(crate) async fn change(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    account_id: web::Path<Uuid>,
    changes: web::Json<Object<AccountChanges>>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    let client = state.database.client().await?;
    let address = client_address(&request);
    database::change(&client, &actor.account, *account_id, &changes, address)
        .await
        .map(Envelope::new)
        .map(web::Json)
}

/// Deletes an account with its sessions, memberships and share links. Its devices, peers, codes and files stay with
/// their projects.
#[utoipa::path(delete, path = "/api/accounts/{id}", tag = "account", params(("id" = Uuid, Path)),
    responses((status = 200, description = "Deleted", body = Envelope<serde_json::Value>)))]
pub(crate) async fn delete(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    account_id: web::Path<Uuid>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    let client = state.database.client().await?;
    database::delete(&client, &actor.account, *account_id, client_address(&request))
        .await
        .map(Envelope::new)
        .map(web::Json)
}

/// Lets an account sign in by password alone again, whose holder has lost authenticator and recovery codes.
#[utoipa::path(delete, path = "/api/accounts/{id}/totp", tag = "account", params(("id" = Uuid, Path)),
    responses((status = 200, description = "Removed", body = Envelope<serde_json::Value>)))]
pub(crate) async fn remove_totp(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    account_id: web::Path<Uuid>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    let client = state.database.client().await?;
    totp::remove(&client, &actor.account, *account_id, client_address(&request))
        .await
        .map(Envelope::new)
        .map(web::Json)
}

/// Sets the caller's password and ends its other sessions. Fails with 403 if the old one is wrong.
#[utoipa::path(put, path = "/api/account/password", tag = "account", request_body = PasswordChange,
    responses((status = 200, description = "Set", body = Envelope<serde_json::Value>)))]
pub(crate) async fn set_password(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    body: web::Json<Object<PasswordChange>>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    password::check_new(&body.new_password)?;
    common_password::refuse(&body.new_password, &[&actor.username])?;
    let new_hash = state.passwords.hash(body.new_password.clone()).await?;
    let _turn = state.passwords.turn().await?;
    let client = state.database.client().await?;
    let passwords = (body.old_password.as_str(), new_hash.as_str());
    let address = client_address(&request);
    let check =
        database::set_own_password(&client, &actor.account, passwords, actor.session_id, address).await?;
    password::accepted(check).map(Envelope::new).map(web::Json)
}

/// Open sessions of an account, the newest first.
#[utoipa::path(get, path = "/api/accounts/{id}/sessions", tag = "account", params(("id" = Uuid, Path)),
    responses((status = 200, description = "Sessions", body = Envelope<Vec<Session>>)))]
pub(crate) async fn sessions(
    state: web::Data<AppState>,
    actor: Actor,
    account_id: web::Path<Uuid>,
) -> Result<web::Json<Envelope<Vec<Session>>>, ApiError> {
    let client = state.database.client().await?;
    session::list(&client, &actor.account, Some(*account_id)).await.map(Envelope::new).map(web::Json)
}
