//! What a confined process can no longer do, tried by a confined process.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::fs::{self, File};
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::process::Command;

use nebula_worker::sandbox;

/// Set in the process that confines itself, to the folder it works in.
const FOLDER: &str = "SANDBOX_TEST_FOLDER";

#[test]
fn a_confined_process_reaches_its_own_files_only() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return confined(&PathBuf::from(folder));
    }
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("out")).unwrap();
    for name in ["input", "other"] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    let test = "a_confined_process_reaches_its_own_files_only";
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("confined: yes"), "{said}");
}

/// Runs in its own process, since there is no way back.
fn confined(folder: &Path) {
    let (input, output) = (folder.join("input"), folder.join("out").join("web.mp4"));
    assert!(sandbox::enter(1_u32.wrapping_sub(2), &input, &output).is_err(), "a wrong parent is noticed");
    let has_landlock = sandbox::enter(parent_id(), &input, &output).unwrap();
    assert_eq!(fs::read(&input).unwrap(), b"input");
    fs::write(&output, b"made").unwrap();
    assert_eq!(fs::read(&output).unwrap(), b"made");
    let limits = fs::read_to_string("/proc/self/limits");
    if has_landlock {
        for forbidden in
            [folder.join("other"), PathBuf::from("/etc/passwd"), PathBuf::from("/proc/self/environ")]
        {
            assert!(File::open(&forbidden).is_err(), "{}", forbidden.display());
        }
        assert!(fs::write(folder.join("more"), b"").is_err() && fs::write(&input, b"").is_err());
        assert!(
            std::net::TcpStream::connect("127.0.0.1:9").unwrap_err().kind()
                == std::io::ErrorKind::PermissionDenied
        );
        assert!(limits.is_err(), "a kernel with landlock hides /proc");
    } else {
        assert!(
            limits
                .unwrap()
                .lines()
                .any(|line| line.starts_with("Max core file size") && line.contains(" 0 "))
        );
    }
    println!("confined: yes");
}
