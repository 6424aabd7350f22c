//! `join --code`: makes this machine a device that an agent manages. It needs no account, since the code
//! authorises it.

use std::path::{Path, PathBuf};

use chrono::Utc;
use nebula_api::agent::FindDevice;
use nebula_api::dnapi::{EnrollRequest, Enrollment};
use nebula_certificate::{Curve, KeyPair};
use openssl::sha::sha256;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{bundle_folder, first_tunnel, joined};
use crate::agent::gateway::Gateway;
use crate::agent::keys::{HostKey, nebula_key};
use crate::agent::state::{self, AgentFolder, Identity};
use crate::agent::systemd::{check_installable, install_agent};
use crate::agent::update::{ReceivedConfig, curve, key_pair, nonce, store_config};
use crate::client::{parse_server, warn_if_exposed};
use crate::context::Context;
use crate::device_folder::{default_folder, host_name};
use crate::error::{Code, Doing, Error, Result};
use crate::output::clean;
use crate::settings::Settings;

const PENDING_FILE: &str = "enrolment.json";
/// The code by which the device has joined, as a hash.
const JOINED_FILE: &str = "joined.json";

/// Tells the same command, run again, from another code in the same folder.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Joined {
    code_sha256: String,
}

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
    let (code, link) = read_code(&options.code)?;
    let server = server(context, link)?;
    warn_if_exposed(context.output, &server, "code");
    let path = std::path::absolute(&options.dir).doing(|| format!("find {}", options.dir.display()))?;
    // Before the code is used: a device that cannot start would be left half done.
    if options.install {
        check_installable()?;
    }
    let (identity, was_bundle) = match state::identity(&path)? {
        Some(identity) if has_joined_by(&path, &code)? => {
            check_membership(context, &path, &identity).await?;
            context.output.note(&format!("{} has joined by this code before", clean(&identity.host.name)));
            (identity, false)
        }
        Some(_) => return Err(is_device_already(&path)),
        None => {
            let joined = join(&path, &server, &code, &options).await?;
            if path == default_folder() && path.is_absolute() {
                Settings::set_machine_server(&server)?;
            }
            joined
        }
    };
    let tunnel = if options.install {
        install_agent(&path).await?;
        context.output.message("Waiting for the first handshake …")?;
        Some(first_tunnel::wait(&path, &identity).await?)
    } else {
        None
    };
    joined::confirm(context, &path, &identity, tunnel.as_ref())?;
    if was_bundle {
        context.output.note("the nebula that ran with the bundle has to be stopped: the agent runs its own");
    }
    Ok(())
}

/// The gateway: `--server`, else the one in the link, else `NEBULA_SERVER`, else that of the last login. A
/// link is made for one gateway, and the variable of a shell may be about another.
fn server(context: &Context, link: Option<String>) -> Result<String> {
    let Some(link) = link else {
        return context.server(&Settings::locate());
    };
    match context.server.as_ref().filter(|_| context.is_server_named) {
        Some(named) => {
            if *named != link {
                context.output.note(&format!("joins at {named}, given by --server; the link names {link}"));
            }
            Ok(named.clone())
        }
        None => Ok(link),
    }
}

/// Asks the gateway whether the device of this folder is still a member. A gateway that does not answer is no
/// reason to refuse.
async fn check_membership(context: &Context, path: &Path, identity: &Identity) -> Result<()> {
    let gateway = Gateway::new(&identity.server, path)?;
    let mut asked_with = None;
    while let Some(current) = state::current(path)? {
        let question = FindDevice { nonce: nonce()?, name: identity.host.name.clone() };
        let Err(error) = gateway.find_device(&current.credential, &question).await else { return Ok(()) };
        if error.status != Some(401) {
            context.output.note(&format!("whether it is still a member is not known: {error}"));
            return Ok(());
        }
        // An agent that has just changed its keys may have made these invalid.
        if asked_with.replace(current.counter()) == Some(current.counter()) {
            let name = clean(&identity.host.name);
            let told =
                Error::new(Code::Refused, format!("{name} has joined by this code before, but {error}"));
            return Err(told.hint(error.failure().hint.clone().unwrap_or_default()));
        }
    }
    Ok(())
}

/// Makes the device, or none; answers also whether it had a bundle before.
async fn join(path: &Path, server: &str, code: &str, options: &EnrolOptions) -> Result<(Identity, bool)> {
    // A device that joined without a code: the code must have been made for this device.
    let bundled = bundle_folder::membership(path)?;
    let made_folder = !path.exists();
    let folder = AgentFolder::open(path)?;
    let known: Option<PendingKeys> = folder.read(PENDING_FILE)?;
    let is_new = known.is_none();
    let device_id = bundled.as_ref().map_or_else(Uuid::new_v4, |bundled| bundled.device_id);
    let pending = known.map_or_else(|| PendingKeys::generate(device_id), Ok)?;
    folder.save(PENDING_FILE, &pending)?;
    match enrol(&folder, server, code, &pending, options).await {
        // The agent locks the folder next, which is dropped here.
        Ok(identity) => {
            folder.remove(PENDING_FILE)?;
            if bundled.is_some() {
                bundle_folder::clear(path)?;
            }
            Ok((identity, bundled.is_some()))
        }
        Err(error) => {
            // Keys that an earlier attempt has sent may belong to a device by now, since its response was
            // lost.
            if is_new && error.is_refusal() {
                let _ = folder.remove(PENDING_FILE);
                drop(folder);
                if made_folder {
                    let _ = std::fs::remove_dir_all(path);
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
        server,
    };
    let first = store_config(folder, &enrolled.host_id, &received, (&host_key, &pair), true).await?;
    folder.switch(first.counter())?;
    folder.save(JOINED_FILE, &Joined { code_sha256: code_sha256(code) })?;
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

/// Without regard to dashes, spaces and letter case, like the gateway.
fn code_sha256(code: &str) -> String {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    hex::encode(sha256(plain.to_ascii_uppercase().as_bytes()))
}

fn has_joined_by(path: &Path, code: &str) -> Result<bool> {
    let joined: Option<Joined> = state::read(&path.join(JOINED_FILE))?;
    Ok(joined.is_some_and(|joined| joined.code_sha256 == code_sha256(code)))
}

fn is_device_already(path: &Path) -> Error {
    Error::new(Code::AlreadyExists, format!("{} is the folder of a device already", path.display())).hint(
        "Look at it: nebulactl status; give it up: nebulactl leave; or choose another folder with --dir.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_same_code_however_it_is_written() {
        assert_eq!(code_sha256("abcde-fghij"), code_sha256("ABCDE FGHIJ"));
        assert_ne!(code_sha256("ABCDE"), code_sha256("ABCDF"));
    }

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
