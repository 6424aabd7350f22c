//! The node with the lowest score.

use pgrx::Uuid;

use super::criteria::{Criteria, open_nodes};
use crate::pg::error::Result;
use crate::pg::privilege::as_owner_by_index;
use crate::pg::statement::{Row, Statement};

/// The node with the lowest score.
pub(super) struct Lowest {
    pub(super) node: Uuid,
    /// Its rank with one more peer.
    pub(super) next_rank: f64,
    /// It is of no project.
    pub(super) is_shared: bool,
}

/// The first node by rank and name. The index knows lower bounds of ranks only: a node of a lower bound than the first
/// one's rank can precede it, and so can one whose bound is that rank and exact. The planner does not know that
/// project_id is the same in all rows, so for nodes of no project the order of the index begins with it.
macro_rules! lowest_of {
    ($project:literal, $prefix:literal) => {
        concat!(
            "(SELECT k.*
                FROM (SELECT rank FROM nebula.node WHERE ",
            $project,
            " AND ",
            open_nodes!(),
            " ORDER BY ",
            $prefix,
            "rank_bound, name COLLATE \"C\" LIMIT 1) f
               CROSS JOIN LATERAL (
                 (SELECT node_id, project_id, active_peers, max_peers, soft_max_peers, weight, rank, name
                    FROM nebula.node
                   WHERE rank_bound < f.rank AND ",
            $project,
            " AND ",
            open_nodes!(),
            " ORDER BY rank, name COLLATE \"C\" LIMIT 1)
                 UNION ALL
                 (SELECT node_id, project_id, active_peers, max_peers, soft_max_peers, weight, rank, name
                    FROM nebula.node
                   WHERE rank_bound = f.rank AND rank = f.rank AND ",
            $project,
            " AND ",
            open_nodes!(),
            " ORDER BY ",
            $prefix,
            "rank_bound, name COLLATE \"C\" LIMIT 1)) k
               ORDER BY k.rank, k.name COLLATE \"C\" LIMIT 1)"
        )
    };
}

/// The node with the lowest score, locked or not.
pub(super) fn lowest(criteria: &Criteria) -> Result<Option<Lowest>> {
    static OF_PROJECT: Statement = Statement::new(concat!(
        "SELECT node_id, (active_peers + 1)::double precision / max_peers / weight
                + CASE WHEN active_peers + 1 >= soft_max_peers THEN 1000 ELSE 0 END,
                project_id IS NULL
           FROM (",
        lowest_of!("project_id = $1", ""),
        " UNION ALL ",
        lowest_of!("project_id IS NULL", "project_id, "),
        ") n
          ORDER BY rank, name COLLATE \"C\" LIMIT 1",
    ));
    static OF_ANY: Statement = Statement::new(concat!(
        "SELECT node_id, 0::double precision, false
           FROM (SELECT n.* FROM nebula.project p CROSS JOIN LATERAL ",
        lowest_of!("project_id = p.project_id", ""),
        " n UNION ALL ",
        lowest_of!("project_id IS NULL", "project_id, "),
        ") n
          ORDER BY rank, name COLLATE \"C\" LIMIT 1",
    ));
    let read =
        |row: &Row<'_>| Ok(Lowest { node: row.need(1)?, next_rank: row.need(2)?, is_shared: row.need(3)? });
    match criteria.project {
        Some(_) => as_owner_by_index(|| OF_PROJECT.query_opt(&criteria.values(), read)),
        None => as_owner_by_index(|| OF_ANY.query_opt(&criteria.values(), read)),
    }
}
