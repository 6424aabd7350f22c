//! The agent protocol: `/v2/enroll` and `/v1/dnclient`. [`nebula_api::dnapi`] describes it.

use std::net::IpAddr;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use nebula_api::dnapi::{
    Call, CheckForUpdate, CommandResponse, Data, Downloads, EnrollRequest, Enrollment, LongPollAnswer,
    Message, SignedAnswer, kind,
};
use serde::de::DeserializeOwned;

use crate::database::agent::Caller;
use crate::domain::agent_protocol::{Refusal, RequestHead};
use crate::error::{ApiError, TOO_LARGE};
use crate::http::body_limit::BodyTimer;
use crate::http::enrolment::server_url;
use crate::http::object::{Fault, ForeignObject};
use crate::http::origin::client_address;
use crate::state::AppState;

/// Largest body in bytes. The longest that a correct client sends is the report of a device with some hundred
/// peers.
const MAX_BODY: usize = 64 * 1024;
/// Largest body of a call: that of the agent of a node with a thousand peers. Few may come at the same time.
const MAX_CALL: usize = 1024 * 1024;
/// Most bytes that may follow a call, how long they may take, and how often longer than usual the device may
/// be silent meanwhile.
const MAX_STREAM: usize = 64 * 1024 * 1024;
const STREAM_TIME: Duration = Duration::from_secs(15 * 60);
const STREAM_SILENCE: u32 = 4;

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
    let large = || state.transfers.of_large_call(client);
    let (body, rest) = Box::pin(read_call(payload, large)).await?;
    let call: Call = parse(&body)?;
    let device = call.host_id.parse().ok();
    let identified = Box::pin(identify(&state, &call, &request, &body)).await;
    let response = match identified {
        Ok((caller, message)) if message.kind == kind::COMMAND_RESPONSE => {
            Box::pin(stream(&state, &caller, &message, &request, rest)).await
        }
        Ok((caller, message)) if message.kind == kind::REAUTHENTICATE => {
            let login_url = server_url(state.public_url.as_deref(), &request);
            Box::pin(state.agents.reauthenticate(&caller, login_url)).await.map(json)
        }
        Ok((caller, message)) => {
            drop((request, body, call));
            respond(&state, caller, message, client).await
        }
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
        kind::SYNC_NODE => Ok(json(Box::pin(agents.sync_node(caller, value(&message)?)).await?)),
        kind::FIND_DEVICE => Ok(json(Box::pin(agents.find_device(&caller, value(&message)?)).await?)),
        kind::LEAVE => {
            Box::pin(agents.leave(&caller, address)).await?;
            Ok(json(serde_json::Map::new()))
        }
        other => {
            let shown: String = other.chars().take(64).collect();
            let detail = format!("messages of type {shown:?} are not supported");
            let hint = "Use CheckForUpdate, LongPollWait, DoUpdate, DoConfigUpdate, CommandResponse, \
                        Reauthenticate, Status, FindDevice, SyncNode or Leave.";
            Err(Refusal::field("message.type", ApiError::bad_argument(detail).hint(hint)))
        }
    }
}

fn json<T: serde::Serialize>(data: T) -> HttpResponse {
    HttpResponse::Ok().json(Data { data })
}

fn value<T: DeserializeOwned>(message: &Message) -> Result<T, Refusal> {
    serde_json::from_slice(&message.value).map(|ForeignObject(value)| value).map_err(|error| {
        let Fault { words, .. } = Fault::of(&error.to_string());
        let detail = format!("the value of this {} message cannot be read: {words}", message.kind);
        Refusal::field("message.value", ApiError::bad_argument(detail))
    })
}

/// A call, and the rest of its body where that is streamed: the open client sends the output of a command
/// behind the call that announces it, as it comes. `large` is asked for a permit before more than usual is
/// kept.
async fn read_call<P>(
    mut payload: web::Payload,
    large: impl Fn() -> Result<P, ApiError>,
) -> Result<(Vec<u8>, Option<web::Payload>), Refusal> {
    let (mut body, mut scanner, mut permit) = (Vec::new(), JsonEnd::default(), None);
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| broken())?;
        let end = scanner.find(&chunk).map(|end| body.len() + end);
        body.extend_from_slice(&chunk);
        if let Some(end) = end
            && announces_stream(&body[..end])
        {
            body.truncate(end);
            return Ok((body, Some(payload)));
        }
        if body.len() > MAX_CALL {
            return Err(too_large("1 MB").into());
        }
        if body.len() > MAX_BODY && permit.is_none() {
            permit = Some(large()?);
        }
    }
    Ok((body, None))
}

fn announces_stream(call: &[u8]) -> bool {
    let message =
        serde_json::from_slice::<Call>(call).ok().and_then(|call| STANDARD.decode(call.message).ok());
    let message = message.and_then(|bytes| serde_json::from_slice::<Message>(&bytes).ok());
    message.is_some_and(|message| message.kind == kind::COMMAND_RESPONSE)
}

/// Takes the output of a command, of which a device has a few on their way at the same time.
async fn stream(
    state: &AppState,
    caller: &Caller,
    message: &Message,
    request: &HttpRequest,
    rest: Option<web::Payload>,
) -> Result<HttpResponse, Refusal> {
    let _permit = state.transfers.of_device(caller.device_id)?;
    BodyTimer::allow(request, STREAM_TIME, STREAM_SILENCE);
    let _: CommandResponse = value(message)?;
    discard(rest).await
}

/// Reads what follows a call to its end.
async fn discard(rest: Option<web::Payload>) -> Result<HttpResponse, Refusal> {
    let mut size = 0;
    if let Some(mut rest) = rest {
        while let Some(chunk) = rest.next().await {
            size += chunk.map_err(|_| broken())?.len();
            if size > MAX_STREAM {
                return Err(ApiError::new(TOO_LARGE, "more than 64 MB follow the call")
                    .hint("The gateway sends no commands, and discards what is said about them.")
                    .into());
            }
        }
    }
    Ok(json(serde_json::Map::new()))
}

/// Finds the end of the JSON object that a body begins with, chunk by chunk.
#[derive(Default)]
struct JsonEnd {
    depth: usize,
    in_text: bool,
    escaped: bool,
    found: bool,
}

impl JsonEnd {
    /// The number of bytes of this chunk up to the end, the first time it is seen.
    fn find(&mut self, chunk: &[u8]) -> Option<usize> {
        if self.found {
            return None;
        }
        for (at, byte) in chunk.iter().enumerate() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_text => self.escaped = true,
                b'"' => self.in_text = !self.in_text,
                b'{' if !self.in_text => self.depth += 1,
                b'}' if !self.in_text => {
                    self.depth = self.depth.saturating_sub(1);
                    self.found = self.depth == 0;
                }
                _ => {}
            }
            if self.found {
                return Some(at + 1);
            }
        }
        None
    }
}

/// The body. Its declared type is ignored: the foreign client declares none.
async fn read(payload: web::Payload) -> Result<web::Bytes, Refusal> {
    Ok(payload.to_bytes_limited(MAX_BODY).await.map_err(|_| too_large("64 kB"))?.map_err(|_| broken())?)
}

fn too_large(limit: &str) -> ApiError {
    ApiError::new(TOO_LARGE, format!("the body is larger than {limit}"))
        .hint("No call of this protocol needs as much.")
}

fn broken() -> ApiError {
    ApiError::bad_argument("the body did not arrive whole").hint("Send it again.")
}

/// Programs of the closed service: there are none here.
#[utoipa::path(get, path = "/v1/downloads", tag = "agent",
    responses((status = 200, description = "Empty lists", body = Data<Downloads>)))]
pub(crate) async fn downloads() -> HttpResponse {
    json(Downloads::default())
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map(|ForeignObject(body)| body).map_err(|error| {
        let Fault { words, .. } = Fault::of(&error.to_string());
        ApiError::bad_argument(format!("the body is not what this route takes: {words}"))
            .hint("GET /openapi.json describes it.")
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_call_is_found_wherever_the_body_is_cut() {
        let call = br#"{"a":"}\\\"{","b":{"c":1}}"#;
        let body = [call.as_slice(), b"{output}"].concat();
        for cut in 0..body.len() {
            let mut scanner = JsonEnd::default();
            let (first, second) = body.split_at(cut);
            let end = scanner.find(first).or_else(|| scanner.find(second).map(|end| cut + end));
            assert_eq!(end, Some(call.len()), "cut at {cut}");
            assert_eq!(scanner.find(b"{}"), None);
        }
    }
}
