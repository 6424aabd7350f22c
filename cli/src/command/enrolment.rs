//! `enrolment`: codes that let a device join without an account.

use std::net::IpAddr;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use clap::{Args, Subcommand};
use nebula_api::enrolment::{Enrolment, EnrolmentRequest, NewEnrolment};
use qrcode::EcLevel;
use reqwest::Url;
use uuid::Uuid;

use super::lifetime::parse_lifetime;
use super::{project, qr};
use crate::atomic_file::{self, PRIVATE};
use crate::confirm::Confirmation;
use crate::context::Context;
use crate::error::{Code, Error, Result};
use crate::output::{Output, ago, clean};

mod approve;
mod new_device;

use new_device::NewDevice;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a code; it is shown once (administrators)
    Create(Create),
    /// Let a device in that asked for it without a code (administrators)
    Approve(approve::Approve),
    /// List the enrolments of a project; the codes are not shown
    Ls(project::Choice),
    /// Revoke a code; devices that have used it stay
    Revoke {
        /// Number of the code, as `enrolment ls` shows it
        id: Uuid,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Create {
    #[command(flatten)]
    project: project::Choice,
    /// Name or id of an existing device, which gets an agent by the code
    #[arg(long, conflicts_with_all = ["name", "role", "groups", "endpoints", "address", "uses"])]
    device: Option<String>,
    #[command(flatten)]
    new_device: NewDevice,
    /// Number of devices that may use it [default: 1]
    #[arg(long, value_name = "COUNT")]
    uses: Option<i32>,
    /// Validity: 30m, 12h, 7d [default: 24h]
    #[arg(long, value_name = "TIME", value_parser = parse_lifetime)]
    lifetime: Option<i32>,
    /// Write the QR code to a file as well
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<()> {
    let client = context.client()?;
    match command {
        Command::Create(arguments) => create(context, arguments).await,
        Command::Approve(arguments) => approve::run(context, arguments).await,
        Command::Ls(choice) => {
            let project = choice.resolve(&client).await?;
            let query = [("projectId", project.project_id.to_string())];
            let enrolments: Vec<Enrolment> = client.get("/api/enrolments", &query).await?;
            context.output.show(&enrolments, || table(context.output, &enrolments))
        }
        Command::Revoke { id, confirmation } => {
            if !confirmation.given(context, &format!("Revoke the enrolment code {id} permanently?"))? {
                return Ok(());
            }
            client.delete(&format!("/api/enrolments/{id}")).await?;
            let value = serde_json::json!({ "enrolmentId": id });
            context.output.confirm(&value, || {
                format!("Enrolment code {id} is revoked: no device can join with it any more.")
            })
        }
    }
}

async fn create(context: &Context, arguments: Create) -> Result<()> {
    let client = context.client()?;
    let project = arguments.project.resolve(&client).await?;
    let device_id = match &arguments.device {
        Some(device) => Some(super::device::named(&client, &arguments.project, device).await?.device_id),
        None => None,
    };
    let request = EnrolmentRequest {
        device_id,
        uses: arguments.uses,
        lifetime_seconds: arguments.lifetime,
        ..arguments.new_device.into_request(project.project_id)
    };
    // Checked before the code is made, which is shown only once.
    if let Some(path) = arguments.png.as_deref().filter(|path| path.exists()) {
        return Err(Error::new(Code::AlreadyExists, format!("{} exists already", path.display()))
            .hint("It was left as it is; move it away or name another file."));
    }
    let made: NewEnrolment = client.post("/api/enrolments", &request).await?;
    context.output.show(&made, || text(context.output, &made))?;
    let Some(path) = arguments.png else { return Ok(()) };
    let picture = STANDARD.decode(&made.qr_png).map_err(|_| {
        Error::new(Code::Protocol, "the picture of the code is not base64; the code itself is good")
    })?;
    // Anybody with the picture can join, so only the owner may read it.
    atomic_file::create_new(&path, &picture, PRIVATE)
}

fn text(output: Output, made: &NewEnrolment) -> String {
    let (code, url) = (clean(&made.code), clean(&made.url));
    if output.quiet {
        return code;
    }
    let mut lines = vec![format!("Code      {code}"), format!("Link      {url}")];
    lines
        .push(format!("Good until {}; it is not shown again.", made.expires_at.format("%Y-%m-%d %H:%M UTC")));
    if output.is_interactive()
        && let Some(picture) = qr::blocks(&url, EcLevel::M)
    {
        lines.push(picture);
    }
    if names_this_machine(&url) {
        lines.push(
            "No other machine can use the address in the link: set NEBULA_PUBLIC_URL of the gateway.".into(),
        );
    }
    // The link contains the gateway's URL, the code does not.
    let join = format!("nebulactl join --code '{url}'");
    match &made.command {
        Some(command) => {
            lines.push(format!(
                "\nOn the device (Linux with systemd, root or sudo):\n\n  {}\n",
                clean(command)
            ));
            lines.push(format!("Where nebulactl and nebula are already:  {join}"));
        }
        None => lines.push(format!("On the device:  {join}")),
    }
    lines.join("\n")
}

/// Whether the gateway's address in a link is one that every machine takes for itself.
fn names_this_machine(link: &str) -> bool {
    let server = Url::parse(link).ok().and_then(|link| {
        let (_, server) = link.query_pairs().find(|(name, _)| name == "server")?;
        Url::parse(&server).ok()
    });
    let host = server.as_ref().and_then(Url::host_str).unwrap_or_default();
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback() || address.is_unspecified(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

fn table(output: Output, enrolments: &[Enrolment]) -> String {
    let now = Utc::now();
    let rows = enrolments.iter().map(|enrolment| {
        [
            clean(enrolment.name.as_deref().unwrap_or("-")),
            clean(&enrolment.role),
            format!("{}/{}", enrolment.uses, enrolment.uses_max),
            output.state(&clean(&enrolment.state)),
            enrolment.expires_at.format("%Y-%m-%d %H:%M").to_string(),
            format!("{} by {}", ago(enrolment.created_at, now), clean(&enrolment.created_by)),
            enrolment.enrolment_id.to_string(),
        ]
    });
    output.table(["NAME", "ROLE", ">USED", "STATE", "UNTIL (UTC)", "MADE", "ID"], rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_with_an_address_that_only_the_gateway_itself_can_use_is_told() {
        let told = |server: &str| names_this_machine(&format!("nebula://enrol?server={server}&code=AAAAA"));
        for server in [
            "http%3A%2F%2F127.0.0.1%3A8080",
            "http%3A%2F%2F%5B%3A%3A1%5D%3A8080",
            "http%3A%2F%2F%5B%3A%3Affff%3A127.0.0.1%5D",
            "http%3A%2F%2F0.0.0.0%3A8080",
            "https%3A%2F%2Flocalhost",
        ] {
            assert!(told(server), "{server}");
        }
        for server in ["https%3A%2F%2Fhome.example.org", "http%3A%2F%2F192.168.7.2%3A8080"] {
            assert!(!told(server), "{server}");
        }
    }

    #[test]
    fn the_qr_code_fits_a_terminal() {
        let url = format!("nebula://enrol?server=https%3A%2F%2Fhome.example.org&code={}", "ABCDE-".repeat(5));
        let picture = qr::blocks(&url, EcLevel::M).unwrap();
        let width = qr::width(&picture);
        assert!(width <= 60 && picture.lines().count() <= 30, "{width}");
    }
}
