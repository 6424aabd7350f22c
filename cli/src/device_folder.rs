//! The folder of this machine's device.

use std::path::PathBuf;

/// Where the device of this machine is, unless somebody says otherwise.
pub(crate) fn default_folder() -> PathBuf {
    named_folder(&host_name())
}

/// Root's machine-wide place, or a folder that is easy to find.
pub(crate) fn named_folder(name: &str) -> PathBuf {
    if rustix::process::geteuid().is_root() {
        PathBuf::from("/etc/nebula")
    } else {
        // The name may come from the command line, and must not lead elsewhere; the gateway judges it.
        PathBuf::from(format!("nebula-{}", name.replace(['/', '\0'], "_")))
    }
}

/// The machine's name without its domain.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    name.split('.').next().filter(|name| !name.is_empty()).unwrap_or("device").to_owned()
}
