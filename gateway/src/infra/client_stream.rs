//! A client's TCP connection that can be told to make room, and ends when its client takes nothing for long.

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

use super::connections::Connection;

/// How long a client may take nothing of a response. A paused player comes back for the rest with a range.
const WRITE_SILENCE: Duration = Duration::from_secs(120);

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

/// The stream of one connection.
#[derive(Debug)]
pub(crate) struct ClientStream {
    stream: TcpStream,
    connection: Arc<Connection>,
    /// Whether bytes were read that the HTTP service has not looked at yet.
    unread: bool,
    /// Runs while the client takes nothing.
    silence: Option<Pin<Box<Sleep>>>,
}

impl ClientStream {
    pub(crate) fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        Self { stream, connection, unread: false, silence: None }
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
            // They may be the end of a request, with which the connection becomes busy and stays.
            if take(&mut self.unread) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            // Not into the middle of a response that the client has not taken yet.
            if self.silence.is_none() {
                let _ = self.stream.try_write(EVICTED);
            }
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        }
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
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
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_ready() {
            self.silence = None;
            return written;
        }
        let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(WRITE_SILENCE)));
        silence.as_mut().poll(context).map(|()| Err(ErrorKind::TimedOut.into()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusals_that_are_sent_without_a_server_are_whole_responses_with_a_hint() {
        for refusal in [EVICTED, NO_ROOM] {
            let text = std::str::from_utf8(refusal).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            assert_eq!(length.parse::<usize>().unwrap(), body.len());
            let failure: nebula_api::Failure = serde_json::from_str(body).unwrap();
            assert!(failure.hint.is_some() && !failure.success);
        }
    }
}
