//! `/api/rotations`: rotations of authorities. The database carries them out.

use actix_web::{HttpRequest, web};
use nebula_api::Envelope;
use nebula_api::authority::{Rotation, RotationRequest, RotationState};
use uuid::Uuid;

use crate::database::authority;
use crate::database::rotation::{self as database, RotationChange};
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::object::Object;
use crate::http::origin::client_address;
use crate::state::AppState;

type RotationResponse = Result<web::Json<Envelope<RotationState>>, ApiError>;

/// Rotations, running ones first.
#[utoipa::path(get, path = "/api/rotations", tag = "authority",
    responses((status = 200, description = "Rotations", body = Envelope<Vec<Rotation>>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
) -> Result<web::Json<Envelope<Vec<Rotation>>>, ApiError> {
    let client = state.database.client().await?;
    Ok(web::Json(Envelope::new(database::list(&client, &actor.account).await?)))
}

/// Begins to replace the authority of a project. The rotation waits for devices with an agent, so that none
/// is cut off.
#[utoipa::path(post, path = "/api/rotations", tag = "authority", request_body = RotationRequest,
    responses((status = 200, description = "Begun", body = Envelope<RotationState>)))]
pub(crate) async fn begin(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    body: web::Json<Object<RotationRequest>>,
) -> RotationResponse {
    let incoming = hex::decode(&body.fingerprint).ok().filter(|bytes| bytes.len() == 32);
    let incoming = incoming.ok_or_else(|| {
        ApiError::bad_argument("fingerprint is not 64 hexadecimal digits")
            .field("fingerprint")
            .hint("See nebulactl ca ls.")
    })?;
    let client = state.database.client().await?;
    // Only authorities whose key is held are recorded: a rotation to a key that no gateway holds would never
    // end.
    let held = state.keyring.held().await?;
    if let Some(certificate) = held.iter().find(|one| one.fingerprint() == incoming.as_slice()) {
        authority::record(&client, certificate).await?;
    }
    let address = client_address(&request);
    let state = database::begin(&client, &actor.account, body.project_id, &incoming, address).await?;
    Ok(web::Json(Envelope::new(RotationState { state })))
}

/// Moves a rotation on without the members that have not acknowledged its state.
#[utoipa::path(post, path = "/api/rotations/{projectId}/force", tag = "authority",
    params(("projectId" = Uuid, Path)),
    responses((status = 200, description = "The state it is in now", body = Envelope<RotationState>)))]
pub(crate) async fn force(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    path: web::Path<Uuid>,
) -> RotationResponse {
    change(&state, &actor, &request, *path, RotationChange::Force).await
}

/// Ends a rotation. If the new authority signs already, the former one takes over again by another rotation.
#[utoipa::path(post, path = "/api/rotations/{projectId}/cancel", tag = "authority",
    params(("projectId" = Uuid, Path)),
    responses((status = 200, description = "Cancelled, or the state of the way back", body = Envelope<RotationState>)))]
pub(crate) async fn cancel(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    path: web::Path<Uuid>,
) -> RotationResponse {
    change(&state, &actor, &request, *path, RotationChange::Cancel).await
}

/// Changes the running rotation of a project.
async fn change(
    state: &AppState,
    actor: &Actor,
    request: &HttpRequest,
    project_id: Uuid,
    change: RotationChange,
) -> RotationResponse {
    let client = state.database.client().await?;
    let state =
        database::change(&client, &actor.account, project_id, change, client_address(request)).await?;
    Ok(web::Json(Envelope::new(RotationState { state })))
}
