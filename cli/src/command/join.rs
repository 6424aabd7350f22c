//! `join`: makes this machine a device of a project. The private key is generated here and never leaves the
//! machine.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use nebula_api::device::{RegisterRequest, Registration};
use nebula_certificate::{Certificate, Curve, PublicKey, verify};
use serde_json::json;
use which::which;

use super::endpoint::parse_endpoint;
use super::project;
use crate::client::Client;
use crate::context::Context;
use crate::device_folder::{default_folder, host_name, named_folder};
use crate::error::{Code, Error, Result};
use crate::output::clean;
use crate::secret_file;
use bundle::Bundle;
use bundle_folder::{BundleFolder, JoinOptions};

mod bundle;
pub(crate) mod bundle_folder;
mod first_tunnel;
mod joined;
mod with_code;

#[derive(Args, Debug)]
pub(crate) struct Join {
    #[command(flatten)]
    project: project::Choice,
    /// Join with an enrolment code, or the link that carries it; needs no account, and an agent keeps the
    /// device up to date. --server overrules the server of a link, NEBULA_SERVER does not
    // No conflict with --project, which may come from the environment; the code determines the project.
    #[arg(long, value_name = "CODE", group = "invitation", conflicts_with = "role")]
    code: Option<String>,
    /// The same from the first line of a file, so that the code is not in the list of processes; - is standard
    /// input
    #[arg(long, value_name = "FILE", group = "invitation", conflicts_with = "role")]
    code_file: Option<PathBuf>,
    /// Also write a unit of systemd that runs the agent, start it, and wait for the first tunnel; run again
    /// with the same code, it goes on where it stopped
    #[arg(long, requires = "invitation")]
    install: bool,
    /// Name of this device in the project [default: the host name]
    #[arg(long)]
    name: Option<String>,
    /// Folder for key, certificates and configuration [default: /etc/nebula for root, else ./nebula-NAME]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Role in the network; lighthouses and relays need an administrator [default: host]
    #[arg(long, value_parser = ["host", "lighthouse", "relay"])]
    role: Option<String>,
    /// host:port outside of the overlay where other devices reach it; a lighthouse needs one
    #[arg(long = "endpoint", value_name = "HOST:PORT", required_if_eq("role", "lighthouse"), value_parser = parse_endpoint)]
    endpoints: Vec<String>,
}

/// Registers this machine and writes the files for nebula. A repeated join keeps the address and gets a new
/// certificate.
pub(crate) async fn run(context: &Context, arguments: Join) -> Result<()> {
    if let Some(code) = code(context, &arguments)? {
        let Join { install, name, dir, endpoints, .. } = arguments;
        let dir = dir.unwrap_or_else(default_folder);
        return with_code::run(context, with_code::EnrolOptions { code, name, dir, endpoints, install })
            .await;
    }
    let client = context.client()?;
    let project = arguments.project.resolve(&client).await?;
    let Join { name, dir, role, endpoints, .. } = arguments;
    let path = dir.unwrap_or_else(|| named_folder(&name.clone().unwrap_or_else(host_name)));
    let options = JoinOptions {
        server: client.server().to_owned(),
        project_id: project.project_id,
        name,
        role,
        endpoints,
    };
    let folder = BundleFolder::open(&path, options, network_curve(&client).await?)?;

    let member = folder.membership();
    let request = RegisterRequest {
        project_id: member.project_id,
        device_id: member.device_id,
        device_name: member.device_name.clone(),
        public_key: folder.key().public_key().pem(),
        role: Some(member.role.clone()),
        endpoints: member.endpoints.clone(),
        enrolment_code: None,
    };
    let registration: Registration = match client.post("/api/nebula/register", &request).await {
        Ok(registration) => registration,
        Err(error) => {
            if error.is_refusal() {
                folder.undo();
            }
            return Err(error);
        }
    };
    let bundle = unpack(&registration)?;
    check(&bundle, folder.key().public_key())?;
    folder.write(&bundle)?;

    confirm(context, &registration, folder.path(), &project.name)
}

/// The code that was given in one way or the other.
fn code(context: &Context, arguments: &Join) -> Result<Option<String>> {
    if let Some(path) = &arguments.code_file {
        return secret_file::read(path, "code").map(Some);
    }
    if arguments.code.is_some() {
        context.output.note(
            "other users of this machine can read the code in the list of processes; --code-file keeps it out",
        );
    }
    Ok(arguments.code.clone())
}

fn confirm(context: &Context, registration: &Registration, folder: &Path, network: &str) -> Result<()> {
    let command = start_command(folder);
    let value = json!({
        "nebulaIp": registration.nebula_ip,
        "deviceId": registration.device_id,
        "deviceName": registration.device_name,
        "projectId": registration.project_id,
        "dir": folder,
        "command": command,
    });
    context.output.confirm(&value, || {
        let (name, address) = (clean(&registration.device_name), clean(&registration.nebula_ip));
        let mut lines = vec![
            format!("{name} is a member of {}: {address}", clean(network)),
            format!("Key, certificates and configuration are in {}", folder.display()),
            format!("Start nebula:  {command}"),
        ];
        if which("nebula").is_err() {
            lines.push(NEBULA_MISSING.to_owned());
        }
        lines.join("\n")
    })
}

/// Keys must be on the curve of the authority.
async fn network_curve(client: &Client) -> Result<Curve> {
    let authorities = authorities(client).await?;
    Ok(authorities.first().map_or(Curve::Curve25519, |authority| authority.details().curve))
}

/// The certificates of `GET /api/nebula/ca`.
pub(crate) async fn authorities(client: &Client) -> Result<Vec<Certificate>> {
    let response = crate::client::accept(client.get_public("/api/nebula/ca").await?).await?;
    let text = response.text().await.unwrap_or_default();
    Certificate::parse(&text).map_err(|error| {
        Error::new(
            Code::Protocol,
            format!("the CA certificate of {} cannot be read: {error}", client.server()),
        )
        .hint("See what the gateway has: NEBULA_CA_CERT, nebulactl ca show FILE")
    })
}

fn unpack(registration: &Registration) -> Result<Bundle> {
    let zip = STANDARD.decode(&registration.zip_bundle).map_err(|_| bundle::wrong("it is not base64"))?;
    Bundle::read(&zip)
}

/// Checks the bundle before it is written: the certificate must be for our key and signed by the authority.
fn check(bundle: &Bundle, key: &PublicKey) -> Result<()> {
    let parse = |name, text| {
        Certificate::parse(text).map_err(|error| bundle::wrong(&format!("{name} cannot be read: {error}")))
    };
    let authorities = parse("ca.crt", bundle.text("ca.crt")?)?;
    for certificate in parse("node.crt", bundle.text("node.crt")?)? {
        if certificate.details().public_key != key.bytes() {
            return Err(bundle::wrong("node.crt is for another key"));
        }
        verify(&certificate, &authorities, SystemTime::now())
            .map_err(|error| bundle::wrong(&format!("node.crt is not valid: {error}")))?;
    }
    Ok(())
}

const NEBULA_MISSING: &str =
    "nebula itself is missing:  apt install nebula, or https://github.com/slackhq/nebula/releases";

/// The configuration names its files relative to the folder.
fn start_command(folder: &Path) -> String {
    format!("cd {} && {}nebula -config nebula.yml", quoted(folder), sudo())
}

/// Quotes a path for a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Prefix of commands that need root.
fn sudo() -> &'static str {
    if rustix::process::geteuid().is_root() { "" } else { "sudo " }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_commands_quote_unusual_folders() {
        assert!(start_command(Path::new("/etc/nebula")).starts_with("cd /etc/nebula && "));
        assert!(start_command(Path::new("/a b/it's")).starts_with(r"cd '/a b/it'\''s' && "));
    }
}
