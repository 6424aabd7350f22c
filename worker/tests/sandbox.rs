//! A confined process tries what it must no longer be able to do.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::fs::{self, File};
use std::net::UdpSocket;
use std::os::unix::net::UnixListener;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::process::Command;

use nebula_worker::sandbox::Confinement;
use rustix::process::Signal;

/// Environment variable of the process that confines itself: the folder it works in.
const FOLDER: &str = "SANDBOX_TEST_FOLDER";

#[test]
fn a_confined_process_reaches_only_its_input_and_output() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return check_confinement(&PathBuf::from(folder));
    }
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("out")).unwrap();
    for name in ["input", "other"] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    let test = "a_confined_process_reaches_only_its_input_and_output";
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let printed =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && printed.contains("confined: yes"), "{printed}");
}

/// Runs in a process of its own, because a confinement cannot be lifted.
fn check_confinement(folder: &Path) {
    let (input, output) = (folder.join("input"), folder.join("out").join("web.mp4"));
    let confinement = |parent| Confinement {
        parent,
        inputs: vec![&input],
        served: 0,
        output: &output,
        room: None,
        nice: 10,
    };
    assert!(confinement(1_u32.wrapping_sub(2)).enter().is_err(), "a wrong parent is refused");
    // Drivers start threads before.
    let (start, started) = std::sync::mpsc::channel();
    let earlier =
        std::thread::spawn(move || started.recv().map(|()| UdpSocket::bind("127.0.0.1:0").map(drop)));
    let has_landlock = confinement(parent_id()).enter().unwrap();
    start.send(()).unwrap();
    assert!(
        earlier
            .join()
            .unwrap()
            .unwrap()
            .is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    );
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
    let refused = |error: std::io::Error| error.kind() == std::io::ErrorKind::PermissionDenied;
    assert!(Command::new("/bin/true").spawn().is_err_and(refused), "no other program");
    assert!(UdpSocket::bind("127.0.0.1:0").is_err_and(refused), "no socket of any kind");
    assert!(UnixListener::bind(folder.join("out/socket")).is_err_and(refused));
    let signalled = rustix::process::kill_process(rustix::process::getppid().unwrap(), Signal::CONT);
    assert!(signalled.is_err(), "no signal to the parent");
    let threads: Vec<_> = (0..200).map(|n| std::thread::spawn(move || vec![n; 1000].len())).collect();
    assert!(threads.into_iter().all(|thread| thread.join().unwrap() == 1000), "threads of codecs");
    println!("confined: yes");
}
