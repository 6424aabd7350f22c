//! The folder of this machine's device.

use std::path::PathBuf;

/// The default of `--dir`.
pub(crate) fn default_folder() -> PathBuf {
    named_folder(&host_name())
}

/// The machine-wide folder for root, else a folder in the current one.
pub(crate) fn named_folder(name: &str) -> PathBuf {
    if rustix::process::geteuid().is_root() {
        PathBuf::from("/etc/nebula")
    } else {
        // The name may come from the command line, and must not lead to another folder.
        PathBuf::from(format!("nebula-{}", name.replace(['/', '\0'], "_")))
    }
}

/// The host name without its domain.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    name.split('.').next().filter(|name| !name.is_empty()).unwrap_or("device").to_owned()
}
