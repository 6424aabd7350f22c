//! The agent protocol: enrolment by code, and signed calls of enrolled devices. [`nebula_api::dnapi`] describes it.
//!
//! The gateway verifies signatures and signs answers; whether a call counts, what it acknowledges and what it gets is
//! decided by the functions of `sql/functions/agent.sql`, in the transaction that acts on it.

use std::net::IpAddr;

use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nebula_api::dnapi::{
    Call, CheckForUpdate, Data, EnrollRequest, Enrollment, LongPollAnswer, Message, SignedAnswer, VERSION,
    kind,
};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::auth::client_address;
use crate::authority::curve_name;
use crate::database::agent::{self, Caller, Claim};
use crate::database::certificate::{self, By, Signed};
use crate::database::enrolment::{self, NewAgent};
use crate::database::{Unit, device};
use crate::device::check;
use crate::error::TOO_LARGE;
use crate::gather::{Gather, Joined};
use crate::{ApiError, AppState};

mod key;
mod node;
mod refusal;
mod update;
mod wait;

pub use refusal::Refusal;
pub use update::Fetches;

/// Calls that wait for each other until it is known who may have made them.
pub type Claims = Gather<(), (Uuid, i64), Option<Claim>>;

/// Largest body; the longest honest one is the report of a device with some hundred peers.
const BODY_MAX: usize = 64 * 1024;

/// Enrols a device by a code: identity, address, certificates and configuration in one transaction. The client does
/// not know the network's curve yet, so it sends keys of both.
#[utoipa::path(post, path = "/v2/enroll", tag = "agent", request_body = EnrollRequest,
    responses((status = 200, description = "Enrolled", body = Data<Enrollment>)))]
pub async fn enroll(
    state: web::Data<AppState>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let body: EnrollRequest = parse(&read(payload).await?)?;
    let client = client_address(&request);
    state.limits.check_guesses(client)?;
    let answer = admit(&state, &body, client).await;
    if let Err(refusal) = &answer {
        if refusal.is_wrong_code() {
            state.limits.guessed(client);
        }
        // A fault on this side is logged as such, and a database that is away cannot record it.
        if refusal.status_code().is_client_error() {
            note(&state, None, &refusal.reason(), client).await;
        }
    }
    Ok(HttpResponse::Ok().json(Data { data: answer? }))
}

async fn admit(
    state: &AppState,
    body: &EnrollRequest,
    address: Option<IpAddr>,
) -> Result<Enrollment, Refusal> {
    // All of this before the database is asked, so that a bad request costs and leaves nothing.
    if let Some(name) = &body.name {
        check::name(name).map_err(|error| Refusal::field("name", error))?;
    }
    check::endpoints(&body.endpoints).map_err(|error| Refusal::field("endpoints", error))?;
    let device_id = body.device_id.as_deref().map(str::parse::<Uuid>).transpose();
    let device_id = device_id
        .map_err(|_| Refusal::field("deviceId", ApiError::bad_argument("deviceId is not a UUID")))?;
    let hash = code_hash(&body.code);

    let mut unit = Unit::on(state.database.client().await?);
    unit.begin().await?;
    let unknown =
        || ApiError::not_found("this enrolment code is not good").hint("Ask an administrator for a new one.");
    let project = enrolment::project(&*unit, &hash).await?;
    let project = project.ok_or_else(|| Refusal::field("code", unknown()))?;
    let project = state.projects.kept_or_found(&mut unit, project).await?;
    let keys = update::Keys::of_enrolment(body, &project.authority)?;
    let public_key = keys.nebula.ok_or_else(|| ApiError::internal(&"an enrolment without a nebula key"))?;
    let new = NewAgent {
        device_id,
        name: body.name.as_deref(),
        endpoints: &body.endpoints,
        curve: curve_name(project.authority.curve()),
        public_key: public_key.bytes(),
        host_key: &keys.host,
    };
    let (device_id, counter) =
        enrolment::enroll(&*unit, &hash, &new, address).await.map_err(Refusal::of_enrolment)?;
    let found = device::configuration(&*unit, device_id, project.common.version).await?;
    let made = update::certified(state, project, found, &public_key).await?;
    let sent = made.sent();
    certificate::record(unit, &[Signed { by: By::Answer(counter), device_id, issued: &made.issued }]).await?;
    Ok(sent.enrollment(counter))
}

/// A signed call of an enrolled device: asks, waits, fetches, reports or leaves.
#[utoipa::path(post, path = "/v1/dnclient", tag = "agent", request_body = Call,
    responses((status = 200, description = "What the message's type answers", content(
        (Data<SignedAnswer> = "application/json"), (Data<CheckForUpdate> = "application/json"),
        (Data<LongPollAnswer> = "application/json")))))]
pub async fn call(
    state: web::Data<AppState>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let client = client_address(&request);
    // What has been read is not kept while an agent waits: there may be ten thousand of them.
    let body = Box::pin(read(payload)).await?;
    let call: Call = parse(&body)?;
    let device = call.host_id.parse().ok();
    let identified = Box::pin(identify(&state, &call, &request, &body)).await;
    drop((request, body, call));
    let answer = match identified {
        Ok((caller, message)) => answer(&state, caller, message, client).await,
        Err(refusal) => Err(refusal),
    };
    if let Err(refusal) = &answer
        && refusal.is_unauthenticated()
    {
        Box::pin(note(&state, device, &refusal.reason(), client)).await;
    }
    answer
}

/// Who may be calling, asked for together with others.
async fn claim(
    state: &web::Data<AppState>,
    device_id: Uuid,
    counter: i64,
) -> Result<Option<Claim>, ApiError> {
    let work = state.clone();
    let party = async move |(): &(), calls: &[(Uuid, i64)]| {
        agent::claims(&work.database.client().await?, calls).await
    };
    match state.claims.join((), (device_id, counter), party).await? {
        Joined::Done(claim) => Ok(claim),
        Joined::Alone(call) => {
            Ok(agent::claims(&state.database.client().await?, &[call]).await?.pop().flatten())
        }
    }
}

/// Whose call it is, by its signature; one that speaks for a node brings another.
async fn identify(
    state: &web::Data<AppState>,
    call: &Call,
    request: &HttpRequest,
    body: &[u8],
) -> Result<(Caller, Message), Refusal> {
    if call.version != VERSION {
        let detail = format!("version {} of calls is not spoken here", call.version);
        return Err(Refusal::field("version", ApiError::bad_argument(detail).hint("Speak version 1.")));
    }
    let unknown =
        || Refusal::unauthenticated("this device is unknown, was revoked, or has newer credentials");
    let device_id: Uuid = call.host_id.parse().map_err(|_| unknown())?;
    let counter = i64::try_from(call.counter).map_err(|_| unknown())?;
    let claim = claim(state, device_id, counter).await?.ok_or_else(unknown)?;
    let Claim { project_id, version, host_key, public_key, node_id } = claim;
    if !key::verifies(&host_key, call.message.as_bytes(), &call.signature) {
        return Err(Refusal::unauthenticated("the signature is not by the key of this device and counter"));
    }
    if let Some(node_id) = node_id {
        node::check(&state.database.client().await?, node_id, request, body).await?;
    }
    let malformed = |error: &dyn std::fmt::Display| {
        Refusal::field("message", ApiError::bad_argument(format!("the message cannot be read: {error}")))
    };
    let bytes = STANDARD.decode(&call.message).map_err(|error| malformed(&error))?;
    let message: Message = serde_json::from_slice(&bytes).map_err(|error| malformed(&error))?;
    let said_at = message.timestamp;
    Ok((Caller { device_id, project_id, counter, version, host_key, public_key, said_at }, message))
}

async fn answer(
    state: &web::Data<AppState>,
    caller: Caller,
    message: Message,
    address: Option<IpAddr>,
) -> Result<HttpResponse, Refusal> {
    // Boxed, so that one who waits does not hold room for what the others do.
    match message.kind.as_str() {
        kind::LONG_POLL_WAIT => {
            let supported = value(&message)?;
            drop(message);
            Ok(json(wait::news(state, &caller, supported).await?))
        }
        kind::CHECK_FOR_UPDATE => {
            let standing =
                Box::pin(async { agent::call(&state.database.client().await?, &caller).await }).await?;
            Ok(json(CheckForUpdate { update_available: standing.due.is_some() }))
        }
        kind::DO_UPDATE => Ok(json(Box::pin(update::update(state, caller, value(&message)?, true)).await?)),
        kind::DO_CONFIG_UPDATE => {
            Ok(json(Box::pin(update::update(state, caller, value(&message)?, false)).await?))
        }
        kind::STATUS => Ok(json(Box::pin(update::report(state, &caller, value(&message)?, address)).await?)),
        kind::LEAVE => {
            Box::pin(async { agent::leave(&state.database.client().await?, &caller, address).await }).await?;
            Ok(json(serde_json::Map::new()))
        }
        other => {
            let shown: String = other.chars().take(64).collect();
            let detail = format!("messages of type {shown:?} are not spoken here");
            let hint = "CheckForUpdate, LongPollWait, DoUpdate, DoConfigUpdate, Status and Leave are.";
            Err(Refusal::field("message.type", ApiError::bad_argument(detail).hint(hint)))
        }
    }
}

fn json<T: serde::Serialize>(data: T) -> HttpResponse {
    HttpResponse::Ok().json(Data { data })
}

/// What a message carries.
fn value<T: DeserializeOwned>(message: &Message) -> Result<T, Refusal> {
    serde_json::from_slice(&message.value).map_err(|error| {
        let detail = format!("the value of this {} message cannot be read: {error}", message.kind);
        Refusal::field("message.value", ApiError::bad_argument(detail))
    })
}

/// The body, whatever it is declared as: the foreign client declares nothing.
async fn read(payload: web::Payload) -> Result<web::Bytes, Refusal> {
    let too_large =
        || ApiError::new(TOO_LARGE, "the body is larger than 64 kB").hint("No honest one is that long.");
    let broken = || ApiError::bad_argument("the body did not arrive whole").hint("Send it again.");
    Ok(payload.to_bytes_limited(BODY_MAX).await.map_err(|_| too_large())?.map_err(|_| broken())?)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        ApiError::bad_argument(format!("the body is not what this route takes: {error}"))
            .hint("GET /openapi.json describes it.")
            .into()
    })
}

/// Codes are written in groups, and people read them aloud: dashes, blanks and letter case do not matter.
pub(crate) fn code_hash(code: &str) -> Vec<u8> {
    let plain: String =
        code.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_uppercase()).collect();
    Sha256::digest(plain.as_bytes()).to_vec()
}

/// Records a refusal, not each of a flood of them. That the record fails must not change the answer.
async fn note(state: &AppState, device: Option<Uuid>, reason: &str, address: Option<IpAddr>) {
    let Some(earlier) = state.limits.records_refusal(address, device) else { return };
    let recorded =
        async { agent::refuse(&state.database.client().await?, device, reason, address, earlier).await };
    if let Err(error) = recorded.await {
        tracing::warn!(%error, reason, "a refused call could not be recorded");
    }
}
