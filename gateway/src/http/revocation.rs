//! Revocation of devices and certificates, and its progress.

use actix_web::{HttpRequest, web};
use nebula_api::Envelope;
use nebula_api::revocation::Revocation;
use uuid::Uuid;

use crate::database::revocation as database;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::origin::client_address;
use crate::state::AppState;

type RevocationResponse = Result<web::Json<Envelope<Revocation>>, ApiError>;

/// Revokes a device for good: its calls are refused, its certificates go on the blocklist, its address is
/// released. The address is free again when every live member runs that blocklist, or when the certificates
/// have expired.
#[utoipa::path(post, path = "/api/devices/{deviceId}/revoke", tag = "revocation",
    params(("deviceId" = Uuid, Path)),
    responses((status = 200, description = "Begun", body = Envelope<Revocation>)))]
pub(crate) async fn device(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    path: web::Path<Uuid>,
) -> RevocationResponse {
    let client = state.database.client().await?;
    database::device(&client, &actor.account, *path, client_address(&request)).await?;
    Ok(web::Json(Envelope::new(database::status(&client, &actor.account, *path).await?)))
}

/// Puts a certificate and the others of its key on the blocklist. The device keeps its address; one with an
/// agent gets a new key and certificate.
#[utoipa::path(post, path = "/api/certificates/{fingerprint}/revoke", tag = "revocation",
    params(("fingerprint" = String, Path, description = "64 hexadecimal digits")),
    responses((status = 200, description = "Begun", body = Envelope<Revocation>)))]
pub(crate) async fn certificate(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    path: web::Path<String>,
) -> RevocationResponse {
    let client = state.database.client().await?;
    let device = database::certificate(&client, &actor.account, &path, client_address(&request)).await?;
    Ok(web::Json(Envelope::new(database::status(&client, &actor.account, device).await?)))
}

/// Progress of a revocation: how many members run the blocklist, and which do not yet.
#[utoipa::path(get, path = "/api/devices/{deviceId}/revocation", tag = "revocation",
    params(("deviceId" = Uuid, Path)),
    responses((status = 200, description = "How far it has come", body = Envelope<Revocation>)))]
pub(crate) async fn status(
    state: web::Data<AppState>,
    actor: Actor,
    path: web::Path<Uuid>,
) -> RevocationResponse {
    let client = state.database.client().await?;
    Ok(web::Json(Envelope::new(database::status(&client, &actor.account, *path).await?)))
}
