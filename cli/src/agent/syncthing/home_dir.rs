//! Syncthing's home folder: how to reach its REST interface, and the initial configuration.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use openssl::rand::rand_bytes;
use serde::Deserialize;

use super::error::unusable;
use crate::atomic_file::{self, PRIVATE};
use crate::error::{Code, Doing, Error, Result};

const CONFIG: &str = "config.xml";

/// How to reach the REST interface.
pub(super) struct ApiAccess {
    /// `host:port`.
    pub(super) address: String,
    /// API key.
    pub(super) key: String,
    /// Self-signed certificate of the interface.
    pub(super) certificate: Vec<u8>,
}

#[derive(Deserialize)]
struct Configuration {
    gui: Gui,
}

#[derive(Deserialize)]
struct Gui {
    address: String,
    #[serde(default)]
    apikey: String,
}

/// Reads the access data of the Syncthing with this home folder.
pub(super) fn api_access(home: &Path) -> Result<ApiAccess> {
    let path = home.join(CONFIG);
    let text = atomic_file::read_if_exists(&path)?.ok_or_else(|| {
        Error::new(Code::NotFound, format!("there is no Syncthing in {}", home.display()))
            .hint("Name its home with --syncthing-home, or let the agent start one with --syncthing PATH.")
    })?;
    // The file contains the API key, so the message quotes nothing of it.
    let Ok(Configuration { gui }) = quick_xml::de::from_str(&text) else {
        return Err(unusable(format!("{} cannot be read", path.display())));
    };
    if gui.apikey.is_empty() {
        return Err(unusable(format!("{} has no API key", path.display())));
    }
    let certificate = home.join("https-cert.pem");
    let certificate = fs::read(&certificate).doing(|| format!("read {}", certificate.display()))?;
    Ok(ApiAccess { address: reachable(&gui.address), key: gui.apikey, certificate })
}

/// An interface on all addresses is reached on the loopback.
fn reachable(address: &str) -> String {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "8384"));
    let host = if matches!(host, "" | "0.0.0.0" | "[::]") { "127.0.0.1" } else { host };
    format!("{host}:{port}")
}

/// Creates the home folder of a new Syncthing with discovery, relays and usage reports off, so that it
/// contacts no other host before it is configured.
pub(super) fn create(home: &Path, overlay: &str) -> Result<()> {
    atomic_file::create_private_dir(home)?;
    let path = home.join(CONFIG);
    if path.exists() {
        return Ok(());
    }
    let mut key = [0; 24];
    rand_bytes(&mut key).map_err(|error| Error::new(Code::Io, format!("cannot make an API key: {error}")))?;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let port = port.doing(|| "find a free port".to_owned())?.port();
    let text = CONFIG_TEXT
        .replace("{port}", &port.to_string())
        .replace("{key}", &hex::encode(key))
        .replace("{overlay}", overlay);
    atomic_file::write_atomic(&path, text.as_bytes(), PRIVATE)
}

/// Options that are left out have Syncthing's defaults.
const CONFIG_TEXT: &str = r#"<configuration version="32">
    <gui enabled="true" tls="true">
        <address>127.0.0.1:{port}</address>
        <apikey>{key}</apikey>
    </gui>
    <options>
        <listenAddress>tcp://{overlay}:22000</listenAddress>
        <globalAnnounceEnabled>false</globalAnnounceEnabled>
        <localAnnounceEnabled>false</localAnnounceEnabled>
        <relaysEnabled>false</relaysEnabled>
        <natEnabled>false</natEnabled>
        <stunServer></stunServer>
        <startBrowser>false</startBrowser>
        <crashReportingEnabled>false</crashReportingEnabled>
        <urAccepted>-1</urAccepted>
        <autoUpgradeIntervalH>0</autoUpgradeIntervalH>
    </options>
</configuration>
"#;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_created_home_folder_is_readable_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("syncthing");
        assert_eq!(api_access(&home).err().unwrap().failure().error, "not_found");
        create(&home, "10.42.0.5").unwrap();
        let mode = home.join(CONFIG).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(home.join("https-cert.pem"), "PEM").unwrap();
        let first = api_access(&home).unwrap();
        assert!(first.address.starts_with("127.0.0.1:") && first.key.len() == 48);
        // An existing home folder is left as it is.
        create(&home, "10.42.0.6").unwrap();
        assert_eq!(api_access(&home).unwrap().key, first.key);
        assert!(fs::read_to_string(home.join(CONFIG)).unwrap().contains("tcp://10.42.0.5:22000"));
    }

    #[test]
    fn an_interface_on_all_addresses_is_reached_on_the_loopback() {
        assert_eq!(reachable("0.0.0.0:8384"), "127.0.0.1:8384");
        assert_eq!(reachable("[::]:1"), "127.0.0.1:1");
        assert_eq!(reachable("127.0.0.2:8384"), "127.0.0.2:8384");
    }

    #[test]
    fn errors_of_damaged_files_do_not_quote_the_content() {
        let folder = tempfile::tempdir().unwrap();
        for text in [
            "<configuration><gui><apikey>SECRET</gui>",
            "<configuration><gui><address>a</address></gui></configuration>",
        ] {
            fs::write(folder.path().join(CONFIG), text).unwrap();
            let error = api_access(folder.path()).err().unwrap();
            assert!(!error.to_string().contains("SECRET"), "{error}");
        }
    }
}
