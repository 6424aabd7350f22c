//! `/api/account/totp`: the second factor of the caller's account.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};
use nebula_api::Envelope;
use nebula_api::totp::{NewTotp, RecoveryCodes, TotpCode, TotpRequest, TotpState};
use serde::Serialize;

use crate::database::totp as database;
use crate::domain::auth::{password, totp};
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::object::Object;
use crate::http::origin::client_address;
use crate::state::AppState;

/// An answer with secrets, which no cache on the way may keep.
fn secret(data: impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(Envelope::new(data))
}

/// Whether signing in needs a code.
#[utoipa::path(get, path = "/api/account/totp", tag = "account",
    responses((status = 200, description = "The state", body = Envelope<TotpState>)))]
pub(crate) async fn show(
    state: web::Data<AppState>,
    actor: Actor,
) -> Result<web::Json<Envelope<TotpState>>, ApiError> {
    let client = state.database.client().await?;
    database::state(&client, &actor.account).await.map(Envelope::new).map(web::Json)
}

/// Makes the secret of an authenticator. It counts once `PUT` has had a code of it. Fails with 403 if the password is wrong.
#[utoipa::path(post, path = "/api/account/totp", tag = "account", request_body = TotpRequest,
    responses((status = 200, description = "Made", body = Envelope<NewTotp>)))]
pub(crate) async fn begin(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    body: web::Json<Object<TotpRequest>>,
) -> Result<HttpResponse, ApiError> {
    let (database, passwords, address) = (&state.database, &state.passwords, client_address(&request));
    totp::begin(database, passwords, &actor.account, &actor.username, &body.password, address)
        .await
        .map(secret)
}

/// Shows a code of the new authenticator: from now on signing in needs one.
#[utoipa::path(put, path = "/api/account/totp", tag = "account", request_body = TotpCode,
    responses((status = 200, description = "Switched on", body = Envelope<RecoveryCodes>)))]
pub(crate) async fn confirm(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    body: web::Json<Object<TotpCode>>,
) -> Result<HttpResponse, ApiError> {
    let address = client_address(&request);
    let recovery_codes = totp::confirm(&state.database, &actor.account, &body.code, address).await?;
    Ok(secret(RecoveryCodes { recovery_codes }))
}

/// Switches the second factor off. Fails with 403 if the password is wrong.
#[utoipa::path(post, path = "/api/account/totp/end", tag = "account", request_body = TotpRequest,
    responses((status = 200, description = "Switched off", body = Envelope<serde_json::Value>)))]
pub(crate) async fn end(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    body: web::Json<Object<TotpRequest>>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    let _turn = state.passwords.turn().await?;
    let client = state.database.client().await?;
    let check = database::end(&client, &actor.account, &body.password, client_address(&request)).await?;
    password::accepted(check).map(Envelope::new).map(web::Json)
}
