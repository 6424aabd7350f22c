//! The node with the lowest score.

use pgrx::Uuid;

use super::choice::{Choice, open_nodes};
use crate::pg::error::Result;
use crate::pg::privilege::as_owner_by_index;
use crate::pg::statement::{Row, Statement};

/// The node with the lowest score.
pub(super) struct Lowest {
    pub(super) node: Uuid,
    /// Its place in the order once it has one more peer.
    pub(super) next_choice: f64,
    /// It is of no project.
    pub(super) is_shared: bool,
}

/// The node with the lowest score, locked or not.
pub(super) fn lowest(choice: &Choice) -> Result<Option<Lowest>> {
    // One descent of the index for the nodes of each project, and one for those of none. There the order
    // names project_id too: the planner does not know that it is the same in all rows.
    static OF_PROJECT: Statement = Statement::new(concat!(
        "SELECT node_id, (active_peers + 1)::double precision / max_peers / weight
                + CASE WHEN active_peers + 1 >= soft_max_peers THEN 1000 ELSE 0 END,
                is_shared
           FROM ((SELECT node_id, active_peers, max_peers, soft_max_peers, weight, choice, name,
                         false AS is_shared
                    FROM nebula.node
                   WHERE project_id = $1 AND ",
        open_nodes!(),
        " ORDER BY choice, name LIMIT 1)
                 UNION ALL
                 (SELECT node_id, active_peers, max_peers, soft_max_peers, weight, choice, name, true
                    FROM nebula.node
                   WHERE project_id IS NULL AND ",
        open_nodes!(),
        " ORDER BY project_id, choice, name LIMIT 1)) n
          ORDER BY choice, name LIMIT 1",
    ));
    static OF_ANY: Statement = Statement::new(concat!(
        "SELECT node_id, 0::double precision, false
           FROM (SELECT n.*
                   FROM nebula.project p
                  CROSS JOIN LATERAL (SELECT node_id, choice, name FROM nebula.node
                                       WHERE project_id = p.project_id AND ",
        open_nodes!(),
        " ORDER BY choice, name LIMIT 1) n
                 UNION ALL
                 (SELECT node_id, choice, name FROM nebula.node WHERE project_id IS NULL AND ",
        open_nodes!(),
        " ORDER BY project_id, choice, name LIMIT 1)) n
          ORDER BY choice, name LIMIT 1",
    ));
    let read =
        |row: &Row<'_>| Ok(Lowest { node: row.need(1)?, next_choice: row.need(2)?, is_shared: row.need(3)? });
    match choice.project {
        Some(_) => as_owner_by_index(|| OF_PROJECT.query_opt(&choice.values(), read)),
        None => as_owner_by_index(|| OF_ANY.query_opt(&choice.values(), read)),
    }
}
