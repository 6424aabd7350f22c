//! A client's connection, encrypted or not, that can be told to make room, and ends when its client takes nothing for
//! long.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::mem::take;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;

use super::connections::Connection;
use super::tls::Opening;

/// How long a client may take nothing of a response. A paused player comes back for the rest with a range.
const WRITE_SILENCE: Duration = Duration::from_secs(120);

/// The least that a client in a hurry must take, and in which time.
const MIN_TAKEN: usize = 256 << 10;
const PACE_INTERVAL: Duration = Duration::from_secs(30);

/// Sent to a client whose connection is closed before its request has arrived, to make room.
const EVICTED: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-type: application/json\r\n\
    content-length: 194\r\n\r\n{\"success\":false,\"error\":\"timeout\",\"sqlstate\":\"08006\",\
    \"detail\":\"the request had not arrived whole when others needed its connection\",\
    \"hint\":\"Send requests without pauses, on fewer connections.\"}";
/// Sent to a client when every connection is being worked on.
pub(crate) const NO_ROOM: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 5\r\n\
    content-type: application/json\r\ncontent-length: 183\r\n\r\n{\"success\":false,\"error\":\"unavailable\",\
    \"sqlstate\":\"53300\",\"detail\":\"this gateway has as many connections as it can have\",\
    \"hint\":\"Try again in a moment; its log says how many it has.\"}";

/// Sent to a client of another machine that does not encrypt, where it must.
pub(crate) const NOT_ENCRYPTED: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\
    content-type: application/json\r\ncontent-length: 140\r\n\r\n{\"success\":false,\"error\":\"bad_argument\",\
    \"sqlstate\":\"22023\",\"detail\":\"this address is encrypted\",\
    \"hint\":\"Write https:// instead of http://.\"}";

/// The stream of one connection.
#[derive(Debug)]
pub(crate) struct ClientStream {
    stream: Transport,
    connection: Arc<Connection>,
    /// Whether bytes were read that the HTTP service has not looked at yet.
    unread: bool,
    /// Runs while the client takes nothing.
    silence: Option<Pin<Box<Sleep>>>,
    /// Runs while the client must be quick.
    pace: Option<Pace>,
    pace_interval: Duration,
}

/// Bytes of a connection.
#[derive(Debug)]
enum Transport {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

/// Does the same with either kind of stream.
macro_rules! with_stream {
    ($transport:expr, $stream:ident => $work:expr) => {
        match $transport {
            Transport::Plain($stream) => $work,
            Transport::Encrypted($stream) => $work,
        }
    };
}

/// The bytes that a client took since a moment, and a clock for their number.
#[derive(Debug)]
struct Pace {
    taken: usize,
    interval: Duration,
    clock: Pin<Box<Sleep>>,
}

impl Pace {
    fn new(interval: Duration) -> Self {
        Self { taken: 0, interval, clock: Box::pin(sleep(interval)) }
    }

    /// Counts what was taken; answers whether it was too little for too long.
    fn is_too_slow(&mut self, taken: usize, context: &mut Context<'_>) -> bool {
        self.taken += taken;
        if self.clock.as_mut().poll(context).is_pending() {
            return false;
        }
        let too_slow = self.taken < MIN_TAKEN;
        *self = Self::new(self.interval);
        // Registers the new clock.
        too_slow || self.clock.as_mut().poll(context).is_ready()
    }
}

impl ClientStream {
    pub(crate) fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        Self::with(Transport::Plain(stream), connection)
    }

    /// A connection that may be encrypted.
    pub(crate) fn opened(opening: Opening, connection: Arc<Connection>) -> Self {
        let stream = match opening {
            Opening::Plain(stream) => Transport::Plain(stream),
            Opening::Encrypted(stream) => Transport::Encrypted(stream),
        };
        Self::with(stream, connection)
    }

    fn with(stream: Transport, connection: Arc<Connection>) -> Self {
        Self { stream, connection, unread: false, silence: None, pace: None, pace_interval: PACE_INTERVAL }
    }

    /// Whether it is encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self.stream, Transport::Encrypted(_))
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.connection.wake_on_closing(context.waker());
        if self.connection.is_closing() {
            // Bytes were read since the last look. If they complete a request, the connection becomes busy and is
            // not closed; so the handler runs first, and this is asked again.
            if take(&mut self.unread) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            // Not into the middle of a response that the client has not taken yet.
            if self.silence.is_none() {
                let _ =
                    with_stream!(&mut self.stream, stream => Pin::new(stream).poll_write(context, EVICTED));
            }
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        }
        let read = with_stream!(&mut self.stream, stream => Pin::new(stream).poll_read(context, buffer));
        self.unread = read.is_ready();
        read
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = with_stream!(&mut self.stream, stream => Pin::new(stream).poll_write(context, bytes));
        if self.connection.is_hurried() {
            let taken = if let Poll::Ready(Ok(count)) = &written { *count } else { 0 };
            let interval = self.pace_interval;
            if self.pace.get_or_insert_with(|| Pace::new(interval)).is_too_slow(taken, context) {
                return Poll::Ready(Err(ErrorKind::TimedOut.into()));
            }
        } else {
            self.pace = None;
        }
        if written.is_ready() {
            self.silence = None;
            return written;
        }
        let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(WRITE_SILENCE)));
        silence.as_mut().poll(context).map(|()| Err(ErrorKind::TimedOut.into()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_stream!(&mut self.stream, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_stream!(&mut self.stream, stream => Pin::new(stream).poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::infra::connections::Connections;
    use crate::infra::trusted_proxies::TrustedProxies;

    /// A stream, its connection in the table, and the client's end.
    async fn accepted() -> (ClientStream, Arc<Connection>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let connection = Connections::new(100, TrustedProxies::default()).admit(None).unwrap();
        let stream = ClientStream::new(listener.accept().await.unwrap().0, Arc::clone(&connection));
        (stream, connection, client)
    }

    /// Writes until the client is given up.
    async fn write_on(stream: &mut ClientStream) {
        while stream.write_all(&[0; 64 << 10]).await.is_ok() {}
    }

    #[tokio::test]
    async fn a_client_in_a_hurry_must_take_its_response_and_another_may_pause() {
        let (mut paused, _, _idle) = accepted().await;
        let (mut hurried, connection, _slow) = accepted().await;
        connection.hurry();
        for stream in [&mut paused, &mut hurried] {
            stream.pace_interval = Duration::from_millis(50);
        }
        tokio::select! {
            () = write_on(&mut hurried) => {}
            () = write_on(&mut paused) => panic!("it may pause"),
            () = sleep(Duration::from_secs(60)) => panic!("nothing limits the time"),
        }
    }

    #[tokio::test]
    async fn a_request_that_has_arrived_when_its_connection_is_told_to_close_is_answered() {
        let connections = Connections::new(2, TrustedProxies::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let connection = connections.admit(None).unwrap();
        let mut stream = ClientStream::new(listener.accept().await.unwrap().0, Arc::clone(&connection));
        client.write_all(b"GET").await.unwrap();
        assert_eq!(stream.read(&mut [0; 3]).await.unwrap(), 3);
        let newest = connections.admit(None).unwrap();
        assert!(connection.is_closing());
        // The HTTP service reads until there is nothing more, and looks at the request then.
        let again = futures::poll!(std::pin::pin!(stream.read(&mut [0; 1])));
        assert!(again.is_pending());
        connection.set_busy();
        assert!(futures::poll!(std::pin::pin!(stream.read(&mut [0; 1]))).is_pending());
        connection.set_waiting();
        drop(newest);
        let _next = connections.admit(None).unwrap();
        assert!(stream.read(&mut [0; 1]).await.is_err(), "one that waits makes room");
    }

    #[test]
    fn the_refusals_that_are_sent_without_a_server_are_whole_responses_with_a_hint() {
        for refusal in [EVICTED, NO_ROOM, NOT_ENCRYPTED] {
            let text = std::str::from_utf8(refusal).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            assert_eq!(length.parse::<usize>().unwrap(), body.len());
            let failure: nebula_api::Failure = serde_json::from_str(body).unwrap();
            assert!(failure.hint.is_some() && !failure.success);
        }
    }
}
