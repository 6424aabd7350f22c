//! Refusing an upload so that the client reads the reason.

use std::future::ready;
use std::time::Duration;

use actix_web::body::{self, SizedStream};
use actix_web::{HttpResponse, web};
use futures::{StreamExt, stream};
use tokio::time::{Instant, sleep_until};

/// How long a refused client may go on sending. A client that reads the response stops at once.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends the refusal, then reads and discards the rest of the body. The system resets a connection that is
/// closed with unread bytes, and a browser in the middle of sending would report a network error instead of
/// the reason.
pub(super) async fn respond(refusal: HttpResponse, rest: web::Payload) -> HttpResponse {
    let (head, text) = refusal.into_parts();
    let Ok(text) = body::to_bytes(text).await else { return head.map_into_boxed_body() };
    let length = text.len() as u64;
    let discarded = rest
        .take_while(|chunk| ready(chunk.is_ok()))
        .take_until(sleep_until(Instant::now() + DRAIN_TIMEOUT))
        .filter_map(|_| ready(None));
    let answer = stream::iter([Ok::<_, actix_web::Error>(text)]).chain(discarded);
    head.set_body(SizedStream::new(length, answer)).map_into_boxed_body()
}
