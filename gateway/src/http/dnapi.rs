//! The agent protocol: `/v2/enroll` and `/v1/dnclient`. [`nebula_api::dnapi`] describes it.

use std::net::IpAddr;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use nebula_api::dnapi::{
    Call, CheckForUpdate, Data, EnrollRequest, Enrollment, LongPollAnswer, Message, SignedAnswer, kind,
};
use serde::de::DeserializeOwned;

use crate::database::agent::Caller;
use crate::domain::agent_protocol::{Refusal, RequestHead};
use crate::error::{ApiError, TOO_LARGE};
use crate::http::extractor::client_address;
use crate::state::AppState;

/// Largest body in bytes. The longest that a correct client sends is the report of a device with some hundred
/// peers.
const MAX_BODY: usize = 64 * 1024;

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.error().status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let body = serde_json::to_string(&self.body()).unwrap_or_default();
        self.error().error_response().set_body(BoxBody::new(body))
    }
}

/// Enrols a device by a code: identity, address, certificates and configuration in one transaction. The
/// client does not know the network's curve yet, so it sends keys of both.
#[utoipa::path(post, path = "/v2/enroll", tag = "agent", request_body = EnrollRequest,
    responses((status = 200, description = "Enrolled", body = Data<Enrollment>)))]
pub(crate) async fn enroll(
    state: web::Data<AppState>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let body: EnrollRequest = parse(&read(payload).await?)?;
    let enrollment = state.agents.enroll(&body, client_address(&request)).await?;
    Ok(json(enrollment))
}

/// A signed call of an enrolled device, which asks, waits, fetches, reports or leaves.
#[utoipa::path(post, path = "/v1/dnclient", tag = "agent", request_body = Call,
    responses((status = 200, description = "What the message's type answers", content(
        (Data<SignedAnswer> = "application/json"), (Data<CheckForUpdate> = "application/json"),
        (Data<LongPollAnswer> = "application/json")))))]
pub(crate) async fn call(
    state: web::Data<AppState>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let client = client_address(&request);
    // Ten thousand agents may wait at once, so all that was read is freed before the wait.
    let body = Box::pin(read(payload)).await?;
    let call: Call = parse(&body)?;
    let device = call.host_id.parse().ok();
    let identified = Box::pin(identify(&state, &call, &request, &body)).await;
    drop((request, body, call));
    let response = match identified {
        Ok((caller, message)) => respond(&state, caller, message, client).await,
        Err(refusal) => Err(refusal),
    };
    if let Err(refusal) = &response
        && refusal.is_unauthenticated()
    {
        Box::pin(state.agents.record_refusal(device, refusal, client)).await;
    }
    response
}

async fn identify(
    state: &AppState,
    call: &Call,
    request: &HttpRequest,
    body: &[u8],
) -> Result<(Caller, Message), Refusal> {
    let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().ok()));
    let (method, path) = (request.method().as_str(), request.path());
    let head = RequestHead { method, path, headers: headers.collect() };
    state.agents.identify(call, &head, body).await
}

async fn respond(
    state: &AppState,
    caller: Caller,
    message: Message,
    address: Option<IpAddr>,
) -> Result<HttpResponse, Refusal> {
    let agents = &state.agents;
    // The other branches are boxed, so that a waiting agent does not keep memory for them.
    match message.kind.as_str() {
        kind::LONG_POLL_WAIT => {
            let supported = value(&message)?;
            drop(message);
            Ok(json(agents.long_poll(&caller, supported).await?))
        }
        kind::CHECK_FOR_UPDATE => {
            let update_available = Box::pin(agents.has_update(&caller)).await?;
            Ok(json(CheckForUpdate { update_available }))
        }
        kind::DO_UPDATE => Ok(json(Box::pin(agents.update(caller, value(&message)?, true)).await?)),
        kind::DO_CONFIG_UPDATE => Ok(json(Box::pin(agents.update(caller, value(&message)?, false)).await?)),
        kind::STATUS => Ok(json(Box::pin(agents.report(&caller, value(&message)?, address)).await?)),
        kind::FIND_DEVICE => Ok(json(Box::pin(agents.find_device(&caller, value(&message)?)).await?)),
        kind::LEAVE => {
            Box::pin(agents.leave(&caller, address)).await?;
            Ok(json(serde_json::Map::new()))
        }
        other => {
            let shown: String = other.chars().take(64).collect();
            let detail = format!("messages of type {shown:?} are not supported");
            let hint =
                "Use CheckForUpdate, LongPollWait, DoUpdate, DoConfigUpdate, Status, FindDevice or Leave.";
            Err(Refusal::field("message.type", ApiError::bad_argument(detail).hint(hint)))
        }
    }
}

fn json<T: serde::Serialize>(data: T) -> HttpResponse {
    HttpResponse::Ok().json(Data { data })
}

fn value<T: DeserializeOwned>(message: &Message) -> Result<T, Refusal> {
    serde_json::from_slice(&message.value).map_err(|error| {
        let detail = format!("the value of this {} message cannot be read: {error}", message.kind);
        Refusal::field("message.value", ApiError::bad_argument(detail))
    })
}

/// The body. Its declared type is ignored: the foreign client declares none.
async fn read(payload: web::Payload) -> Result<web::Bytes, Refusal> {
    let too_large = || {
        ApiError::new(TOO_LARGE, "the body is larger than 64 kB")
            .hint("No call of this protocol needs as much.")
    };
    let broken = || ApiError::bad_argument("the body did not arrive whole").hint("Send it again.");
    Ok(payload.to_bytes_limited(MAX_BODY).await.map_err(|_| too_large())?.map_err(|_| broken())?)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        ApiError::bad_argument(format!("the body is not what this route takes: {error}"))
            .hint("GET /openapi.json describes it.")
            .into()
    })
}
