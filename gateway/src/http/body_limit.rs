//! The time that a request's body may take, and the state of its connection meanwhile.

use std::cell::Cell;
use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::{ConnectionType, Method};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, ResponseError, web};
use bytes::Bytes;
use futures::Stream;
use futures::stream::StreamExt;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::error::{ApiError, TIMEOUT, UNAVAILABLE};
use crate::infra::connections::{BodyLimits, Connection};
use crate::state::AppState;

/// How many times longer than other bodies that of a file may pause.
const UPLOAD_SILENCES: u32 = 8;

/// The time that the body of one request may take, and whether it took longer.
#[derive(Debug)]
pub(crate) struct BodyTimer {
    begun: Instant,
    end: Cell<Instant>,
    silence: Cell<Duration>,
    limits: BodyLimits,
    timed_out: Cell<bool>,
    connection: Option<Arc<Connection>>,
}

impl BodyTimer {
    /// Gives an upload by a known account the time that a large file takes, and pauses of two minutes by
    /// default, as a phone makes them between two networks.
    pub(crate) fn allow_upload(request: &HttpRequest) {
        Self::change(request, |timer| {
            timer.silence.set(timer.limits.silence * UPLOAD_SILENCES);
            timer.end.set(timer.begun + timer.limits.upload);
        });
    }

    /// Gives the stream of a known device its time, and pauses that are this many times as long as usual.
    pub(crate) fn allow(request: &HttpRequest, time: Duration, silence: u32) {
        Self::change(request, |timer| {
            timer.silence.set(timer.limits.silence * silence);
            timer.end.set(timer.begun + time);
        });
    }

    fn change(request: &HttpRequest, change: impl FnOnce(&Self)) {
        let extensions = request.extensions();
        let Some(timer) = extensions.get::<Rc<Self>>() else { return };
        change(timer);
        if let Some(connection) = &timer.connection {
            connection.set_busy();
        }
    }
}

/// Middleware: ends bodies that come too slowly with 408, whatever the handler makes of them; answers only
/// questions about health above the limit of connections; and answers HEAD without a body.
pub(crate) async fn limit_body(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let connection = request.request().conn_data::<Arc<Connection>>().cloned();
    if connection.as_ref().is_some_and(|connection| connection.reserved)
        && !request.path().starts_with("/health/")
    {
        let (request, _) = request.into_parts();
        return Ok(closing(request, &full()));
    }
    let timer = match request.take_payload() {
        Payload::None => {
            connection.iter().for_each(|connection| connection.set_busy());
            None
        }
        payload => {
            let limits = request.app_data::<web::Data<AppState>>().map(|state| state.body_limits);
            let timer = limits.map(|limits| Rc::new(BodyTimer::new(limits, connection.clone())));
            request.set_payload(match &timer {
                Some(timer) => TimedBody::new(Rc::clone(timer), payload).into_payload(),
                None => payload,
            });
            timer
        }
    };
    if let Some(timer) = &timer {
        request.extensions_mut().insert(Rc::clone(timer));
    }
    let response = next.call(request).await?;
    connection.iter().for_each(|connection| connection.set_busy());
    if timer.is_some_and(|timer| timer.timed_out.get()) {
        let (request, _) = response.into_parts();
        return Ok(closing(request, &too_slow()));
    }
    let is_head = response.request().method() == Method::HEAD;
    Ok(response.map_body(|_, body| {
        let body = if is_head { BoxBody::new(NoBody(body.size())) } else { body.boxed() };
        match connection {
            Some(connection) => BoxBody::new(Watched { body, connection }),
            None => body,
        }
    }))
}

fn full() -> ApiError {
    ApiError::new(UNAVAILABLE, "this gateway has as many connections as it can have")
        .hint("Try again in a moment; its log says how many it has.")
}

fn too_slow() -> ApiError {
    ApiError::new(TIMEOUT, "the body of the request came too slowly").hint(
        "Send it without pauses; NEBULA_BODY_SILENCE and NEBULA_BODY_TIME of the gateway are the limits.",
    )
}

fn closing(request: HttpRequest, error: &ApiError) -> ServiceResponse<BoxBody> {
    let mut response = error.error_response();
    response.head_mut().set_connection_type(ConnectionType::Close);
    ServiceResponse::new(request, response)
}

impl BodyTimer {
    fn new(limits: BodyLimits, connection: Option<Arc<Connection>>) -> Self {
        let begun = Instant::now();
        let end = Cell::new(begun + limits.whole);
        let silence = Cell::new(limits.silence);
        Self { begun, end, silence, limits, timed_out: Cell::new(false), connection }
    }
}

/// A body with a clock that runs while the client is waited for, and not while the gateway is busy with what
/// came.
struct TimedBody {
    timer: Rc<BodyTimer>,
    body: Payload,
    clock: Option<Pin<Box<Sleep>>>,
}

impl TimedBody {
    fn new(timer: Rc<BodyTimer>, body: Payload) -> Self {
        Self { timer, body, clock: None }
    }

    fn into_payload(self) -> Payload {
        Payload::Stream { payload: Box::pin(self) }
    }
}

impl Stream for TimedBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(chunk) = self.body.poll_next_unpin(context) {
            self.clock = None;
            if let (None, Some(connection)) = (&chunk, &self.timer.connection) {
                connection.set_busy();
            }
            return Poll::Ready(chunk);
        }
        let until = (Instant::now() + self.timer.silence.get()).min(self.timer.end.get());
        let clock = self.clock.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if clock.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.timer.timed_out.set(true);
        Poll::Ready(Some(Err(PayloadError::Io(ErrorKind::TimedOut.into()))))
    }
}

/// The body of a response to HEAD: its size and nothing else.
struct NoBody(BodySize);

impl MessageBody for NoBody {
    type Error = Error;

    fn size(&self) -> BodySize {
        self.0
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        Poll::Ready(None)
    }
}

/// A body whose end leaves its connection waiting for the client.
struct Watched {
    body: BoxBody,
    connection: Arc<Connection>,
}

impl MessageBody for Watched {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.connection.set_waiting();
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, HttpResponse, middleware::from_fn};
    use futures::stream;

    use super::*;
    use crate::state;

    /// A chunk, then nothing for ever.
    fn stuck() -> Payload {
        let body = stream::iter([Ok(Bytes::from_static(b"x"))]).chain(stream::pending());
        Payload::Stream { payload: Box::pin(body) }
    }

    #[actix_web::test]
    async fn a_body_that_stops_is_answered_with_408_whatever_the_handler_makes_of_it() {
        let (state, _folder) = state::tests::unconnected();
        let handler = async |body: web::Payload| {
            HttpResponse::Ok().body(format!("{:?}", body.to_bytes().await.is_ok()))
        };
        let app = App::new().app_data(state).wrap(from_fn(limit_body)).default_service(web::to(handler));
        let app = init_service(app).await;
        let mut request = TestRequest::post().uri("/").to_request();
        let _ = request.take_payload();
        let (request, _) = request.replace_payload(stuck());
        let response = call_service(&app, request).await;
        assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
        assert!(!response.response().head().keep_alive());
    }

    #[actix_web::test]
    async fn head_is_answered_with_the_length_and_without_a_body() {
        let handler = async || HttpResponse::Ok().body("twelve bytes");
        let app = App::new().wrap(from_fn(limit_body)).default_service(web::to(handler));
        let app = init_service(app).await;
        let response = call_service(&app, TestRequest::default().method(Method::HEAD).to_request()).await;
        assert_eq!(response.response().body().size(), BodySize::Sized(12));
        assert!(actix_web::test::read_body(response).await.is_empty());
    }
}
