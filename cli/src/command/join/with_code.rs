//! `join --code`: makes this machine a device that an agent manages. It needs no account, since the code
//! authorises it.

use std::path::{Path, PathBuf};

use chrono::Utc;
use nebula_api::dnapi::{EnrollRequest, Enrollment};
use nebula_certificate::{Curve, KeyPair};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;
use which::which;
use zeroize::Zeroizing;

use super::bundle_folder;
use crate::agent::gateway::Gateway;
use crate::agent::keys::{HostKey, nebula_key};
use crate::agent::state::{AgentFolder, Identity};
use crate::agent::systemd::{AGENT_UNIT, install_agent};
use crate::agent::update::{ReceivedConfig, curve, key_pair, store_config};
use crate::client::parse_server;
use crate::context::Context;
use crate::device_folder::host_name;
use crate::error::{Code, Doing, Error, Result};
use crate::output::clean;
use crate::settings::Settings;

const PENDING_FILE: &str = "enrolment.json";

/// Keys of an enrolment. They are sent again unchanged until a response has arrived: the same code with the
/// same keys is the same device.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PendingKeys {
    device_id: Uuid,
    host_25519: Zeroizing<String>,
    host_p256: Zeroizing<String>,
    nebula_25519: Zeroizing<String>,
    nebula_p256: Zeroizing<String>,
}

impl PendingKeys {
    fn generate(device_id: Uuid) -> Result<Self> {
        let [(host_25519, nebula_25519), (host_p256, nebula_p256)] = [
            (
                HostKey::generate(Curve::Curve25519)?.private_pem()?,
                nebula_key(Curve::Curve25519)?.private_pem(),
            ),
            (HostKey::generate(Curve::P256)?.private_pem()?, nebula_key(Curve::P256)?.private_pem()),
        ];
        Ok(Self { device_id, host_25519, host_p256, nebula_25519, nebula_p256 })
    }

    /// The keys for one curve.
    fn keys(&self, curve: Curve) -> Result<(HostKey, KeyPair)> {
        let (host, nebula) = match curve {
            Curve::Curve25519 => (&self.host_25519, &self.nebula_25519),
            Curve::P256 => (&self.host_p256, &self.nebula_p256),
        };
        Ok((HostKey::parse(host)?, key_pair(nebula)?))
    }
}

/// Options of the command.
pub(super) struct EnrolOptions {
    /// The code, or the link that contains it.
    pub(super) code: String,
    /// Name of the device, if the code does not determine it.
    pub(super) name: Option<String>,
    pub(super) dir: PathBuf,
    /// `host:port` on the underlay.
    pub(super) endpoints: Vec<String>,
    /// Whether to write and start a systemd unit.
    pub(super) install: bool,
}

pub(super) async fn run(context: &Context, options: EnrolOptions) -> Result<()> {
    let (code, server) = read_code(&options.code)?;
    // The command line takes precedence over the link.
    let server = context.server.clone().or(server).map_or_else(|| Settings::locate().server(), Ok)?;
    let path = std::path::absolute(&options.dir).doing(|| format!("find {}", options.dir.display()))?;
    refuse_existing_device(&path)?;
    // A device that joined without a code: the code must have been made for this device.
    let bundled = bundle_folder::membership(&path)?;
    let made_folder = !path.exists();
    let folder = AgentFolder::open(&path)?;
    let known: Option<PendingKeys> = folder.read(PENDING_FILE)?;
    let is_new = known.is_none();
    let device_id = bundled.as_ref().map_or_else(Uuid::new_v4, |bundled| bundled.device_id);
    let pending = known.map_or_else(|| PendingKeys::generate(device_id), Ok)?;
    folder.save(PENDING_FILE, &pending)?;
    match enrol(&folder, &server, &code, &pending, &options).await {
        Ok(identity) => {
            folder.remove(PENDING_FILE)?;
            if bundled.is_some() {
                bundle_folder::clear(&path)?;
            }
            // The agent locks the folder next.
            drop(folder);
            if options.install {
                install_agent(&path).await?;
            }
            confirm(context, &path, &identity, options.install)?;
            if bundled.is_some() {
                context
                    .output
                    .note("the nebula that ran with the bundle has to be stopped: the agent runs its own");
            }
            Ok(())
        }
        Err(error) => {
            // Keys that an earlier attempt has sent may belong to a device by now, since its response was
            // lost.
            if is_new && error.is_refusal() {
                let _ = folder.remove(PENDING_FILE);
                drop(folder);
                if made_folder {
                    let _ = std::fs::remove_dir_all(&path);
                }
            }
            match bundled {
                Some(bundled) if error.is_refusal() => Err(error.hint(format!(
                    "Here is device {}: ask for a code for it (nebulactl enrolment create --device), \
                     or choose another folder with --dir.",
                    clean(&bundled.device_name)
                ))),
                _ => Err(error),
            }
        }
    }
}

async fn enrol(
    folder: &AgentFolder,
    server: &str,
    code: &str,
    pending: &PendingKeys,
    options: &EnrolOptions,
) -> Result<Identity> {
    let [(ed25519, x25519), (host_p256, nebula_p256)] =
        [pending.keys(Curve::Curve25519)?, pending.keys(Curve::P256)?];
    let request = EnrollRequest {
        code: code.to_owned(),
        dh_pubkey: x25519.public_key().pem().into_bytes(),
        ed_pubkey: ed25519.public_pem()?,
        nebula_pubkey_p256: nebula_p256.public_key().pem().into_bytes(),
        host_pubkey_p256: host_p256.public_pem()?,
        timestamp: Utc::now(),
        name: Some(options.name.clone().unwrap_or_else(host_name)),
        device_id: Some(pending.device_id.to_string()),
        endpoints: options.endpoints.clone(),
    };
    let enrolled: Enrollment = Gateway::new(server, folder.path())?.enrol(&request).await?;
    let (host_key, pair) = pending.keys(curve(&enrolled.network)?)?;
    let received = ReceivedConfig {
        counter: enrolled.counter,
        config: &enrolled.config,
        trusted_keys: &enrolled.trusted_keys,
    };
    let first = store_config(folder, &enrolled.host_id, &received, (&host_key, &pair), true)?;
    folder.switch(first.counter())?;
    let identity = Identity { server: server.to_owned(), network: enrolled.network, host: enrolled.host };
    // Written last: from now on the folder counts as that of a device.
    folder.save_identity(&identity)?;
    Ok(identity)
}

/// Reads a code, or the link of a QR code: `nebula://enrol?server=…&code=…`.
fn read_code(text: &str) -> Result<(String, Option<String>)> {
    let text = text.trim();
    if !text.starts_with("nebula:") {
        return Ok((text.to_owned(), None));
    }
    let wrong = |why: String| {
        Error::new(Code::InvalidArgument, format!("this link does not enrol a device: {why}"))
            .hint("It looks like nebula://enrol?server=https://home.example&code=CODE")
    };
    let url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
    let value =
        |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let code = value("code").ok_or_else(|| wrong("it has no code".to_owned()))?;
    let server = value("server")
        .map(|server| parse_server(&server).map_err(|error| wrong(error.to_string())))
        .transpose()?;
    Ok((code, server))
}

fn refuse_existing_device(path: &Path) -> Result<()> {
    if crate::agent::state::identity(path)?.is_some() {
        return Err(Error::new(
            Code::AlreadyExists,
            format!("{} is the folder of a device already", path.display()),
        )
        .hint(
            "Look at it: nebulactl status; give it up: nebulactl leave; or choose another folder with --dir.",
        ));
    }
    Ok(())
}

fn confirm(context: &Context, path: &Path, identity: &Identity, installed: bool) -> Result<()> {
    let command = format!("nebulactl agent --dir {}", super::quoted(path));
    let value = json!({
        "nebulaIp": identity.host.ip_address,
        "deviceId": identity.host.id,
        "deviceName": identity.host.name,
        "projectId": identity.network.id,
        "dir": path,
        "command": command,
        "installed": installed,
    });
    context.output.confirm(&value, || {
        let host = &identity.host;
        let (name, network, address) =
            (clean(&host.name), clean(&identity.network.name), clean(&host.ip_address));
        let mut lines = vec![
            format!("{name} is a member of {network}: {address}"),
            format!("Keys and configuration are in {}", path.display()),
        ];
        lines.push(match installed {
            true => format!("It is kept up to date by {AGENT_UNIT}:  nebulactl status"),
            false => format!("Start nebula and keep it up to date:  {}{command}", super::sudo()),
        });
        if which("nebula").is_err() {
            lines.push(super::NEBULA_MISSING.to_owned());
        }
        lines.join("\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_links_are_parsed() {
        assert_eq!(read_code(" ABCD-EFGH\n").unwrap(), ("ABCD-EFGH".to_owned(), None));
        let link = "nebula://enrol?server=https%3A%2F%2Fhome.example%2F&code=ABCD-EFGH";
        let server = Some("https://home.example".to_owned());
        assert_eq!(read_code(link).unwrap(), ("ABCD-EFGH".to_owned(), server));
        for wrong in ["nebula://enrol?server=http://a", "nebula://enrol?code=A&server=ftp://a"] {
            assert!(read_code(wrong).is_err(), "{wrong}");
        }
    }
}
