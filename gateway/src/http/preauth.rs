//! A device asks to be let in without a code, waits, and gets one when an administrator has approved it.

use actix_web::{HttpRequest, HttpResponse, web};
use nebula_api::Envelope;
use nebula_api::dnapi::Data;
use nebula_api::enrolment::EnrolmentRequest;
use nebula_api::preauth::{Approval, ApproveQuery, PreAuth, PreAuthPoll, PreAuthQuery, PreAuthState};

use crate::database::enrolment as database;
use crate::domain::agent_protocol::Refusal;
use crate::domain::enrolment::code_hash;
use crate::domain::enrolment::preauth::{PollToken, requested_hash};
use crate::error::ApiError;
use crate::http::enrolment::{check_properties, server_url};
use crate::http::extractor::Actor;
use crate::http::object::Object;
use crate::state::AppState;

/// Begins the request of a device. An administrator gets the address that it names, and approves the request.
#[utoipa::path(post, path = "/v1/endpoint-auth/preauth", tag = "agent",
    responses((status = 200, description = "Begun", body = Data<PreAuth>)))]
pub(crate) async fn begin(state: web::Data<AppState>, request: HttpRequest) -> HttpResponse {
    let token = PollToken::new();
    let server = server_url(state.public_url.as_deref(), &request);
    let login_url = format!("{server}/?approve={}", token.request());
    HttpResponse::Ok()
        .insert_header(("Cache-Control", "no-store"))
        .json(Data { data: PreAuth { poll_token: token.text(), login_url } })
}

/// Whether the request is approved, and by which code the device then joins.
#[utoipa::path(get, path = "/v1/endpoint-auth/poll", tag = "agent", params(PreAuthQuery),
    responses((status = 200, description = "Its state", body = Data<PreAuthPoll>)))]
pub(crate) async fn poll(
    state: web::Data<AppState>,
    query: Result<web::Query<PreAuthQuery>, actix_web::Error>,
) -> Result<HttpResponse, Refusal> {
    let token = query.ok().and_then(|query| PollToken::parse(&query.poll_token)).ok_or_else(|| {
        let error = ApiError::bad_argument("this is no pollToken of a request")
            .hint("POST /v1/endpoint-auth/preauth gives one.");
        Refusal::field("pollToken", error)
    })?;
    let code = token.code();
    let client = state.database.client().await?;
    let poll = match database::project(&client, &code_hash(&code)).await? {
        Some(_) => PreAuthPoll { state: PreAuthState::Completed, enrollment_code: code },
        None => PreAuthPoll { state: PreAuthState::Waiting, enrollment_code: String::new() },
    };
    Ok(HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(Data { data: poll }))
}

/// Approves the request of a device, which then joins with these properties.
#[utoipa::path(post, path = "/api/enrolments/approve", tag = "enrolment", params(ApproveQuery),
    request_body = EnrolmentRequest,
    responses((status = 200, description = "Approved", body = Envelope<Approval>)))]
pub(crate) async fn approve(
    state: web::Data<AppState>,
    actor: Actor,
    query: web::Query<ApproveQuery>,
    body: web::Json<Object<EnrolmentRequest>>,
) -> Result<web::Json<Envelope<Approval>>, ApiError> {
    check_properties(&body)?;
    let hash = requested_hash(&query.request).ok_or_else(|| {
        ApiError::bad_argument("request is no number of a request")
            .field("request")
            .hint("It is the part of the device's address after approve=.")
    })?;
    let client = state.database.client().await?;
    let made = database::approve(&client, &actor.account, &body, &hash).await?;
    Ok(web::Json(Envelope::new(made)))
}
