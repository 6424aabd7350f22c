//! The one command on a new device fetches these: the script that makes it a member, and `nebulactl`.

use std::env::consts::ARCH;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use futures::StreamExt;
use tokio_util::io::ReaderStream;

use crate::domain::enrolment::is_plain_url;
use crate::error::{ApiError, NOT_FOUND};
use crate::http::enrolment::server_url;
use crate::http::origin::client_address;
use crate::infra::connections::Connection;
use crate::infra::device_program::OpenProgram;
use crate::state::AppState;

/// How long a download may take: anybody may begin one.
const DOWNLOAD_TIME: Duration = Duration::from_secs(20 * 60);
const SCRIPT: &str = include_str!("../../../docker/install-device.sh");

/// The script of the command in an invitation: `curl -fsSL …/install.sh | sh -s -- CODE SHA256`.
#[utoipa::path(get, path = "/install.sh", tag = "enrolment",
    responses((status = 200, description = "A script for sh", content_type = "text/x-shellscript")))]
pub(crate) async fn script(
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let server = server_url(state.public_url.as_deref(), &request);
    // The text stands between quotes in a script that root runs.
    if !is_plain_url(&server) {
        return Err(ApiError::bad_argument("the Host header is no name of a host")
            .hint("Ask for the script at the address of the gateway, or set NEBULA_PUBLIC_URL."));
    }
    let text = SCRIPT.replace("@SERVER@", &server).replace("@ARCH@", ARCH);
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/x-shellscript; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(text))
}

/// `nebulactl`, as built for the machine of the gateway.
#[utoipa::path(get, path = "/download/nebulactl", tag = "enrolment",
    responses((status = 200, description = "A program for Linux", content_type = "application/octet-stream")))]
pub(crate) async fn program(
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let permit = state.transfers.of_anonymous(client_address(&request))?;
    request.conn_data::<Arc<Connection>>().iter().for_each(|connection| connection.hurry());
    let opened = state.device_program.open().await.map_err(|error| ApiError::internal(&error))?;
    let none = || {
        ApiError::new(NOT_FOUND, "this gateway has no nebulactl to give away")
            .hint("Put the program nebulactl beside nebula-gateway.")
    };
    let OpenProgram { file, length, sha256 } = opened.ok_or_else(none)?;
    let stream = ReaderStream::with_capacity(tokio::fs::File::from_std(file), 64 << 10)
        .take_until(tokio::time::sleep(DOWNLOAD_TIME))
        .inspect(move |_| {
            let _held = &permit;
        });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/octet-stream"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header(("X-Checksum-SHA256", sha256))
        .body(SizedStream::new(length, stream)))
}
