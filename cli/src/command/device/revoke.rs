//! `device revoke`: revokes a device and shows how many members know.

use std::time::{Duration, Instant};

use nebula_api::device::Device;
use nebula_api::revocation::Revocation;
use serde_json::json;

use crate::context::Context;
use crate::error::Result;
use crate::live_updates::LiveUpdates;
use crate::output::clean;

/// After this time the names of those that have not confirmed are shown.
const LONG_WAIT: Duration = Duration::from_secs(4);

/// Revokes a device and, with `wait`, follows until all live members have acknowledged.
pub(super) async fn run(context: &Context, device: &Device, wait: bool) -> Result<()> {
    let client = context.client()?;
    let path = format!("/api/devices/{}", device.device_id);
    let mut state: Revocation = client.post(&format!("{path}/revoke"), &json!({})).await?;
    let mut updates = LiveUpdates::new(&client);
    let (begun, mut told) = (Instant::now(), false);
    let bar = context.output.share_bar(&device.name);
    while wait && state.revoked_everywhere_at.is_none() {
        // A member that is switched off confirms when it is back, which may be never.
        if !told && begun.elapsed() >= LONG_WAIT {
            bar.suspend(|| context.output.note(&waiting(&state)));
            told = true;
        }
        bar.set_position(share(&state));
        updates.changed().await;
        state = client.get(&format!("{path}/revocation"), &[]).await?;
    }
    bar.finish_and_clear();
    context.output.confirm(&state, || text(&state))
}

fn share(state: &Revocation) -> u64 {
    let (members, acknowledged) = (state.members.max(1), state.acknowledged.max(0));
    (acknowledged * 1000 / members).unsigned_abs()
}

fn waiting(state: &Revocation) -> String {
    format!("{} Waiting for them; Ctrl-C ends the waiting alone, as --no-wait does.", text(state))
}

fn text(state: &Revocation) -> String {
    let name = clean(&state.name);
    if state.revoked_everywhere_at.is_some() {
        return format!("{name} is revoked everywhere: no member talks to it any more.");
    }
    let missing: Vec<String> = state.missing.iter().map(|name| clean(name)).collect();
    let rest = if missing.is_empty() { String::new() } else { format!("; not yet: {}", missing.join(", ")) };
    format!("{name} is revoked; {} of {} members know it{rest}.", state.acknowledged, state.members)
}
