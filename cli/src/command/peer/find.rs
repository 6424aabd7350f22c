//! Peers of a project, by name or id.

use nebula_api::Failure;
use nebula_api::peer::{ItemError, Peer, PeerConfig};
use uuid::Uuid;

use crate::client::Client;
use crate::command::project;
use crate::error::{Code, Error, Result};

pub(super) async fn of_project(client: &Client, choice: &project::Choice) -> Result<Vec<Peer>> {
    let project = choice.resolve(client).await?;
    client.get("/api/peers", &[("projectId", project.project_id.to_string())]).await
}

/// The peers of these names or ids, in this order; an unknown one is an error.
pub(super) async fn named(client: &Client, choice: &project::Choice, names: &[String]) -> Result<Vec<Peer>> {
    let known = of_project(client, choice).await?;
    names.iter().map(|name| pick(&known, name).cloned()).collect()
}

/// The peer of this name or id.
pub(super) async fn one(client: &Client, choice: &project::Choice, name: &str) -> Result<Peer> {
    pick(&of_project(client, choice).await?, name).cloned()
}

fn pick<'a>(known: &'a [Peer], name: &str) -> Result<&'a Peer> {
    let named = |peer: &&Peer| peer.name == name || peer.peer_id.to_string().eq_ignore_ascii_case(name);
    known.iter().find(named).ok_or_else(|| {
        Error::new(Code::NotFound, format!("there is no peer \"{name}\" in the project"))
            .hint("List them: nebulactl peer ls")
    })
}

pub(super) async fn config(client: &Client, peer_id: Uuid) -> Result<PeerConfig> {
    client.get(&format!("/api/peers/{peer_id}/config"), &[]).await
}

/// An item of a batch that failed, in the form of every other failure.
pub(super) fn item_error(error: ItemError) -> Error {
    let code = match error.sqlstate.as_str() {
        "22023" => "bad_argument",
        "23505" => "already_exists",
        "42501" => "not_permitted",
        "53000" => "no_node",
        "53400" => "pool_exhausted",
        "55000" => "wrong_state",
        "P0002" => "not_found",
        _ => "internal",
    };
    let ItemError { sqlstate, detail, hint } = error;
    Error::answered(
        200,
        Failure { success: false, error: code.to_owned(), sqlstate, detail, hint, field: None, reason: None },
    )
}
