//! `device revoke`: revokes a device and shows how many members know.

use nebula_api::device::Device;
use nebula_api::revocation::Revocation;
use serde_json::json;

use crate::context::Context;
use crate::error::Result;
use crate::live_updates::LiveUpdates;
use crate::output::clean;

/// Revokes a device and, with `wait`, follows until all live members have acknowledged.
pub(super) async fn run(context: &Context, device: &Device, wait: bool) -> Result<()> {
    let client = context.client()?;
    let path = format!("/api/devices/{}", device.device_id);
    let mut state: Revocation = client.post(&format!("{path}/revoke"), &json!({})).await?;
    let bar = context.output.share_bar(&device.name);
    let mut updates = LiveUpdates::new(&client);
    while wait && state.revoked_everywhere_at.is_none() {
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

fn text(state: &Revocation) -> String {
    let name = clean(&state.name);
    if state.revoked_everywhere_at.is_some() {
        return format!("{name} is revoked everywhere: no member talks to it any more.");
    }
    let missing: Vec<String> = state.missing.iter().map(|name| clean(name)).collect();
    let rest = if missing.is_empty() { String::new() } else { format!("; not yet: {}", missing.join(", ")) };
    format!("{name} is revoked; {} of {} members know it{rest}.", state.acknowledged, state.members)
}
