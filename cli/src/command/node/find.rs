//! Nodes by name or id.

use nebula_api::node::Node;

use crate::client::Client;
use crate::error::{Code, Error, Result};

pub(super) async fn all(client: &Client) -> Result<Vec<Node>> {
    client.get("/api/nodes", &[]).await
}

pub(super) async fn named(client: &Client, node: &str) -> Result<Node> {
    let named = |known: &Node| known.name == node || known.node_id.to_string().eq_ignore_ascii_case(node);
    all(client).await?.into_iter().find(named).ok_or_else(|| {
        Error::new(Code::NotFound, format!("there is no node \"{node}\""))
            .hint("List them: nebulactl node ls")
    })
}
