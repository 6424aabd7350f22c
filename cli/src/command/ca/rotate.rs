//! `ca ls` and `ca rotate`: authorities of the gateway, and their replacement while devices are connected.

use clap::Args;
use nebula_api::authority::{Authority, Rotation, RotationRequest, RotationState};
use serde_json::Map;

use crate::client::Client;
use crate::command::project;
use crate::confirm::Confirmation;
use crate::context::Context;
use crate::error::{Code, Error, Result};
use crate::live_updates::LiveUpdates;
use crate::output::{clean, date};

#[derive(Args, Debug)]
pub(crate) struct Rotate {
    #[command(flatten)]
    project: project::Choice,
    /// Authority that takes over: its name or the beginning of its fingerprint, as `ca ls` shows them
    #[arg(long, value_name = "NAME|FINGERPRINT", required_unless_present_any = ["force", "cancel", "show"])]
    to: Option<String>,
    /// Return at once; the rotation continues without this command
    #[arg(long)]
    no_wait: bool,
    /// Go on without the members that are waited for: they may be cut off until they fetch their
    /// configuration
    #[arg(long, conflicts_with = "to")]
    force: bool,
    /// Cancel the rotation; if the new authority signs already, the former one takes over again
    #[arg(long, conflicts_with_all = ["to", "force"])]
    cancel: bool,
    /// Only show its progress
    #[arg(long, conflicts_with_all = ["to", "force", "cancel"])]
    show: bool,
    #[command(flatten)]
    confirmation: Confirmation,
}

pub(crate) async fn list(context: &Context) -> Result<()> {
    let client = context.client()?;
    let authorities: Vec<Authority> = client.get("/api/authorities", &[]).await?;
    for warning in
        authorities.iter().filter_map(|one| Some(format!("{}: {}", one.name, one.warning.as_ref()?)))
    {
        context.output.note(&clean(&warning));
    }
    context.output.show(&authorities, || {
        let rows = authorities.iter().map(|one| {
            let projects =
                if one.projects.is_empty() { "-".to_owned() } else { clean(&one.projects.join(", ")) };
            let fingerprint = one.fingerprint.chars().take(16).collect();
            [
                clean(&one.name),
                fingerprint,
                one.curve.clone(),
                date(one.not_after.timestamp()),
                one.days_left.to_string(),
                projects,
            ]
        });
        context.output.table(["NAME", "FINGERPRINT", "CURVE", "UNTIL", ">DAYS", "SIGNS FOR"], rows.collect())
    })
}

/// Starts, forces or cancels a rotation, and waits for its end.
pub(crate) async fn run(context: &Context, arguments: Rotate) -> Result<()> {
    let client = context.client()?;
    let project = arguments.project.resolve(&client).await?;
    let (name, project) = (clean(&project.name), project.project_id);
    let nothing = Map::new();
    let state = if arguments.cancel {
        client.post(&format!("/api/rotations/{project}/cancel"), &nothing).await?
    } else if arguments.force {
        let question =
            format!("Go on in {name} without the devices that are waited for, which may be cut off?");
        if !arguments.confirmation.given(context, &question)? {
            return Ok(());
        }
        client.post(&format!("/api/rotations/{project}/force"), &nothing).await?
    } else if let Some(wanted) = &arguments.to {
        let fingerprint = choose(&client, wanted).await?;
        let question = format!("Replace the authority of {name} by {}?", clean(wanted));
        if !arguments.confirmation.given(context, &question)? {
            return Ok(());
        }
        client.post("/api/rotations", &RotationRequest { project_id: project, fingerprint }).await?
    } else {
        RotationState { state: String::new() }
    };
    let find = async || -> Result<Option<Rotation>> {
        let rotations: Vec<Rotation> = client.get("/api/rotations", &[]).await?;
        Ok(rotations.into_iter().find(|one| one.project_id == project))
    };
    if arguments.show {
        let found = find().await?;
        return context
            .output
            .show(&found, || found.as_ref().map_or("No rotation yet.".to_owned(), sentence));
    }
    let mut updates = LiveUpdates::new(&client);
    let mut shown = String::new();
    loop {
        let Some(rotation) = find().await? else {
            // A project without an authority takes the new one at once.
            return context.output.confirm(&state, || format!("The rotation is {}.", clean(&state.state)));
        };
        let over = ["done", "cancelled"].contains(&rotation.state.as_str());
        if over || arguments.no_wait {
            return context.output.confirm(&rotation, || sentence(&rotation));
        }
        let text = sentence(&rotation);
        if text != shown {
            context.output.note(&text);
            shown = text;
        }
        updates.changed().await;
    }
}

/// Finds the one authority of this name or fingerprint.
async fn choose(client: &Client, wanted: &str) -> Result<String> {
    let authorities: Vec<Authority> = client.get("/api/authorities", &[]).await?;
    let start = wanted.to_ascii_lowercase();
    let fits =
        |one: &&Authority| one.name == wanted || start.len() >= 8 && one.fingerprint.starts_with(&start);
    let found: Vec<&Authority> = authorities.iter().filter(fits).collect();
    match found.as_slice() {
        [one] => Ok(one.fingerprint.clone()),
        [] => Err(Error::new(Code::NotFound, format!("the gateway has no authority {wanted:?}")).hint(
            "Put certificate and key into its NEBULA_CA_DIR (nebulactl ca create makes them), readable by the \
                 user that it runs as, then: nebulactl ca ls. nebulactl doctor tells of those it cannot use.",
        )),
        several => {
            Err(Error::new(Code::InvalidArgument, format!("{} authorities fit {wanted:?}", several.len()))
                .hint("Give more of the fingerprint: nebulactl ca ls --json"))
        }
    }
}

fn sentence(rotation: &Rotation) -> String {
    let (from, to) = (clean(&rotation.retiring), clean(&rotation.incoming));
    let what = match rotation.state.as_str() {
        "distributing" => format!("{from} signs, devices learn to trust {to}"),
        "reissuing" => format!("{to} signs, devices get new certificates"),
        "retiring" => format!("{to} signs, devices forget {from}"),
        "done" => return format!("Done: {to} has taken over from {from}."),
        _ => return format!("Cancelled: {from} signs as before."),
    };
    let waits = match rotation.waits_for {
        0 => String::new(),
        count => {
            let mut names: Vec<String> = rotation.missing.iter().take(5).map(|name| clean(name)).collect();
            if usize::try_from(count).is_ok_and(|count| count > names.len()) {
                names.push("…".to_owned());
            }
            format!("; waits for {count}: {}", names.join(", "))
        }
    };
    format!("{}: {what}{waits}", clean(&rotation.state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_a_rotation_waits_for_are_named() {
        let now = chrono::Utc::now();
        let mut rotation = Rotation {
            project_id: uuid::Uuid::nil(),
            project: "home".into(),
            retiring: "old".into(),
            incoming: "new".into(),
            incoming_fingerprint: String::new(),
            state: "distributing".into(),
            started_by: "admin".into(),
            started_at: now,
            changed_at: now,
            waits_for: 7,
            missing: (1..=7).map(|number| format!("d{number}")).collect(),
        };
        let text = sentence(&rotation);
        assert_eq!(
            text,
            "distributing: old signs, devices learn to trust new; waits for 7: d1, d2, d3, d4, d5, …"
        );
        rotation.state = "done".into();
        assert_eq!(sentence(&rotation), "Done: new has taken over from old.");
    }
}
