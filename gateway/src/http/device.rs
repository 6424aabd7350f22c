//! `/api/nebula` and `/api/devices`: registration, status, release, the list; and the authority's
//! certificate.

use actix_web::http::header::{ACCEPT, CONTENT_DISPOSITION, ContentType};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nebula_api::Envelope;
use nebula_api::device::{Device, RegisterRequest, Registration, Release};
use uuid::Uuid;

use crate::database::device::{self as database, Registrant};
use crate::domain::authority::day;
use crate::domain::bundle::Bundle;
use crate::domain::enrolment::code_hash;
use crate::domain::registration::Registered;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::object::ForeignObject;
use crate::http::origin::client_address;
use crate::http::project::ProjectFilter;
use crate::state::AppState;

/// Registers a device: address, certificates and configuration in one transaction. The same device again
/// keeps its address and gets fresh certificates. With `Accept: application/zip` the response is the zip
/// itself.
#[utoipa::path(post, path = "/api/nebula/register", tag = "device", request_body = RegisterRequest,
    responses((status = 200, description = "Registered", content(
        (Envelope<Registration> = "application/json"), (Vec<u8> = "application/zip")))))]
pub(crate) async fn register(
    state: web::Data<AppState>,
    request: HttpRequest,
    body: Result<web::Json<ForeignObject<RegisterRequest>>, actix_web::Error>,
) -> Result<HttpResponse, actix_web::Error> {
    // Report missing authentication before a malformed body.
    let actor = Actor::from_request_head(&request);
    let code = body.as_ref().ok().and_then(|body| body.enrolment_code.as_deref()).map(code_hash);
    let registrant = match (actor, code) {
        (Ok(actor), _) => Registrant::Account(actor.account),
        (Err(_), Some(code)) => Registrant::Code(code),
        (Err(unauthenticated), None) => return Err(unauthenticated.into()),
    };
    let body = body?;
    let registered = state.registrar.register(registrant, &body, client_address(&request)).await?;
    Ok(respond(&request, registered)?)
}

fn respond(request: &HttpRequest, registered: Registered) -> Result<HttpResponse, ApiError> {
    let Registered { project, config, issued } = registered;
    let ip = config.address();
    let valid_until =
        issued.first().map_or_else(String::new, |first| day(first.certificate.details().not_after));
    let zip = Bundle {
        ca: project.authority.trusted_pem(),
        certificate: &issued.iter().map(|issued| issued.pem.as_str()).collect::<String>(),
        ip: &ip,
        valid_until: &valid_until,
        nebula: project.authority.oldest_nebula(&config.device.networks, &config.versions()),
        config: &config,
    }
    .zip()?;

    let device = config.device;
    if wants_zip(request) {
        let name: String = device.name.chars().filter(char::is_ascii).collect();
        return Ok(HttpResponse::Ok()
            .content_type("application/zip")
            .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"nebula-{name}.zip\"")))
            .body(zip));
    }
    Ok(HttpResponse::Ok().json(Envelope::new(Registration {
        nebula_ip: ip,
        device_name: device.name,
        project_id: project.config.project_id,
        device_id: device.device_id,
        zip_bundle: STANDARD.encode(&zip),
        zip_size: zip.len() as u64,
    })))
}

/// The certificates of the authorities that devices trust, as `ca.crt`.
#[utoipa::path(get, path = "/api/nebula/ca", tag = "device",
    responses((status = 200, description = "PEM", body = String, content_type = "text/plain")))]
pub(crate) async fn ca(state: web::Data<AppState>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::plaintext())
        .body(state.keyring.shared().trusted_pem().to_owned())
}

/// One device, for its owner or an administrator.
#[utoipa::path(get, path = "/api/nebula/status/{deviceId}", tag = "device", params(("deviceId" = Uuid, Path)),
    responses((status = 200, description = "The device", body = Envelope<Device>)))]
pub(crate) async fn status(
    state: web::Data<AppState>,
    actor: Actor,
    path: web::Path<Uuid>,
) -> Result<web::Json<Envelope<Device>>, ApiError> {
    let client = state.database.client().await?;
    Ok(web::Json(Envelope::new(database::status(&client, &actor.account, *path).await?)))
}

/// Releases the address of a device. It is not given to another one while a certificate that names it is
/// valid.
#[utoipa::path(post, path = "/api/nebula/release/{deviceId}", tag = "device",
    params(("deviceId" = Uuid, Path)),
    responses((status = 200, description = "Released", body = Envelope<Release>)))]
pub(crate) async fn release(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    path: web::Path<Uuid>,
) -> Result<web::Json<Envelope<Release>>, ApiError> {
    let client = state.database.client().await?;
    let nebula_ip = database::release(&client, &actor.account, *path, client_address(&request)).await?;
    Ok(web::Json(Envelope::new(Release { device_id: *path, nebula_ip })))
}

/// Devices of the projects the caller sees, by project and address.
#[utoipa::path(get, path = "/api/devices", tag = "device", params(ProjectFilter),
    responses((status = 200, description = "Devices", body = Envelope<Vec<Device>>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    filter: web::Query<ProjectFilter>,
) -> Result<web::Json<Envelope<Vec<Device>>>, ApiError> {
    let client = state.database.client().await?;
    Ok(web::Json(Envelope::new(database::list(&client, &actor.account, filter.project_id).await?)))
}

fn wants_zip(request: &HttpRequest) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|range| {
        range.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/zip"))
    })
}
