//! Refusing an upload so that the client hears why.

use std::future::ready;
use std::time::Duration;

use actix_web::body::{self, SizedStream};
use actix_web::{HttpResponse, web};
use futures::{StreamExt, stream};
use tokio::time::{Instant, sleep_until};

/// How long a refused client may go on sending. One that read the answer stops at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends the refusal, then reads on and forgets what it reads. A connection closed with bytes unread is reset, and a
/// browser in the middle of sending would report a network error instead of the reason.
pub(super) async fn refuse(refusal: HttpResponse, rest: web::Payload) -> HttpResponse {
    let (head, text) = refusal.into_parts();
    let Ok(text) = body::to_bytes(text).await else { return head.map_into_boxed_body() };
    let length = text.len() as u64;
    let forgotten = rest
        .take_while(|chunk| ready(chunk.is_ok()))
        .take_until(sleep_until(Instant::now() + PATIENCE))
        .filter_map(|_| ready(None));
    let answer = stream::iter([Ok::<_, actix_web::Error>(text)]).chain(forgotten);
    head.set_body(SizedStream::new(length, answer)).map_into_boxed_body()
}
