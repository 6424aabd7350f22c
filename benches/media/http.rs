//! A client that costs as little as possible, so that the server is what is measured: bytes are read and dropped.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes that are read or sent at once.
const BUFFER: usize = 256 * 1024;

/// A kept connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// The start of a response.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) text: String,
    /// Bytes of the body that have not been read.
    pub(crate) rest: u64,
}

impl Head {
    /// A header of the response.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.text.lines().filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        Ok(Self { stream: TcpStream::connect(address).await?, buffer: vec![0; BUFFER] })
    }

    /// One that reads the start of a response alone.
    pub(crate) async fn small(address: SocketAddr) -> Result<Self> {
        Ok(Self { stream: TcpStream::connect(address).await?, buffer: vec![0; 4096] })
    }

    /// Sends a request without a body and reads the start of a response, which must be a success.
    pub(crate) async fn ask(&mut self, request: &str) -> Result<Head> {
        self.stream.write_all(request.as_bytes()).await?;
        self.head().await
    }

    async fn head(&mut self) -> Result<Head> {
        let mut length = 0;
        loop {
            let count = self.stream.read(&mut self.buffer[length..]).await?;
            ensure!(count > 0, "the connection ended before a response");
            length += count;
            let Some(end) = self.buffer[..length].windows(4).position(|four| four == b"\r\n\r\n") else {
                ensure!(length < self.buffer.len(), "a response without a body");
                continue;
            };
            let text = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
            let mut head = Head { text, rest: 0 };
            let body = (length - end - 4) as u64;
            if !head.text.starts_with("HTTP/1.1 2") {
                bail!("{}", String::from_utf8_lossy(&self.buffer[..length]));
            }
            let size = head.header("content-length").map_or(Ok(0), str::parse::<u64>)?;
            head.rest = size.checked_sub(body).context("more than the response came")?;
            return Ok(head);
        }
    }

    /// Reads the rest of a response and drops it.
    pub(crate) async fn finish(&mut self, head: &Head) -> Result<()> {
        let mut rest = head.rest;
        while rest > 0 {
            let count = self.stream.read(&mut self.buffer).await? as u64;
            ensure!(count > 0, "the connection ended {rest} bytes before the end of the response");
            rest = rest.checked_sub(count).context("more than the response came")?;
        }
        Ok(())
    }

    /// Sends a request whose body are `size` bytes, the first of which are `first`; answers the response's start.
    pub(crate) async fn send(&mut self, request: &str, first: &[u8], size: u64) -> Result<Head> {
        self.stream.write_all(request.as_bytes()).await?;
        let mut body: Vec<u8> =
            (0..BUFFER as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        body[..first.len()].copy_from_slice(first);
        let mut rest = size;
        while rest > 0 {
            let count = rest.min(BUFFER as u64);
            self.stream.write_all(&body[..count as usize]).await?;
            rest -= count;
        }
        let head = self.head().await?;
        self.finish(&head).await?;
        Ok(head)
    }
}
