//! Whether a request came encrypted, and what browsers are told then.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderValue, STRICT_TRANSPORT_SECURITY};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest};

/// A year, as browsers' lists of such hosts ask for.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Kept with each connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encryption {
    pub(crate) is_on: bool,
    /// Whether clients of other machines must encrypt.
    pub(crate) is_required: bool,
}

/// Whether the connection of a request is encrypted here, not by a proxy.
pub(crate) fn is_encrypted(request: &HttpRequest) -> bool {
    request.conn_data::<Encryption>().is_some_and(|encryption| encryption.is_on)
}

/// Middleware: tells browsers to use TLS only from now on (RFC 6797), where the certificate is one that they accept. With
/// one that the gateway signed itself they could never be told otherwise.
pub(crate) async fn tell_browsers<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let encryption = request.request().conn_data::<Encryption>().copied();
    let mut response = next.call(request).await?;
    if encryption.is_some_and(|encryption| encryption.is_on && encryption.is_required) {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, HSTS);
    }
    Ok(response)
}
