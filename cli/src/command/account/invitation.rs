//! `account invite` and `account invitations`.

use chrono::Utc;
use clap::Args;
use nebula_api::invitation::{Invitation, InvitationRequest, NewInvitation};

use super::project;
use crate::client::Client;
use crate::command::lifetime::parse_lifetime;
use crate::context::Context;
use crate::error::Result;
use crate::output::{ago, clean};

/// Where somebody is invited to.
#[derive(Args, Debug)]
pub(crate) struct Place {
    #[command(flatten)]
    project: project::Choice,
    /// To an account without a project (operators)
    #[arg(long)]
    no_project: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Invite {
    /// Role in the project: viewer, member, and by owners admin or owner; without a project admin (operator) or member
    #[arg(long, default_value = "member", value_parser = ["viewer", "member", "admin", "owner"])]
    role: String,
    #[command(flatten)]
    place: Place,
    /// Validity: 30m, 12h, 7d [default: 7d]
    #[arg(long, value_name = "TIME", value_parser = parse_lifetime)]
    lifetime: Option<i32>,
    /// Reminder for whom it is; shown in the list only
    #[arg(long)]
    note: Option<String>,
}

impl Place {
    async fn path(&self, client: &Client) -> Result<String> {
        if self.no_project {
            return Ok("/api/invitations".to_owned());
        }
        let project = self.project.resolve(client).await?;
        Ok(format!("/api/projects/{}/invitations", project.project_id))
    }
}

pub(super) async fn invite(context: &Context, client: &Client, arguments: Invite) -> Result<()> {
    let Invite { role, place, lifetime, note } = arguments;
    let request = InvitationRequest { role, lifetime_seconds: lifetime, note };
    let made: NewInvitation = client.post(&place.path(client).await?, &request).await?;
    context.output.show(&made, || {
        let url = clean(&made.url);
        if context.output.quiet {
            return url;
        }
        format!(
            "{url}\n\nGood for one person, until {}. It is shown this once; take it back: \
             nebulactl account uninvite {}",
            made.expires_at.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M"),
            made.invitation_id
        )
    })
}

pub(super) async fn list(context: &Context, client: &Client, place: &Place) -> Result<()> {
    let invitations: Vec<Invitation> = client.get(&place.path(client).await?, &[]).await?;
    context.output.show(&invitations, || {
        let now = Utc::now();
        let rows = invitations.iter().map(|invitation| {
            let about = invitation.accepted_by.as_deref().or(invitation.note.as_deref()).unwrap_or_default();
            let made = format!("{} by {}", ago(invitation.created_at, now), clean(&invitation.invited_by));
            let state = context.output.state(&invitation.state);
            [invitation.role.clone(), state, clean(about), made, invitation.invitation_id.to_string()]
        });
        context.output.table(["ROLE", "STATE", "FOR", "MADE", "ID"], rows.collect())
    })
}
