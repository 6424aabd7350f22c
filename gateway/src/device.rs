//! Devices: registration, status, release, listing; and the authority's certificate.

use actix_web::http::header::{ACCEPT, CONTENT_DISPOSITION, ContentType};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nebula_api::Envelope;
use nebula_api::device::{Device, RegisterRequest, Registration, Release};
use uuid::Uuid;

use crate::auth::{Actor, client_address};
use crate::authority::day;
use crate::bundle::Bundle;
use crate::database::Unit;
use crate::database::device::{self, By, NewDevice};
use crate::dnapi::code_hash;
use crate::project::ProjectFilter;
use crate::{ApiError, AppState};

use admission::Admitted;

pub mod admission;
pub(crate) mod check;

/// Registers a device: address, certificates and configuration in one transaction. The same device again keeps its
/// address and gets fresh certificates. `Accept: application/zip` answers the zip itself.
#[utoipa::path(post, path = "/api/nebula/register", tag = "device", request_body = RegisterRequest,
    responses((status = 200, description = "Registered", content(
        (Envelope<Registration> = "application/json"), (Vec<u8> = "application/zip")))))]
pub async fn register(
    state: web::Data<AppState>,
    request: HttpRequest,
    body: Result<web::Json<RegisterRequest>, actix_web::Error>,
) -> Result<HttpResponse, actix_web::Error> {
    // Who is nobody is told so, whatever the body is.
    let actor = Actor::from_request_head(&request);
    let code = body.as_ref().ok().and_then(|body| body.enrolment_code.as_deref()).map(code_hash);
    let by = match (actor, code) {
        (Ok(actor), _) => By::Account(actor.account_id),
        (Err(_), Some(code)) => By::Code(code),
        (Err(unauthenticated), None) => return Err(unauthenticated.into()),
    };
    let body = body?;
    Ok(answer(&state, by, &request, body.into_inner()).await?)
}

async fn answer(
    state: &web::Data<AppState>,
    by: By,
    request: &HttpRequest,
    body: RegisterRequest,
) -> Result<HttpResponse, ApiError> {
    // Before the database is asked, so that a bad request costs and leaves nothing.
    let role = check::request(&body)?;
    let client = client_address(request);
    let by_code = matches!(by, By::Code(_));
    if by_code {
        state.limits.check_guesses(client)?;
    }
    let new = |public_key| NewDevice {
        by,
        project_id: body.project_id,
        device_id: body.device_id,
        name: body.device_name,
        public_key,
        role: role.word(),
        endpoints: body.endpoints,
        client,
    };
    let kept = state.projects.kept(body.project_id);
    let admitted = if let Some(project) = kept.filter(|_| !by_code) {
        let key = project.authority.public_key(&body.public_key)?;
        admission::together(state, new(key)).await?
    } else {
        let mut unit = Unit::on(state.database.client().await?);
        let project = state.projects.kept_or_found(&mut unit, body.project_id).await?;
        let key = project.authority.public_key(&body.public_key)?;
        admission::alone(state, unit, project, new(key)).await.inspect_err(|error| {
            if by_code && error.is_not_found() {
                state.limits.guessed(client);
            }
        })?
    };
    let Admitted { project, facts, issued } = admitted;
    let ip = facts.address();
    let zip = Bundle {
        ca: project.authority.trusted_pem(),
        certificate: &issued.iter().map(|one| one.pem.as_str()).collect::<String>(),
        ip: &ip,
        valid_until: &issued.first().map_or_else(String::new, |one| day(one.certificate.details().not_after)),
        nebula: project.authority.oldest_nebula(&facts.networks, &facts.versions()),
        facts: &facts,
    }
    .zip()?;

    if wants_zip(request) {
        let name: String = facts.name.chars().filter(char::is_ascii).collect();
        return Ok(HttpResponse::Ok()
            .content_type("application/zip")
            .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"nebula-{name}.zip\"")))
            .body(zip));
    }
    Ok(HttpResponse::Ok().json(Envelope::new(Registration {
        nebula_ip: ip,
        device_name: facts.name,
        project_id: body.project_id,
        device_id: body.device_id,
        zip_bundle: STANDARD.encode(&zip),
        zip_size: zip.len() as u64,
    })))
}

/// The certificates of the authorities that devices trust, as `ca.crt`.
#[utoipa::path(get, path = "/api/nebula/ca", tag = "device",
    responses((status = 200, description = "PEM", body = String, content_type = "text/plain")))]
pub async fn ca(state: web::Data<AppState>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::plaintext())
        .body(state.keyring.shared().trusted_pem().to_owned())
}

/// One device, for its owner or an administrator.
#[utoipa::path(get, path = "/api/nebula/status/{deviceId}", tag = "device", params(("deviceId" = Uuid, Path)),
    responses((status = 200, description = "The device", body = Envelope<Device>)))]
pub async fn status(
    state: web::Data<AppState>,
    actor: Actor,
    path: web::Path<Uuid>,
) -> Result<web::Json<Envelope<Device>>, ApiError> {
    let client = state.database.client().await?;
    Ok(web::Json(Envelope::new(device::status(&client, actor.account_id, *path).await?)))
}

/// Releases the address of a device. It is not given to another one while a certificate that names it is valid.
#[utoipa::path(post, path = "/api/nebula/release/{deviceId}", tag = "device", params(("deviceId" = Uuid, Path)),
    responses((status = 200, description = "Released", body = Envelope<Release>)))]
pub async fn release(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    path: web::Path<Uuid>,
) -> Result<web::Json<Envelope<Release>>, ApiError> {
    let client = state.database.client().await?;
    let nebula_ip = device::release(&client, actor.account_id, *path, client_address(&request)).await?;
    Ok(web::Json(Envelope::new(Release { device_id: *path, nebula_ip })))
}

/// Devices of the projects the caller sees, by project and address.
#[utoipa::path(get, path = "/api/devices", tag = "device", params(ProjectFilter),
    responses((status = 200, description = "Devices", body = Envelope<Vec<Device>>)))]
pub async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    filter: web::Query<ProjectFilter>,
) -> Result<web::Json<Envelope<Vec<Device>>>, ApiError> {
    let client = state.database.client().await?;
    Ok(web::Json(Envelope::new(device::list(&client, actor.account_id, filter.project_id).await?)))
}

fn wants_zip(request: &HttpRequest) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|range| {
        range.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/zip"))
    })
}
