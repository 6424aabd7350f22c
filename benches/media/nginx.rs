//! nginx over a folder of files: ranges and whole files by sendfile, PUT by its WebDAV module.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::{env, process};

use anyhow::{Context, Result};
use nebula_tests::cluster::free_port;
use nebula_tests::eventually;
use nebula_tests::process::Process;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::cpu;

/// A running nginx.
#[derive(Debug)]
pub(crate) struct Nginx {
    pub(crate) address: SocketAddr,
    process: Process,
    folder: TempDir,
}

impl Nginx {
    /// Starts it with a folder of its own in `place`, which decides on which disk its files are.
    pub(crate) async fn start(place: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("nginx-").tempdir_in(place)?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        fs::create_dir(folder.path().join("files"))?;
        let path = folder.path().join("nginx.conf");
        fs::write(&path, configuration(address, folder.path()))?;
        let program: PathBuf = env::var_os("NEBULA_NGINX").unwrap_or_else(|| OsString::from("nginx")).into();
        let log = folder.path().join("nginx.log");
        // QUIT lets the children end as well.
        let process = Process::start(&program, &log, "QUIT", None, |command| {
            command.arg("-p").arg(folder.path()).arg("-c").arg(&path).arg("-e").arg(&log);
        })?;
        eventually("nginx to listen", || async { Ok(TcpStream::connect(address).await.ok()) })
            .await
            .with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        Ok(Self { address, process, folder })
    }

    /// A path in the folder that is served at `/`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("files").join(name)
    }

    /// Seconds of processor time.
    pub(crate) fn cpu(&self) -> Result<f64> {
        cpu::family(self.process.pid().as_raw_pid())
    }

    /// Resident memory of all its processes.
    pub(crate) fn memory(&self) -> Result<u64> {
        cpu::family_memory(self.process.pid().as_raw_pid())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Unlike a kill, this ends its children, too.
        if self.process.signal(Signal::TERM).is_ok() {
            drop(self.process.wait());
        }
    }
}

/// A process for each core, sendfile, and no log of requests: what its documentation advises for files.
fn configuration(address: SocketAddr, folder: &Path) -> String {
    let folder = folder.display();
    // The children of root would be another user, who may not enter the folder.
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let user = if is_root { "user root root;" } else { "" };
    let id = process::id();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|module| format!("{module}_temp_path {folder}/temporary-{module};\n"))
        .concat();
    format!(
        "daemon off; {user}
         worker_processes auto;
         pid {folder}/{id}.pid;
         error_log {folder}/nginx.log error;
         events {{ worker_connections 4096; }}
         http {{
           access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
           client_max_body_size 0;
           {temporary}
           server {{
             listen {address};
             root {folder}/files;
             location / {{ dav_methods PUT DELETE; }}
           }}
         }}"
    )
}
