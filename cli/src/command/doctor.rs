//! `doctor`: checks all parts that this machine can reach, and says what to do.

use std::process::{Command, ExitCode, Stdio};

use chrono::{DateTime, Utc};
use console::Style;
use nebula_api::auth::Identity;
use nebula_api::authority::Authority;
use nebula_api::health::Health;
use reqwest::Response;
use reqwest::header::DATE;
use serde::Serialize;
use serde_json::json;
use which::which;

use super::{join, play};
use crate::agent::wireguard::NodeStatus;
use crate::agent::{report, state};
use crate::client::{self, Client};
use crate::context::Context;
use crate::device_folder::existing_folder;
use crate::error::{Error, Result};
use crate::output::{Output, clean, date};

/// Seconds. With a larger difference, certificates are not valid yet.
const MAX_SKEW: i64 = 300;
/// Seconds. Smaller differences are not mentioned.
const NOTED_SKEW: i64 = 10;
/// Days of validity left, below which an authority needs a successor.
const MIN_DAYS_LEFT: i64 = 30;

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// Nothing depends on it.
    Note,
    /// An essential part does not work.
    Failed,
}

#[derive(Debug, Serialize)]
struct Finding {
    name: String,
    state: State,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Finding {
    fn new(name: &str, state: State, detail: impl Into<String>) -> Self {
        Self { name: name.to_owned(), state, detail: detail.into(), hint: None }
    }

    fn of_error(name: &str, state: State, error: &Error) -> Self {
        Self { hint: error.failure().hint.clone(), ..Self::new(name, state, error.to_string()) }
    }

    fn hint(mut self, hint: &str) -> Self {
        self.hint = Some(hint.to_owned());
        self
    }

    fn line(&self, output: Output, width: usize) -> String {
        let (mark, style) = match self.state {
            State::Ok => ("✓", Style::new().green()),
            State::Note => ("•", Style::new().yellow()),
            State::Failed => ("✗", Style::new().red()),
        };
        let line = format!("{} {:<width$}  {}", output.paint(style, mark), self.name, clean(&self.detail));
        match &self.hint {
            Some(hint) => format!("{line}\n  {:<width$}  → {}", "", clean(hint)),
            None => line,
        }
    }
}

/// Runs all checks. The exit code is a failure if an essential part does not work.
pub(crate) async fn run(context: &Context) -> Result<ExitCode> {
    let client = context.client()?;
    let mut findings = match client.get_public("/health/live").await {
        Ok(response) => reachable(&client, response).await,
        Err(error) => vec![Finding::of_error("server", State::Failed, &error)],
    };
    findings.push(nebula());
    findings.extend(device());
    findings.extend(peers());
    findings.push(player());
    let sound = findings.iter().all(|finding| finding.state != State::Failed);
    context.output.show(&json!({ "ok": sound, "server": client.server(), "checks": findings }), || {
        let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or_default();
        let shown = findings.iter().filter(|finding| !context.output.quiet || finding.state == State::Failed);
        let mut lines: Vec<String> = shown.map(|finding| finding.line(context.output, width)).collect();
        lines.push(if sound {
            "All is well.".to_owned()
        } else {
            "Something essential is broken: see ✗.".to_owned()
        });
        lines.join("\n")
    })?;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks that need a gateway that answers.
async fn reachable(client: &Client, response: Response) -> Vec<Finding> {
    let clock = clock(&response, Utc::now());
    let server = match client::json::<Health>(response).await {
        Ok(health) => Finding::new(
            "server",
            State::Ok,
            format!("nebula-gateway {} at {}", health.version, client.server()),
        ),
        Err(error) => return vec![Finding::of_error("server", State::Failed, &error)],
    };
    let mut findings = vec![server];
    findings.extend(parts(client).await);
    findings.push(authority(client).await);
    findings.extend(authority_warnings(client).await);
    findings.extend(clock);
    findings.push(identity(client).await);
    findings
}

/// The parts behind the gateway, as it reports them. The response with status 503 has the same format.
async fn parts(client: &Client) -> Vec<Finding> {
    let health = match client.get_public("/health/ready").await {
        Ok(response) => client::json::<Health>(response).await,
        Err(error) => Err(error),
    };
    let health = match health {
        Ok(health) => health,
        Err(error) => return vec![Finding::of_error("ready", State::Failed, &error)],
    };
    let finding = |check: nebula_api::health::Check| {
        // A part that works and has a remedy will fail soon.
        let state = match (check.ok, &check.hint) {
            (true, None) => State::Ok,
            (true, Some(_)) => State::Note,
            (false, _) => State::Failed,
        };
        let finding = Finding::new(&clean(&check.name), state, check.detail);
        match check.hint {
            Some(hint) => finding.hint(&hint),
            None if check.ok => finding,
            None => finding.hint("The gateway's log says more; `make up` starts what is down."),
        }
    };
    if health.status != "ok" && health.checks.iter().all(|check| check.ok) {
        return vec![Finding::new("ready", State::Failed, "the gateway says it is not ready, but not why")];
    }
    health.checks.into_iter().map(finding).collect()
}

/// The certificates that all devices trust.
async fn authority(client: &Client) -> Finding {
    let authorities = match join::authorities(client).await {
        Ok(authorities) => authorities,
        Err(error) => return Finding::of_error("CA", State::Failed, &error),
    };
    let newest =
        authorities.iter().map(|authority| authority.details()).max_by_key(|details| details.not_after);
    let Some(details) = newest else { return Finding::new("CA", State::Failed, "there is none") };
    let days = (details.not_after - Utc::now().timestamp()).div_euclid(86_400);
    let (name, until) = (&details.name, date(details.not_after));
    if days < 0 {
        return Finding::new("CA", State::Failed, format!("\"{name}\" has expired on {until}"))
            .hint("Make a new one: nebulactl ca create; devices must join again.");
    }
    let detail = format!("\"{name}\", version {}, {}, valid until {until}", details.version, details.curve);
    if days < MIN_DAYS_LEFT {
        return Finding::new("CA", State::Note, detail)
            .hint("Make its successor now, so that devices trust both for a while.");
    }
    Finding::new("CA", State::Ok, detail)
}

/// Warnings of the gateway about authorities, which administrators may see.
async fn authority_warnings(client: &Client) -> Vec<Finding> {
    let known = client.get::<Vec<Authority>>("/api/authorities", &[]).await.unwrap_or_default();
    let finding = |one: Authority| {
        let detail = format!("\"{}\" {}", one.name, one.warning?);
        let hint =
            "nebulactl ca create, into the gateway's NEBULA_CA_DIR; then nebulactl ca rotate --to NAME";
        Some(Finding::new("CA", State::Note, detail).hint(hint))
    };
    known.into_iter().filter_map(finding).collect()
}

/// Difference to the gateway's clock, to the second, which is the resolution of the HTTP header.
fn clock(response: &Response, now: DateTime<Utc>) -> Option<Finding> {
    let theirs = DateTime::parse_from_rfc2822(response.headers().get(DATE)?.to_str().ok()?).ok()?;
    Some(skew((now - theirs.to_utc()).num_seconds()))
}

fn skew(seconds: i64) -> Finding {
    let (amount, side) = (seconds.abs(), if seconds < 0 { "behind" } else { "ahead of" });
    match amount {
        ..=NOTED_SKEW => Finding::new("clock", State::Ok, "agrees with the gateway's"),
        _ => {
            let state = if amount > MAX_SKEW { State::Failed } else { State::Note };
            let detail = format!("this machine is {amount} s {side} the gateway");
            Finding::new("clock", state, detail)
                .hint("Certificates depend on it; set both by NTP: timedatectl set-ntp true")
        }
    }
}

async fn identity(client: &Client) -> Finding {
    match client.get::<Identity>("/api/auth/me", &[]).await {
        Ok(identity) => {
            Finding::new("account", State::Ok, format!("{} ({})", identity.username, identity.role))
        }
        Err(error) => Finding::of_error("account", State::Note, &error),
    }
}

/// The nebula daemon on this machine.
fn nebula() -> Finding {
    let Ok(path) = which("nebula") else {
        return Finding::new("nebula", State::Note, "not on this machine")
            .hint("Only devices need it: apt install nebula, or https://github.com/slackhq/nebula/releases");
    };
    let ran = Command::new(&path).arg("-version").stdin(Stdio::null()).output();
    let version = ran.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    let version = version.trim().trim_start_matches("Version: ").to_owned();
    Finding::new("nebula", State::Ok, format!("{version} at {}", path.display()))
}

/// The device on this machine, if an agent manages one.
fn device() -> Option<Finding> {
    let folder = existing_folder();
    let host = match state::identity(&folder) {
        Ok(identity) => identity?.host,
        Err(error) => return Some(Finding::of_error("device", State::Failed, &error)),
    };
    let who = format!("{} at {}", host.name, host.ip_address);
    Some(match state::AgentFolder::holder(&folder) {
        Some(pid) => Finding::new("device", State::Ok, format!("{who}, kept up to date by process {pid}")),
        None => Finding::new("device", State::Note, format!("{who}, but no agent keeps it up to date"))
            .hint("Start it: nebulactl agent"),
    })
}

/// WireGuard peers, if this machine is a node whose agent runs: faults that the agent found in its firewall, and why
/// interfaces do not run.
fn peers() -> Vec<Finding> {
    let folder = existing_folder();
    if state::AgentFolder::holder(&folder).is_none() {
        return Vec::new();
    }
    match report::last(&folder) {
        Ok(status) => status.and_then(|status| status.node).as_ref().map_or_else(Vec::new, node),
        Err(error) => vec![Finding::of_error("peers", State::Note, &error)],
    }
}

fn node(node: &NodeStatus) -> Vec<Finding> {
    let finding = |state, text: &str| {
        // The command that helps comes last.
        let (detail, command) = text.split_once(": ").unwrap_or((text, ""));
        let finding = Finding::new("peers", state, detail);
        if command.is_empty() { finding } else { finding.hint(command) }
    };
    let obstacles = node.obstacles.iter().map(|text| finding(State::Note, text));
    let errors = node.interfaces.iter().filter_map(|one| {
        let error = one.error.as_ref()?;
        Some(Finding::new("peers", State::Failed, format!("{} does not run: {error}", one.name)))
    });
    let mut findings: Vec<Finding> = errors.chain(obstacles).collect();
    if findings.is_empty() {
        let count: usize = node.interfaces.iter().map(|one| one.peers).sum();
        findings.push(Finding::new("peers", State::Ok, format!("this node serves {count}")));
    }
    findings
}

fn player() -> Finding {
    match play::player() {
        Some(path) => Finding::new("player", State::Ok, path.display().to_string()),
        None => Finding::new("player", State::Note, "neither mpv nor vlc on this machine")
            .hint("Only nebulactl play needs one: apt install mpv; --print-url works without."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::wireguard::InterfaceStatus;

    #[test]
    fn clock_differences_are_rated_by_their_effect_on_certificates() {
        let states = [0, -10, 11, -300, 301].map(|seconds| skew(seconds).state);
        assert_eq!(states, [State::Ok, State::Ok, State::Note, State::Note, State::Failed]);
        assert_eq!(skew(-20).detail, "this machine is 20 s behind the gateway");
    }

    #[test]
    fn faults_of_a_node_are_shown_with_the_command_that_helps() {
        let interface = |error: Option<&str>| InterfaceStatus {
            name: "wg0".to_owned(),
            peers: 3,
            error: error.map(str::to_owned),
            ..InterfaceStatus::default()
        };
        let obstacle = "ufw drops what wg0 forwards: ufw route allow in on wg0".to_owned();
        let found = node(&NodeStatus {
            interfaces: vec![interface(Some("nft is not on PATH. Install it: apt install nftables"))],
            obstacles: vec![obstacle],
        });
        assert_eq!((found[0].state, found[1].state), (State::Failed, State::Note));
        assert!(found[0].detail.ends_with("apt install nftables"), "{found:?}");
        assert_eq!(found[1].hint.as_deref(), Some("ufw route allow in on wg0"));
        let sound = node(&NodeStatus { interfaces: vec![interface(None)], obstacles: Vec::new() });
        assert_eq!((sound[0].state, sound[0].detail.as_str()), (State::Ok, "this node serves 3"));
    }

    #[test]
    fn findings_are_aligned_and_show_the_hint() {
        let output = Output::new(true, false);
        let finding = Finding::new("CA", State::Note, "old").hint("renew");
        assert_eq!(finding.line(output, 6), "• CA      old\n          → renew");
    }
}
