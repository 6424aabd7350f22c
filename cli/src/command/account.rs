//! `account`: accounts, the members of projects, and sessions.

use chrono::Utc;
use clap::Subcommand;
use nebula_api::Page;
use nebula_api::account::{Account, AccountChanges, Member, Session, SetMember};
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use super::project;
use crate::client::{Client, json as read};
use crate::confirm::Confirmation;
use crate::context::Context;
use crate::error::{Code, Error, Result};
use crate::output::{ago, clean};

mod invitation;
mod password;
mod totp;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List accounts (operators)
    Ls,
    /// Let an account neither sign in nor act; ends its sessions, and keeps what it owns (operators)
    Disable {
        /// Sign-in name
        name: String,
    },
    /// Let a disabled account sign in again (operators)
    Enable {
        /// Sign-in name
        name: String,
    },
    /// Make an account an operator, who may do everything, or end that (operators)
    Role {
        /// Sign-in name
        name: String,
        /// admin: operator; member: what the roles in its projects allow
        #[arg(value_parser = ["admin", "member"])]
        role: String,
    },
    /// Invite somebody into a project, or to an account without one; prints the link, this once (administrators)
    Invite(invitation::Invite),
    /// List invitations; the links are not shown (administrators)
    Invitations(invitation::Place),
    /// Take an invitation back (administrators)
    Uninvite {
        /// Number of the invitation, as `account invitations` shows it
        id: Uuid,
    },
    /// Change your password; ends your other sessions
    Password(password::Change),
    /// A second factor to sign in: codes of an authenticator
    #[command(subcommand)]
    Totp(totp::Command),
    /// Delete an account; its devices, peers and files stay with their projects (operators)
    Rm {
        /// Sign-in name
        name: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// List where you are signed in, or another account is (operators)
    Sessions {
        /// Sign-in name [default: you]
        name: Option<String>,
    },
    /// End a session, or all of yours but this one
    End {
        /// Number of the session, as `account sessions` shows it [default: all but this one]
        session: Option<Uuid>,
    },
    /// List the members of a project and their roles
    Members(project::Choice),
    /// Add an account to a project, or give a member another role (owners)
    Add {
        /// Sign-in name
        name: String,
        /// Each role may do all that those before it may
        #[arg(long, default_value = "member", value_parser = ["viewer", "member", "admin", "owner"])]
        role: String,
        #[command(flatten)]
        project: project::Choice,
    },
    /// Remove an account from a project (owners; members may leave)
    Remove {
        /// Sign-in name
        name: String,
        #[command(flatten)]
        project: project::Choice,
    },
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<()> {
    let client = context.client()?;
    match command {
        Command::Ls => list(context, &client).await,
        Command::Disable { name } => {
            let changes = AccountChanges { disabled: Some(true), ..AccountChanges::default() };
            change(context, &client, &name, &changes, "can no longer sign in; its sessions have ended").await
        }
        Command::Enable { name } => {
            let changes = AccountChanges { disabled: Some(false), ..AccountChanges::default() };
            change(context, &client, &name, &changes, "can sign in again").await
        }
        Command::Role { name, role } => {
            let done = if role == "admin" { "is an operator" } else { "is no operator" };
            let changes = AccountChanges { role: Some(role), ..AccountChanges::default() };
            change(context, &client, &name, &changes, done).await
        }
        Command::Invite(arguments) => invitation::invite(context, &client, arguments).await,
        Command::Invitations(place) => invitation::list(context, &client, &place).await,
        Command::Uninvite { id } => {
            client.delete(&format!("/api/invitations/{id}")).await?;
            let text = || format!("The invitation {id} is taken back: nobody can accept it any more.");
            context.output.confirm(&json!({ "invitationId": id }), text)
        }
        Command::Password(arguments) => password::change(context, &client, &arguments).await,
        Command::Totp(command) => totp::run(context, &client, command).await,
        Command::Rm { name, confirmation } => {
            let account = find(&client, &name).await?;
            let question = format!("Delete the account {} with its sessions and share links?", clean(&name));
            if !confirmation.given(context, &question)? {
                return Ok(());
            }
            client.delete(&format!("/api/accounts/{}", account.account_id)).await?;
            confirm(context, &name, "is deleted; what it owned stays with its projects")
        }
        Command::Sessions { name } => sessions(context, &client, name.as_deref()).await,
        Command::End { session: Some(id) } => {
            client.delete(&format!("/api/sessions/{id}")).await?;
            context.output.confirm(&json!({ "sessionId": id }), || format!("The session {id} has ended."))
        }
        Command::End { session: None } => {
            let ended: i32 = client.delete_for("/api/sessions").await?;
            context.output.confirm(&json!({ "ended": ended }), || format!("Ended {ended} other sessions."))
        }
        Command::Members(choice) => members(context, &client, &choice).await,
        Command::Add { name, role, project } => {
            let path = members_path(&client, &project).await?;
            let done = format!("has the role {role} in the project");
            let _: () = client.put(&path, &SetMember { username: name.clone(), role }).await?;
            confirm(context, &name, &done)
        }
        Command::Remove { name, project } => {
            let path = members_path(&client, &project).await?;
            let members: Vec<Member> = client.get(&path, &[]).await?;
            let member = members.into_iter().find(|member| member.username == name).ok_or_else(|| {
                Error::new(Code::NotFound, format!("\"{name}\" is not a member of the project"))
                    .hint("List members: nebulactl account members")
            })?;
            client.delete(&format!("{path}/{}", member.account_id)).await?;
            confirm(context, &name, "is no longer a member; its devices and files stay")
        }
    }
}

fn confirm(context: &Context, name: &str, done: &str) -> Result<()> {
    context.output.confirm(&json!({ "username": name }), || format!("{} {done}.", clean(name)))
}

/// All accounts, page by page.
async fn all(client: &Client) -> Result<Vec<Account>> {
    let (mut accounts, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let query = [("max", "1000".to_owned())];
        let request = |cursor: &Option<String>| {
            client.request(Method::GET, "/api/accounts").query(&query).query(&[("cursor", cursor)])
        };
        let page: Page<Account> = read(client.send(|| Ok(request(&cursor))).await?).await?;
        accounts.extend(page.data);
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(accounts),
        }
    }
}

async fn find(client: &Client, name: &str) -> Result<Account> {
    let found = all(client).await?.into_iter().find(|account| account.username == name);
    found.ok_or_else(|| {
        Error::new(Code::NotFound, format!("there is no account \"{name}\""))
            .hint("List them: nebulactl account ls")
    })
}

async fn change(
    context: &Context,
    client: &Client,
    name: &str,
    changes: &AccountChanges,
    done: &str,
) -> Result<()> {
    let account = find(client, name).await?;
    let _: () = client.patch(&format!("/api/accounts/{}", account.account_id), changes).await?;
    confirm(context, name, done)
}

async fn list(context: &Context, client: &Client) -> Result<()> {
    let accounts = all(client).await?;
    context.output.show(&accounts, || {
        let now = Utc::now();
        let rows = accounts.iter().map(|account| {
            let role = if account.role == "admin" { "operator" } else { "" };
            let state = if account.disabled_at.is_some() { "disabled" } else { "active" };
            let seen = account.last_seen_at.map_or_else(|| "never".to_owned(), |at| ago(at, now));
            let name = clean(&account.username);
            [name, role.to_owned(), context.output.state(state), account.sessions.to_string(), seen]
        });
        context.output.table(["NAME", "ROLE", "STATE", ">SESSIONS", "SEEN"], rows.collect())
    })
}

async fn sessions(context: &Context, client: &Client, name: Option<&str>) -> Result<()> {
    let path = match name {
        Some(name) => format!("/api/accounts/{}/sessions", find(client, name).await?.account_id),
        None => "/api/sessions".to_owned(),
    };
    let sessions: Vec<Session> = client.get(&path, &[]).await?;
    context.output.show(&sessions, || {
        let now = Utc::now();
        let rows = sessions.iter().map(|session| {
            let seen = session.last_seen_at.unwrap_or(session.opened_at);
            let seen = if session.current { "this one".to_owned() } else { ago(seen, now) };
            let program = session.user_agent.as_deref().map(clean).unwrap_or_default();
            let client = session.client.clone().unwrap_or_default();
            [client, program, ago(session.opened_at, now), seen, session.session_id.to_string()]
        });
        context.output.table(["FROM", "PROGRAM", "SIGNED IN", "SEEN", "ID"], rows.collect())
    })
}

async fn members_path(client: &Client, choice: &project::Choice) -> Result<String> {
    Ok(format!("/api/projects/{}/members", choice.resolve(client).await?.project_id))
}

async fn members(context: &Context, client: &Client, choice: &project::Choice) -> Result<()> {
    let members: Vec<Member> = client.get(&members_path(client, choice).await?, &[]).await?;
    context.output.show(&members, || {
        let now = Utc::now();
        let rows = members.iter().map(|member| {
            let state = context.output.state(if member.disabled { "disabled" } else { "active" });
            [clean(&member.username), member.role.clone(), state, ago(member.added_at, now)]
        });
        context.output.table(["NAME", "ROLE", "STATE", "ADDED"], rows.collect())
    })
}
