//! Where mpv is in a film: it says so on a socket (`--input-ipc-server`), one JSON document a line.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use nebula_api::bookmark::NewBookmark;
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::sleep;
use uuid::Uuid;

use crate::client::Client;

/// Between tries to reach a player that is starting.
const CONNECT_INTERVAL: Duration = Duration::from_millis(100);
/// Seconds of playing after which the place is noted; a crash loses no more.
const STEP: f64 = 10.0;
const OBSERVE: &[u8] = b"{\"command\":[\"observe_property\",1,\"duration\"]}\n\
                         {\"command\":[\"observe_property\",2,\"time-pos\"]}\n";

/// The socket of a player.
pub(super) struct Place {
    /// Readable by this user alone.
    folder: TempDir,
}

/// A line of mpv about a property that is observed.
#[derive(Deserialize)]
struct Message {
    name: Option<String>,
    data: Option<Value>,
}

/// Where a film is, and what of that was noted.
#[derive(Debug, Default, PartialEq)]
struct Position {
    seconds: Option<f64>,
    duration: Option<f64>,
    noted: Option<f64>,
}

impl Position {
    /// Takes a line of the player.
    fn read(&mut self, line: &str) {
        let Ok(Message { name: Some(name), data: Some(data) }) = serde_json::from_str(line) else { return };
        match name.as_str() {
            "time-pos" => self.seconds = data.as_f64().filter(|seconds| *seconds >= 0.0).or(self.seconds),
            "duration" => self.duration = data.as_f64().or(self.duration),
            _ => {}
        }
    }

    /// The bookmark to note, if the film has gone on by `step` seconds since the last one.
    fn due(&mut self, step: f64) -> Option<NewBookmark> {
        let seconds = self.seconds?;
        let noted = *self.noted.get_or_insert(seconds);
        if noted == seconds || (seconds - noted).abs() < step {
            return None;
        }
        self.noted = Some(seconds);
        Some(NewBookmark { seconds, duration: self.duration })
    }
}

impl Place {
    /// Tells a player where to listen.
    pub(super) fn listen(command: &mut Command) -> io::Result<Self> {
        let place = Self { folder: tempfile::tempdir()? };
        command.arg(format!("--input-ipc-server={}", place.socket().display()));
        Ok(place)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("mpv")
    }

    /// Notes where the film is until the player ends. A note that cannot be made now is made with the next.
    pub(super) async fn follow(
        &self,
        client: &Client,
        file_id: Uuid,
        running: &mut Child,
    ) -> io::Result<ExitStatus> {
        let path = format!("/api/files/{file_id}/bookmark");
        let note = async |bookmark: NewBookmark| drop(client.put::<Value>(&path, &bookmark).await);
        let mut position = Position::default();
        let mut lines = None;
        let status = loop {
            tokio::select! {
                status = running.wait() => break status?,
                line = self.next(&mut lines) => {
                    position.read(&line);
                    if let Some(bookmark) = position.due(STEP) {
                        note(bookmark).await;
                    }
                }
            }
        };
        // The last lines may still be on the way.
        while let Some(open) = &mut lines
            && let Ok(Some(line)) = open.next_line().await
        {
            position.read(&line);
        }
        if let Some(bookmark) = position.due(0.0) {
            note(bookmark).await;
        }
        Ok(status)
    }

    /// The next line of the player, which may still be starting; never, if it has closed the socket.
    async fn next(&self, lines: &mut Option<Lines<BufReader<UnixStream>>>) -> String {
        loop {
            let Some(open) = lines else {
                match self.connect().await {
                    Ok(stream) => *lines = Some(BufReader::new(stream).lines()),
                    Err(_) => sleep(CONNECT_INTERVAL).await,
                }
                continue;
            };
            match open.next_line().await {
                Ok(Some(line)) => return line,
                _ => std::future::pending().await,
            }
        }
    }

    async fn connect(&self) -> io::Result<UnixStream> {
        let mut stream = UnixStream::connect(self.socket()).await?;
        stream.write_all(OBSERVE).await?;
        Ok(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_noted_when_the_film_has_gone_on_and_at_the_end() {
        let mut position = Position::default();
        assert!(position.due(0.0).is_none());
        for line in [
            r#"{"request_id":0,"error":"success"}"#,
            r#"{"event":"property-change","id":1,"name":"duration","data":100.5}"#,
            r#"{"event":"property-change","id":2,"name":"time-pos","data":null}"#,
            r#"{"event":"property-change","id":2,"name":"time-pos","data":30.0}"#,
            "nonsense",
        ] {
            position.read(line);
        }
        assert!(position.due(10.0).is_none(), "it begins there");
        position.read(r#"{"name":"time-pos","data":39.5}"#);
        assert!(position.due(10.0).is_none());
        let end = position.due(0.0).unwrap();
        assert_eq!((end.seconds, end.duration), (39.5, Some(100.5)));
        assert!(position.due(0.0).is_none(), "nothing is noted twice");
        // Back to the start is a place, too.
        position.read(r#"{"name":"time-pos","data":0.0}"#);
        assert_eq!(position.due(10.0).unwrap().seconds, 0.0);
    }
}
