//! Enrolment codes: made and ended by administrators.

use actix_web::{HttpRequest, HttpResponse, web};
use nebula_api::Envelope;
use nebula_api::enrolment::{Enrolment, EnrolmentRequest, NewEnrolment};
use uuid::Uuid;

use crate::auth::Actor;
use crate::config::Role;
use crate::database::enrolment as database;
use crate::device::check;
use crate::project::ProjectFilter;
use crate::{ApiError, AppState};

mod qr;

/// Makes a code and answers it, once and never again, also as a link and as the PNG of a QR code.
#[utoipa::path(post, path = "/api/enrolments", tag = "enrolment", request_body = EnrolmentRequest,
    responses((status = 200, description = "Made", body = Envelope<NewEnrolment>)))]
pub async fn create(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    body: web::Json<EnrolmentRequest>,
) -> Result<HttpResponse, ApiError> {
    if let Some(name) = &body.name {
        check::name(name)?;
    }
    check::endpoints(&body.endpoints)?;
    if let Some(role) = body.role.as_deref().filter(|role| Role::parse(role).is_none()) {
        return Err(
            ApiError::bad_argument(format!("role is {role:?}")).hint("Roles are host, lighthouse and relay.")
        );
    }
    let client = state.database.client().await?;
    let made = database::create(&client, actor.account_id, &body).await?;
    let connection = request.connection_info();
    let server = format!("{}://{}", connection.scheme(), connection.host());
    let url = format!("nebula://enrol?server={}&code={}", escaped(&server), made.code);
    let new = NewEnrolment {
        enrolment_id: made.enrolment_id,
        qr_png: qr::png(&url)?,
        code: made.code,
        url,
        expires_at: made.expires_at,
    };
    // Nobody on the way may keep it.
    Ok(HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(Envelope::new(new)))
}

/// Codes without the codes, newest first.
#[utoipa::path(get, path = "/api/enrolments", tag = "enrolment", params(ProjectFilter),
    responses((status = 200, description = "Codes", body = Envelope<Vec<Enrolment>>)))]
pub async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    filter: web::Query<ProjectFilter>,
) -> Result<web::Json<Envelope<Vec<Enrolment>>>, ApiError> {
    let client = state.database.client().await?;
    Ok(web::Json(Envelope::new(database::list(&client, actor.account_id, filter.project_id).await?)))
}

/// Ends a code; devices that used it stay.
#[utoipa::path(delete, path = "/api/enrolments/{id}", tag = "enrolment", params(("id" = Uuid, Path)),
    responses((status = 200, description = "Ended", body = Envelope<serde_json::Value>)))]
pub async fn revoke(
    state: web::Data<AppState>,
    actor: Actor,
    path: web::Path<Uuid>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    let client = state.database.client().await?;
    database::revoke(&client, actor.account_id, *path).await?;
    Ok(web::Json(Envelope::new(())))
}

/// For the query of a URL: what is not plainly harmless as a percent sign and two digits.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
