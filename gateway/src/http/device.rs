//! `/api/nebula` and `/api/devices`: registration, status, release, the list; and the authority's
//! certificate.

use actix_web::http::header::{ACCEPT, CONTENT_DISPOSITION, ContentType};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nebula_api::device::{Device, RegisterRequest, Registration, Release};
use nebula_api::{Envelope, Page, word};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::database::device::{self as database, DevicePage, Registrant};
use crate::domain::authority::day;
use crate::domain::bundle::Bundle;
use crate::domain::enrolment::code_hash;
use crate::domain::page::{Place, Wanted};
use crate::domain::registration::Registered;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::object::ForeignObject;
use crate::http::origin::client_address;
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

/// Query of `GET /api/devices`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only this project; without it, every project the caller sees.
    project_id: Option<Uuid>,
    /// Only devices with this part in their names, in small letters or capitals.
    q: Option<String>,
    /// Only devices in this state: with an address, without one any more, or revoked.
    #[param(value_type = Option<word::DeviceState>, inline)]
    state: Option<String>,
    /// Order of pages; with a minus, from the end. Without it, by name.
    #[param(value_type = Option<word::DeviceSort>, inline)]
    sort: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Devices of a page: 1 to 1000; without it, all at once.
    #[param(minimum = 1, maximum = 1000)]
    max: Option<i32>,
}

/// Devices of the projects the caller sees, by filter and order, in pages if `max` is given; without any of these, all
/// by project and address.
#[utoipa::path(get, path = "/api/devices", tag = "device", params(ListQuery),
    responses((status = 200, description = "Devices", body = Page<Device>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    query: web::Query<ListQuery>,
) -> Result<web::Json<Page<Device>>, ApiError> {
    let ListQuery { project_id, q, state: wanted_state, sort, cursor, max } = query.into_inner();
    let client = state.database.client().await?;
    let place = Place { sort: sort.as_deref(), cursor: cursor.as_deref(), max };
    let is_whole = [&q, &wanted_state, &sort, &cursor].iter().all(|value| value.is_none()) && max.is_none();
    let wanted = Wanted::parse(place, "name")?;
    let page = if is_whole {
        Page::new(database::list(&client, &actor.account, project_id).await?, None)
    } else {
        let filter = json!({ "q": q, "state": wanted_state });
        let asked = DevicePage {
            project_id,
            filter: &filter,
            sort: wanted.sort(),
            is_descending: wanted.is_descending(),
            after: wanted.after.as_ref(),
            max: wanted.limit(),
        };
        let devices = database::page(&client, &actor.account, &asked).await?;
        wanted.cut(devices, |device| device.device_id.to_string())
    };
    if !wanted.is_first() {
        return Ok(web::Json(page));
    }
    let counts = database::count(&client, &actor.account, project_id, q.as_deref()).await?;
    let of_state = |state: &str| wanted_state.as_deref().is_none_or(|wanted| wanted == state);
    let total = counts.iter().filter(|(state, _)| of_state(state)).map(|(_, count)| count).sum();
    Ok(web::Json(page.counted(total, Some(counts))))
}

fn wants_zip(request: &HttpRequest) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|range| {
        range.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/zip"))
    })
}
