//! The real binary: completions, manual pages, and errors of the command line.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn nebulactl(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nebulactl"));
    command.env_clear().env("NEBULA_SERVER", "http://127.0.0.1:9").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The words that bash offers for the last of these.
fn completed(script: &Path, words: &str) -> String {
    let count = words.split(' ').count() - 1;
    let line = format!(
        ". '{}'; COMP_WORDS=({words}) COMP_CWORD={count}; _nebulactl nebulactl \"${{COMP_WORDS[-1]}}\"; \
         printf '%s ' \"${{COMPREPLY[@]}}\"",
        script.display()
    );
    let output = Command::new("bash").args(["--norc", "-c", &line]).output().unwrap();
    text(&output.stdout).trim().to_owned()
}

#[test]
fn completions_and_manual_pages_are_written_where_shells_and_man_look() {
    let share = tempfile::tempdir().unwrap();
    let output = nebulactl(&["--quiet", "completions", "--share", share.path().to_str().unwrap()]);
    assert!(output.status.success() && output.stdout.is_empty(), "{}", text(&output.stderr));

    let bash = share.path().join("bash-completion/completions/nebulactl");
    assert_eq!(completed(&bash, "nebulactl enrol"), "enrolment");
    assert_eq!(completed(&bash, "nebulactl rm --perm"), "--permanently");
    assert_eq!(bash.metadata().unwrap().permissions().mode() & 0o111, 0);
    assert_eq!(
        std::fs::read(&bash).unwrap().trim_ascii(),
        nebulactl(&["completions", "bash"]).stdout.trim_ascii()
    );
    for (file, beginning) in [
        ("zsh/site-functions/_nebulactl", "#compdef nebulactl"),
        ("fish/vendor_completions.d/nebulactl.fish", "#"),
    ] {
        assert!(std::fs::read_to_string(share.path().join(file)).unwrap().starts_with(beginning), "{file}");
    }

    let page = |name: &str| std::fs::read_to_string(share.path().join("man/man1").join(name)).unwrap();
    assert!(page("nebulactl.1").contains("nebulactl\\-enrolment(1)"));
    assert!(page("nebulactl-enrolment-create.1").contains("nebulactl enrolment create \\-\\-name laptop"));
}

#[test]
fn errors_of_the_command_line_are_json_on_request_and_exit_with_2() {
    let output = nebulactl(&["ls", "--sortt", "name", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &told["error"]), (Some(2), &Value::from("invalid_argument")));
    assert!(told["detail"].as_str().unwrap().contains("--sortt"), "{told}");
    assert!(output.stderr.is_empty());

    let output = nebulactl(&["ls", "--sortt", "name"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(text(&output.stderr).contains("--sortt"));
}

#[test]
fn help_and_version_are_text_and_no_failure_also_with_json() {
    for arguments in
        [&["--json", "--help"][..], &["--json", "--version"], &["--json", "ca", "create", "--help"]]
    {
        let output = nebulactl(arguments);
        assert!(output.status.success() && text(&output.stdout).contains("nebulactl"), "{arguments:?}");
    }
}

#[test]
fn a_secret_that_travels_in_clear_is_warned_about_before_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "correct horse\n").unwrap();
    let dir = folder.path().join("device");
    let (file, dir) = (file.to_str().unwrap(), dir.to_str().unwrap());
    // Names below .invalid are never resolved, so that nothing is sent.
    for (arguments, secret) in [
        (&["login", "ann", "--password-file", file][..], "password"),
        (&["join", "--code-file", file, "--dir", dir], "code"),
    ] {
        let run = |server: &str| nebulactl(&[&["--server", server, "--json"], arguments].concat());
        let told =
            format!("warning: http://home.invalid is not encrypted: others on the way can read the {secret}");
        let output = run("http://home.invalid");
        assert!(text(&output.stderr).contains(&told), "{}", text(&output.stderr));
        for safe in ["https://home.invalid", "http://127.0.0.1:9"] {
            assert!(!text(&run(safe).stderr).contains("not encrypted"), "{safe}");
        }
    }
}

#[test]
fn a_code_among_the_arguments_is_remarked_and_one_in_a_file_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (file, dir) = (folder.path().join("code"), folder.path().join("device"));
    std::fs::write(&file, "ABCDE-FGHIJ\n").unwrap();
    let dir = dir.to_str().unwrap();
    let shown = nebulactl(&["join", "--code", "ABCDE-FGHIJ", "--dir", dir]);
    assert!(text(&shown.stderr).contains("--code-file"), "{}", text(&shown.stderr));
    let hidden = nebulactl(&["join", "--code-file", file.to_str().unwrap(), "--dir", dir]);
    assert!(!text(&hidden.stderr).contains("--code-file"), "{}", text(&hidden.stderr));
    assert!(text(&hidden.stderr).contains("cannot reach"), "the code was read: {}", text(&hidden.stderr));
    let both = nebulactl(&["join", "--code", "A", "--code-file", "b"]);
    assert_eq!(both.status.code(), Some(2));
}
