//! Commands that cannot be undone ask first, and the commands about this machine's device agree on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::server::{Answer, Request, Server};
use super::{Family, PROJECT, failure, login, nebulactl, run, text};

const FINGERPRINT: &str = "abcdef0123456789";

/// A project with one of everything that a command can destroy; `changes` counts the requests that change it.
fn project_server() -> (Server, Arc<AtomicUsize>) {
    let (family, changes) = (Family::new(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&changes);
    let time = "2026-01-01T00:00:00Z";
    let server = Server::start(move |request| {
        if let Some(answer) = family.answer(request, 900) {
            return answer;
        }
        match request.path.as_str() {
            "/api/files" => {
                Answer::data(&json!([{ "fileId": PROJECT, "projectId": PROJECT, "name": "film.mkv",
                "size": 7, "sha256": "00", "contentType": "video/x-matroska", "owner": "ann",
                "uploadedAt": time, "state": "ready", "progress": null, "error": null, "jobId": 1, "renditions": [] }]))
            }
            "/api/devices" => {
                Answer::data(&json!([{ "deviceId": PROJECT, "projectId": PROJECT, "name": "laptop",
                "role": "host", "owner": "ann", "nebulaIp": "10.42.0.5", "pool": null, "endpoints": [],
                "curve": "25519", "registeredAt": time, "lastSeenAt": null, "revokedAt": null,
                "fingerprint": null, "certificateNotAfter": null }]))
            }
            "/api/authorities" => Answer::data(&json!([{ "fingerprint": FINGERPRINT, "name": "next",
                "curve": "25519", "notBefore": time, "notAfter": time, "daysLeft": 9, "projects": [],
                "hasKey": true, "warning": null, "networks": [], "version": 1 }])),
            "/api/rotations" if request.body.is_empty() => Answer::data(&json!([])),
            _ => {
                counter.fetch_add(1, Ordering::SeqCst);
                changed(request)
            }
        }
    });
    (server, changes)
}

fn changed(request: &Request) -> Answer {
    if request.path.ends_with("/revoke") {
        let time = "2026-01-01T00:00:00Z";
        return Answer::data(
            &json!({ "deviceId": PROJECT, "name": "laptop", "members": 0, "acknowledged": 0,
            "missing": [], "fingerprints": [], "version": null, "revokedAt": time,
            "revokedEverywhereAt": time }),
        );
    }
    if request.path.contains("/release/") {
        return Answer::data(&json!({ "nebulaIp": "10.42.0.5", "deviceId": PROJECT }));
    }
    if request.path.starts_with("/api/rotations") {
        return Answer::data(&json!({ "state": "distributing" }));
    }
    Answer::json(200, &json!({ "success": true, "data": null }))
}

#[test]
fn without_a_terminal_nothing_is_destroyed_unless_yes_is_given() {
    let (server, changes) = project_server();
    let home = tempfile::tempdir().unwrap();
    login(&server, home.path());
    for command in [
        &["rm", "film.mkv"][..],
        &["device", "revoke", "laptop", "--no-wait"],
        &["device", "release", "laptop"],
        &["ca", "rotate", "--to", "next"],
        &["ca", "rotate", "--force"],
        &["enrolment", "revoke", PROJECT],
        &["share", "revoke", PROJECT],
    ] {
        let before = changes.load(Ordering::SeqCst);
        let output = run(nebulactl(&server, home.path()).args(command).arg("--json"));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (output.status.code(), &told["error"]),
            (Some(2), &json!("invalid_argument")),
            "{command:?}"
        );
        assert!(told["hint"].as_str().unwrap().contains("--yes"), "{command:?}: {told}");
        assert_eq!(changes.load(Ordering::SeqCst), before, "{command:?}");
        let output = run(nebulactl(&server, home.path()).args(command).arg("--yes"));
        assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
        assert_eq!(changes.load(Ordering::SeqCst), before + 1, "{command:?}");
    }
}

#[test]
fn without_a_device_and_a_session_status_says_so() {
    let server = Server::start(|_| failure(401, "no"));
    let home = tempfile::tempdir().unwrap();
    let status = |arguments: &[&str]| {
        run(nebulactl(&server, home.path()).args(["status", "--dir", "none"]).args(arguments))
    };
    let shown = status(&[]);
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    let shown = text(&shown.stdout);
    for expected in ["Device    none in none", &format!("Server    {}", server.url()), "nebulactl login"] {
        assert!(shown.contains(expected), "{shown}");
    }
    let told: Value = serde_json::from_slice(&status(&["--json"]).stdout).unwrap();
    assert_eq!(told, json!({ "server": server.url(), "device": null }));
}

#[test]
fn without_a_device_status_shows_the_devices_of_the_chosen_project() {
    let family = Family::new();
    let time = "2026-01-01T00:00:00Z";
    let other = "6b1f9df0-8d8c-4b7e-9a55-0d6f3a1f7c12";
    let server = Server::start(move |request| match request.path.as_str() {
        "/health/live" => Answer::json(200, &json!({ "status": "ok", "version": "1.2.3", "components": [] })),
        "/api/projects" => {
            let project = |id: &str, name: &str| {
                json!({ "projectId": id, "name": name, "cidr": null,
                "createdAt": time, "devices": 1, "files": 1 })
            };
            Answer::data(&json!([project(PROJECT, "home"), project(other, "work")]))
        }
        "/api/devices" => {
            let name = if request.query.contains(PROJECT) { "laptop" } else { "press" };
            Answer::data(&json!([{ "deviceId": PROJECT, "projectId": PROJECT, "name": name,
                "role": "host", "owner": "ann", "nebulaIp": "10.42.0.5", "pool": null, "endpoints": [],
                "curve": "25519", "registeredAt": time, "lastSeenAt": null, "revokedAt": null,
                "fingerprint": null, "certificateNotAfter": null }]))
        }
        _ => family.answer(request, 900).unwrap_or_else(|| failure(404, "no such route")),
    });
    let home = tempfile::tempdir().unwrap();
    login(&server, home.path());
    let status = |arguments: &[&str]| {
        let output = run(nebulactl(&server, home.path()).args(["status", "--dir", "none"]).args(arguments));
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let all = status(&[]);
    assert!(all.contains("Device    none") && all.contains("laptop") && all.contains("press"), "{all}");
    assert!(run(nebulactl(&server, home.path()).args(["project", "use", "work"])).status.success());
    let chosen = status(&[]);
    assert!(!chosen.contains("laptop") && chosen.contains("press"), "{chosen}");
    assert!(chosen.contains("Project   home: 1 device,"), "{chosen}");
    let named = status(&["--project", "home"]);
    assert!(named.contains("laptop") && !named.contains("press"), "{named}");
}

#[test]
fn status_leave_and_agent_agree_about_a_device_that_joined_without_a_code() {
    let server = Server::start(|_| failure(401, "no"));
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("device");
    std::fs::create_dir(&folder).unwrap();
    for (name, content) in [("node.key", "KEY"), ("nebula.yml", "pki: {}\n"), ("notes.txt", "mine")] {
        std::fs::write(folder.join(name), content).unwrap();
    }
    let device = json!({ "server": server.url(), "projectId": PROJECT, "deviceId": PROJECT,
        "deviceName": "laptop", "role": "host", "endpoints": [] });
    std::fs::write(folder.join("device.json"), device.to_string()).unwrap();
    let ctl =
        |arguments: &[&str]| run(nebulactl(&server, home.path()).args(arguments).args(["--dir", "device"]));

    let status = ctl(&["--json", "status"]);
    let told: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert!(status.status.success(), "{told}");
    assert_eq!(
        (&told["device"]["host"]["name"], &told["device"]["agentPid"]),
        (&json!("laptop"), &Value::Null)
    );
    assert!(text(&ctl(&["status"]).stdout).contains("joined without a code"));

    let agent = ctl(&["agent"]);
    let told = text(&agent.stderr);
    assert!(told.contains("joined without a code") && told.contains("enrolment create --device"), "{told}");

    assert!(text(&ctl(&["leave"]).stderr).contains("--yes"));
    assert!(folder.join("node.key").exists(), "nothing is removed without a yes");
    let left = ctl(&["leave", "--yes"]);
    assert!(left.status.success(), "{}", text(&left.stderr));
    assert!(text(&left.stderr).contains("nebulactl device revoke laptop"), "{}", text(&left.stderr));
    let rest: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(rest, ["notes.txt"], "files of others stay");
    assert!(text(&ctl(&["leave", "--yes"]).stderr).contains("there is no device in"));
}
