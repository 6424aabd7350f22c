//! The loop against a server that speaks as much of PostgreSQL's protocol as it needs.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use nebula_connect::Server;
use nebula_listen::{Event, listen};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::unbounded_channel;

/// A message of the server: its tag, the length, the body.
fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag], length.to_be_bytes().as_slice(), body].concat()
}

/// Reads a message of the client without its tag.
async fn read_body(stream: &mut TcpStream) -> Vec<u8> {
    let length = stream.read_u32().await.unwrap();
    let mut body = vec![0; length as usize - 4];
    stream.read_exact(&mut body).await.unwrap();
    body
}

/// Accepts one session, expects its LISTEN, sends one notification and hangs up.
async fn serve(server: &TcpListener, payload: &str) {
    let (mut stream, _) = server.accept().await.unwrap();
    read_body(&mut stream).await;
    let authenticated = message(b'R', &[0; 4]);
    let ready = message(b'Z', b"I");
    stream.write_all(&[authenticated, ready.clone()].concat()).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'Q');
    assert_eq!(read_body(&mut stream).await, b"LISTEN nebula_test\0");
    let complete = message(b'C', b"LISTEN\0");
    let notification =
        message(b'A', &[&[0; 4], b"nebula_test\0".as_slice(), payload.as_bytes(), b"\0"].concat());
    stream.write_all(&[complete, ready, notification].concat()).await.unwrap();
}

#[tokio::test]
async fn listening_resumes_after_the_connection_breaks() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let target = Server::parse(&format!("postgresql://test@127.0.0.1:{port}?sslmode=disable")).unwrap();
    let (sender, mut events) = unbounded_channel();
    let listening = tokio::spawn(async move {
        let on_event = |event: Event<'_>| sender.send(format!("{event:?}")).unwrap();
        listen(&target, "nebula_test", on_event).await
    });
    for payload in ["first", "second"] {
        serve(&server, payload).await;
        // A connection that breaks before LISTEN is one more failure, not the end.
        drop(server.accept().await.unwrap());
        let notification = format!("Notification({payload:?})");
        for expected in ["Connected", &notification, "Disconnected", "Disconnected"] {
            assert_eq!(events.recv().await.unwrap(), expected);
        }
    }
    listening.abort();
}
