//! Notifications of the agents of nodes that something is wanted of them. Channel `nebula_node`.

use pgrx::Uuid;
use pgrx::prelude::*;

use super::pending::with_frame;
use super::shared;
use crate::pg::error::{Result, required, sql};
use crate::pg::hooks;
use crate::pg::privilege::as_owner;
use crate::pg::session;
use crate::pg::statement::Statement;

// For functions in SQL.
#[pg_extern]
fn notify_node(p_node_id: Option<Uuid>) -> sql::Result<()> {
    Ok(notify(required(p_node_id, "p_node_id")?)?)
}

/// Wakes the agent of a node when the transaction commits.
pub(crate) fn notify(node: Uuid) -> Result<()> {
    static NOTIFY: Statement = Statement::new("SELECT nebula.announce_nodes(ARRAY[$1])");
    if shared::notifier_serves(session::database()) {
        hooks::register();
        with_frame(|frame| frame.add_node(*node.as_bytes()));
        return Ok(());
    }
    as_owner(|| NOTIFY.run(&[node.into()]))
}
