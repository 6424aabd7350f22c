//! Uploads to a scripted gateway that speaks tus.

use std::path::Path;
use std::sync::{Arc, Mutex};

use openssl::sha::sha256;
use serde_json::{Value, json};

use crate::server::{Answer, Request, Server};
use crate::{Family, PROJECT, content, failure, login, nebulactl, run, text};

/// Keeps the bytes that arrive, and refuses names that begin with "bad".
#[derive(Default)]
struct Gateway {
    bytes: Mutex<Vec<u8>>,
    metadata: Mutex<Vec<String>>,
}

impl Gateway {
    /// The first request with bytes is answered when half of them are kept; the gateway restarts, as it were.
    fn answer(&self, request: &Request) -> Answer {
        let mut bytes = self.bytes.lock().unwrap();
        match request.method.as_str() {
            "POST" => {
                let metadata = request.header("upload-metadata").unwrap_or_default().to_owned();
                let is_bad = metadata.starts_with("filename YmFk");
                self.metadata.lock().unwrap().push(metadata);
                if is_bad {
                    return failure(409, "a file named \"bad\" with other content exists in the project");
                }
                bytes.clear();
                Answer::bytes(201, b"").header("Location", "/api/uploads/7")
            }
            "PATCH" => {
                assert_eq!(request.header("upload-offset"), Some(bytes.len().to_string().as_str()));
                let is_first = bytes.is_empty() && request.body.len() == content().len();
                let kept = if is_first { request.body.len() / 2 } else { request.body.len() };
                bytes.extend(&request.body[..kept]);
                if is_first { failure(503, "the gateway restarts") } else { Self::place(204, &bytes) }
            }
            "HEAD" => Self::place(200, &bytes),
            _ => Answer::data(&json!({ "fileId": PROJECT, "projectId": PROJECT, "name": "film.mkv",
                "size": bytes.len(), "sha256": hex::encode(sha256(&bytes)), "contentType": "video/x-matroska",
                "owner": "ann", "uploadedAt": "2026-01-01T00:00:00Z", "state": "ready", "progress": null,
                "error": null, "jobId": 1, "renditions": [] })),
        }
    }

    fn place(status: u16, bytes: &[u8]) -> Answer {
        let answer = Answer::bytes(status, b"").header("Upload-Offset", &bytes.len().to_string());
        if bytes.len() < content().len() && bytes.len() > 100 {
            return answer;
        }
        answer.header("Content-Location", &format!("/api/files/{PROJECT}"))
    }
}

fn start() -> (Server, Arc<Gateway>) {
    let (family, gateway) = (Family::new(), Arc::new(Gateway::default()));
    let answering = Arc::clone(&gateway);
    let server = Server::start(move |request| {
        family.answer(request, 900).unwrap_or_else(|| answering.answer(request))
    });
    (server, gateway)
}

fn notes(home: &Path) -> usize {
    home.join("nebulactl/uploads").read_dir().map_or(0, Iterator::count)
}

#[test]
fn an_upload_goes_on_after_a_failure_and_sends_only_what_is_missing() {
    let (server, gateway) = start();
    let home = tempfile::tempdir().unwrap();
    login(&server, home.path());
    std::fs::write(home.path().join("film.mkv"), content()).unwrap();
    let output =
        run(nebulactl(&server, home.path()).args(["--json", "upload", "--retry-for", "0", "film.mkv"]));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &told["detail"]), (Some(1), &json!("the gateway restarts")));
    assert_eq!(notes(home.path()), 1);
    let output = run(nebulactl(&server, home.path()).args(["upload", "film.mkv"]));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("1.4 MiB of it before"), "{}", text(&output.stdout));
    assert_eq!(server.last("/api/uploads/7").unwrap().header("content-length"), Some("1500000"));
    assert!(*gateway.bytes.lock().unwrap() == content());
    assert_eq!(notes(home.path()), 0);
}

#[test]
fn a_lost_connection_is_waited_for_and_what_is_refused_does_not_stop_the_others() {
    let (server, gateway) = start();
    let home = tempfile::tempdir().unwrap();
    login(&server, home.path());
    std::fs::create_dir(home.path().join("Trip")).unwrap();
    std::fs::write(home.path().join("Trip/bad.mkv"), "x").unwrap();
    std::fs::write(home.path().join("Trip/film.mkv"), content()).unwrap();
    let output = run(nebulactl(&server, home.path()).args(["upload", "-j1", "Trip", "none"]));
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains("note: Trip/film.mkv: the gateway restarts; trying again in"), "{told}");
    assert!(told.contains("error: Trip/bad.mkv: a file named \"bad\" with other content exists"), "{told}");
    assert!(told.contains("error: cannot read none: No such file or directory"), "{told}");
    assert!(text(&output.stdout).ends_with("2 files were not uploaded:\n"), "{}", text(&output.stdout));
    assert!(*gateway.bytes.lock().unwrap() == content());
    // "Trip", in base64.
    assert!(gateway.metadata.lock().unwrap().iter().all(|metadata| metadata.ends_with("folder VHJpcA==")));
}

#[test]
fn events_are_one_document_a_line() {
    let (server, _) = start();
    let home = tempfile::tempdir().unwrap();
    login(&server, home.path());
    std::fs::write(home.path().join("small"), "abc").unwrap();
    let output = run(nebulactl(&server, home.path()).args(["--json", "upload", "--progress", "small"]));
    assert!(output.status.success(), "{}", text(&output.stdout));
    let events = text(&output.stdout);
    let mut events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    events.retain(|event| event["event"] != "progress");
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["started", "uploaded", "finished"]);
    assert_eq!((&events[1]["path"], &events[1]["duplicate"]), (&json!("small"), &Value::Null));
}
