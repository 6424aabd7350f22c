//! `/api/enrolments`: codes that administrators make and revoke.

use actix_web::{HttpRequest, HttpResponse, web};
use nebula_api::enrolment::{Enrolment, EnrolmentRequest, NewEnrolment};
use nebula_api::{Envelope, Page};
use uuid::Uuid;

use crate::database::enrolment as database;
use crate::domain::enrolment::{command, link, png};
use crate::domain::registration::check;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::list::ProjectQuery;
use crate::http::object::Object;
use crate::http::origin::own_url;
use crate::state::AppState;

/// The address for links: a device that follows one gives its code and its keys to that host.
pub(super) fn server_url(public: Option<&str>, request: &HttpRequest) -> String {
    public.map_or_else(|| own_url(request), str::to_owned)
}

/// Checks the properties of a device before the database is asked.
pub(super) fn check_properties(body: &EnrolmentRequest) -> Result<(), ApiError> {
    if let Some(name) = &body.name {
        check::name(name).map_err(|error| error.field("name"))?;
    }
    check::endpoints(&body.endpoints)?;
    body.role.as_deref().map_or(Ok(()), |role| check::role(role).map(drop))
}

/// Makes a code. Only this response shows it, also as a link and as the PNG of a QR code.
#[utoipa::path(post, path = "/api/enrolments", tag = "enrolment", request_body = EnrolmentRequest,
    responses((status = 200, description = "Made", body = Envelope<NewEnrolment>)))]
pub(crate) async fn create(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    body: web::Json<Object<EnrolmentRequest>>,
) -> Result<HttpResponse, ApiError> {
    check_properties(&body)?;
    let client = state.database.client().await?;
    let made = database::create(&client, &actor.account, &body).await?;
    let server = server_url(state.public_url.as_deref(), &request);
    let url = link(&server, &made.code);
    let program = state.device_program.open().await.map_err(|error| ApiError::internal(&error))?;
    let nebulactl_sha256 = program.map(|program| program.sha256);
    let new = NewEnrolment {
        enrolment_id: made.enrolment_id,
        command: nebulactl_sha256.as_deref().and_then(|sha256| command(&server, &made.code, sha256)),
        nebulactl_sha256,
        qr_png: png(&url)?,
        code: made.code,
        url,
        expires_at: made.expires_at,
    };
    // No cache on the way may keep the code.
    Ok(HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(Envelope::new(new)))
}

/// Enrolment codes, newest first, without the codes themselves.
#[utoipa::path(get, path = "/api/enrolments", tag = "enrolment", params(ProjectQuery),
    responses((status = 200, description = "Codes", body = Page<Enrolment>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    filter: web::Query<ProjectQuery>,
) -> Result<web::Json<Page<Enrolment>>, ApiError> {
    let client = state.database.client().await?;
    filter.page(database::list(&client, &actor.account, filter.project_id).await?)
}

/// Revokes a code. Devices that used it stay.
#[utoipa::path(delete, path = "/api/enrolments/{id}", tag = "enrolment", params(("id" = Uuid, Path)),
    responses((status = 200, description = "Ended", body = Envelope<serde_json::Value>)))]
pub(crate) async fn revoke(
    state: web::Data<AppState>,
    actor: Actor,
    path: web::Path<Uuid>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    let client = state.database.client().await?;
    database::revoke(&client, &actor.account, *path).await?;
    Ok(web::Json(Envelope::new(())))
}
