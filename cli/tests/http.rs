//! The real binary against a small HTTP server with scripted responses, for cases that a real gateway rarely
//! shows.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use openssl::sha::sha256;
use serde_json::{Value, json};
use server::{Answer, Request, Server};

#[path = "http/questions.rs"]
mod questions;
#[path = "http/server.rs"]
mod server;
#[path = "http/uploads.rs"]
mod uploads;

const PROJECT: &str = "6b1f9df0-8d8c-4b7e-9a55-0d6f3a1f7c11";

fn nebulactl(server: &Server, home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nebulactl"));
    command
        .env_clear()
        .env("XDG_CONFIG_HOME", home)
        .env("XDG_STATE_HOME", home)
        .env("NEBULA_SERVER", server.url());
    command.current_dir(home).stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn login(server: &Server, home: &Path) {
    std::fs::write(home.join("password"), "correct horse\n").unwrap();
    let output = run(nebulactl(server, home).args(["login", "ann", "--password-file", "password"]));
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// Login and projects, with refresh tokens that are good for one exchange.
struct Family {
    exchanges: AtomicUsize,
    reused: AtomicUsize,
}

impl Family {
    fn new() -> Self {
        Self { exchanges: AtomicUsize::new(0), reused: AtomicUsize::new(0) }
    }

    /// `None` for an unknown path. The first access token is valid for `first` seconds.
    fn answer(&self, request: &Request, first: u64) -> Option<Answer> {
        let generation = self.exchanges.load(Ordering::SeqCst);
        let tokens = |number: usize, seconds: u64| json!({ "accessToken": format!("access{number}"), "refreshToken": format!("refresh{number}"), "expiresIn": seconds });
        Some(match request.path.as_str() {
            "/api/auth/login" => Answer::json(200, &tokens(0, first)),
            "/api/auth/refresh" => {
                let sent: Value = serde_json::from_slice(&request.body).unwrap();
                if sent["refreshToken"] != format!("refresh{generation}") {
                    self.reused.fetch_add(1, Ordering::SeqCst);
                    return Some(failure(401, "the session has ended"));
                }
                // Keeps the exchange open until the other processes have started.
                thread::sleep(Duration::from_millis(300));
                let next = self.exchanges.fetch_add(1, Ordering::SeqCst) + 1;
                Answer::json(200, &tokens(next, 900))
            }
            _ if request.header("authorization") != Some(&format!("Bearer access{generation}")) => {
                failure(401, "the token has expired")
            }
            "/api/auth/me" => {
                Answer::data(&json!({ "accountId": PROJECT, "username": "ann", "role": "member" }))
            }
            "/api/projects" => Answer::data(&json!([{ "projectId": PROJECT, "name": "home", "cidr": null,
                "createdAt": "2026-01-01T00:00:00Z", "devices": 0, "files": 1 }])),
            _ => return None,
        })
    }
}

fn failure(status: u16, detail: &str) -> Answer {
    let body = json!({ "success": false, "error": "refused", "sqlstate": "28000", "detail": detail });
    Answer::json(status, &body)
}

#[test]
fn concurrent_processes_use_a_refresh_token_once() {
    let family = Arc::new(Family::new());
    let server = {
        let family = Arc::clone(&family);
        Server::start(move |request| {
            family.answer(request, 1).unwrap_or_else(|| failure(404, "no such route"))
        })
    };
    let home = tempfile::tempdir().unwrap();
    login(&server, home.path());
    // The first token is too short-lived to be used, so that reading the identity has exchanged it.
    assert_eq!(family.exchanges.load(Ordering::SeqCst), 1);
    let sessions = home.path().join("nebulactl/sessions.json");
    let stale = std::fs::read_to_string(&sessions).unwrap();
    let mut stale: Value = serde_json::from_str(&stale).unwrap();
    stale[server.url()]["expires_at"] = json!("2026-01-01T00:00:00Z");
    std::fs::write(&sessions, stale.to_string()).unwrap();

    let running: Vec<_> = (0..8)
        .map(|_| {
            let mut command = nebulactl(&server, home.path());
            command
                .args(["--json", "project", "ls"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for process in running {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        let projects: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(projects[0]["name"], "home");
    }
    assert_eq!(family.exchanges.load(Ordering::SeqCst), 2);
    assert_eq!(family.reused.load(Ordering::SeqCst), 0);
}

#[test]
fn a_refused_token_is_refreshed_and_an_ended_session_forgotten() {
    let family = Arc::new(Family::new());
    let server = {
        let family = Arc::clone(&family);
        Server::start(move |request| {
            family.answer(request, 900).unwrap_or_else(|| failure(404, "no such route"))
        })
    };
    let home = tempfile::tempdir().unwrap();
    login(&server, home.path());
    let sessions = home.path().join("nebulactl/sessions.json");
    let kept = std::fs::read_to_string(&sessions).unwrap();
    // The gateway does not know this token, and its end is not reached by this machine's clock.
    std::fs::write(&sessions, kept.replace("access0", "forged")).unwrap();
    assert!(run(nebulactl(&server, home.path()).args(["project", "ls"])).status.success());
    assert_eq!(family.exchanges.load(Ordering::SeqCst), 1);

    std::fs::write(&sessions, kept.replace("access0", "forged")).unwrap();
    let output = run(nebulactl(&server, home.path()).args(["project", "ls"]));
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains("has ended") && told.contains("hint: Sign in: nebulactl login"), "{told}");
    assert!(!told.contains("refresh0") && !told.contains("forged"), "{told}");
    assert_eq!(std::fs::read_to_string(&sessions).unwrap(), "{}");
}

/// A server with one film, whose first download breaks off in the middle.
fn film_server(content: Vec<u8>, sha256: String) -> (Server, Arc<AtomicUsize>) {
    let (family, downloads) = (Family::new(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&downloads);
    let server = Server::start(move |request| {
        if let Some(answer) = family.answer(request, 900) {
            return answer;
        }
        let tag = format!("\"{sha256}\"");
        match request.path.as_str() {
            "/api/files" => {
                Answer::data(&json!([{ "fileId": PROJECT, "projectId": PROJECT, "name": "film.mkv",
                "size": content.len(), "sha256": sha256, "contentType": "video/x-matroska", "owner": "ann",
                "uploadedAt": "2026-01-01T00:00:00Z", "state": "ready", "progress": null, "error": null, "jobId": 1,
                "renditions": [] }]))
            }
            _ => {
                assert_eq!(request.query, "rendition=original");
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let range = request.header("range").filter(|_| request.header("if-range") == Some(&tag));
                let from =
                    range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
                let answer = match from {
                    Some(from) => {
                        let last = content.len() - 1;
                        Answer::bytes(206, &content[from..])
                            .header("content-range", &format!("bytes {from}-{last}/{}", content.len()))
                    }
                    None => Answer::bytes(200, &content),
                };
                if number == 0 { answer.cut(content.len() / 2) } else { answer }
            }
        }
    });
    (server, downloads)
}

fn content() -> Vec<u8> {
    (0..3_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[test]
fn an_interrupted_download_continues_where_it_stopped() {
    let content = content();
    let (server, downloads) = film_server(content.clone(), hex::encode(sha256(&content)));
    let home = tempfile::tempdir().unwrap();
    login(&server, home.path());
    let output = run(nebulactl(&server, home.path()).args(["get", "--retry-for", "0", "film.mkv"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("broke off"), "{}", text(&output.stderr));
    let part = home.path().join("film.mkv.part");
    assert_eq!(part.metadata().unwrap().len() as usize, content.len() / 2);
    assert!(!home.path().join("film.mkv").exists());

    let output = run(nebulactl(&server, home.path()).args(["--json", "get", "film.mkv"]));
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(std::fs::read(home.path().join("film.mkv")).unwrap() == content);
    assert!(!part.exists());
    assert_eq!(server.last("/content").unwrap().header("range"), Some("bytes=1500000-"));
    assert_eq!(downloads.load(Ordering::SeqCst), 2);

    let output = run(nebulactl(&server, home.path()).args(["get", "film.mkv"]));
    assert!(text(&output.stderr).contains("film.mkv exists already"));
}

#[test]
fn a_download_to_a_stream_writes_nothing_but_the_content() {
    let content = content();
    let (server, _) = film_server(content.clone(), hex::encode(sha256(&content)));
    let home = tempfile::tempdir().unwrap();
    login(&server, home.path());
    let get = |output: &str| {
        run(nebulactl(&server, home.path()).args(["get", "--retry-for", "0", "film.mkv", "-o", output]))
    };
    // The first download breaks off; what has been written cannot be taken back, so that the status tells it.
    let broken = get("-");
    assert_eq!((broken.status.code(), broken.stdout.len()), (Some(1), content.len() / 2));
    assert!(text(&broken.stderr).contains("incomplete"), "{}", text(&broken.stderr));
    let whole = get("-");
    assert!(whole.status.success() && whole.stdout == content, "{}", text(&whole.stderr));
    assert!(text(&whole.stderr).contains("checksum verified"), "{}", text(&whole.stderr));
    let device = get("/dev/null");
    assert!(device.status.success() && device.stdout.is_empty(), "{}", text(&device.stderr));
    let mixed = run(nebulactl(&server, home.path()).args(["--json", "get", "film.mkv", "-o", "-"]));
    let told: Value = serde_json::from_slice(&mixed.stdout).unwrap();
    assert_eq!((mixed.status.code(), &told["error"]), (Some(1), &json!("invalid_argument")));
    let names: Vec<_> = home.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| name == "nebulactl" || name == "password"), "{names:?}");
}

#[test]
fn a_download_that_breaks_off_goes_on_by_itself() {
    let content = content();
    for output in ["-", "copy.mkv"] {
        let (server, downloads) = film_server(content.clone(), hex::encode(sha256(&content)));
        let home = tempfile::tempdir().unwrap();
        login(&server, home.path());
        let got = run(nebulactl(&server, home.path()).args(["get", "film.mkv", "-o", output]));
        assert!(text(&got.stderr).contains("broke off"), "{}", text(&got.stderr));
        let arrived = std::fs::read(home.path().join(output)).unwrap_or(got.stdout);
        assert!(got.status.success() && arrived == content, "{}", text(&got.stderr));
        assert_eq!(server.last("/content").unwrap().header("range"), Some("bytes=1500000-"));
        assert_eq!(downloads.load(Ordering::SeqCst), 2);
    }
}

#[test]
fn a_stream_with_a_wrong_checksum_fails() {
    let content = content();
    let (server, _) = film_server(content.clone(), "0".repeat(64));
    let home = tempfile::tempdir().unwrap();
    login(&server, home.path());
    for wanted in ["broke off", "its checksum differs"] {
        let get = ["get", "--retry-for", "0", "film.mkv", "-o", "-"];
        let output = run(nebulactl(&server, home.path()).args(get));
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(wanted), "{}", text(&output.stderr));
    }
}

#[test]
fn a_download_with_a_wrong_checksum_is_removed() {
    let content = content();
    let (server, _) = film_server(content.clone(), hex::encode(sha256(&content)));
    let home = tempfile::tempdir().unwrap();
    login(&server, home.path());
    std::fs::write(home.path().join("film.mkv.part"), "of something else").unwrap();
    // The first download breaks off; the second completes a part that was wrong from the start.
    for wanted in ["broke off", "its checksum differs"] {
        let output = run(nebulactl(&server, home.path()).args(["get", "--retry-for", "0", "film.mkv"]));
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(wanted), "{}", text(&output.stderr));
    }
    assert!(!home.path().join("film.mkv").exists() && !home.path().join("film.mkv.part").exists());
    assert!(run(nebulactl(&server, home.path()).args(["get", "film.mkv"])).status.success());
}

#[test]
fn failures_have_an_exit_status_a_sentence_and_a_hint() {
    let server = Server::start(|_| Answer::bytes(502, b"<html>"));
    let home = tempfile::tempdir().unwrap();
    let output = run(nebulactl(&server, home.path()).args(["ls", "--project", "home"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).ends_with("hint: Sign in: nebulactl login\n"), "{}", text(&output.stderr));

    let output = run(nebulactl(&server, home.path()).args(["ping"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("502 Bad Gateway"), "{}", text(&output.stderr));

    let output =
        run(nebulactl(&server, home.path()).args(["--server", "http://127.0.0.1:1", "--json", "ping"]));
    assert_eq!(output.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["detail"], "cannot reach http://127.0.0.1:1: Connection refused");
    assert!(told["hint"].as_str().unwrap().contains("make up"));

    for wrong in
        [&["--server", "home", "ping"][..], &["upload"], &["join", "--role", "lighthouse"], &["dance"]]
    {
        assert_eq!(run(nebulactl(&server, home.path()).args(wrong)).status.code(), Some(2), "{wrong:?}");
    }
    // Without a login nothing is saved.
    assert_eq!(home.path().read_dir().unwrap().count(), 0);
}
