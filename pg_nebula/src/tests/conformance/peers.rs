use pgrx::prelude::*;

/// The scenarios of peers.
#[pg_schema]
mod tests {
    use crate::tests::conformance::assert_same;
    use crate::tests::peers::key;
    use crate::tests::{device, project, run};
    use pgrx::prelude::*;

    const ROWS: [&str; 6] = [
        "SELECT p.peer_id, p.name, p.file_name, encode(p.public_key, 'hex') AS key, p.preshared_key, p.reach,
                p.networks, p.groups, p.disabled_at IS NULL AS enabled, p.created_by, p.created_at = now() AS now
           FROM nebula.peer p",
        "SELECT p.peer_id, n.name, p.role, p.wanted, p.generation, p.applied_generation, p.placed_at = now() AS now,
                p.deadline
           FROM nebula.placement p
           JOIN nebula.node_interface USING (interface_id)
           JOIN nebula.node n USING (node_id)",
        "SELECT name, active_peers, score, rank, rank_bound FROM nebula.node",
        "SELECT n.name, i.name, i.generation FROM nebula.node_interface i JOIN nebula.node n USING (node_id)",
        "SELECT ip, device_id, allocated_by FROM nebula.allocation",
        "SELECT project_id, actor, action, subject, subject_id, client, detail - 'interface', at = now() AS now
           FROM nebula.event",
    ];

    #[pg_test]
    fn peers_are_created() {
        let project = project("10.0.0.0/24");
        run("SELECT nebula.register_node('a', 'a:1', 100, 4), nebula.register_node('b', 'b:1', 200, 4);
             UPDATE nebula.node SET soft_max_peers = 2 WHERE name = 'b'");
        let create = |number: u32, rest: &str| {
            format!(
                "SELECT p.peer_id || ' ' || n.name || ' ' || p.ip
                   FROM nebula.create_peer('{project}', '{}', {}, name => 'peer {number}'{rest}) p
                   JOIN nebula.node n USING (node_id)",
                device(number),
                key(number)
            )
        };
        // Both nodes fill up, the one of weight 200 first to its soft limit.
        let mut steps: Vec<String> = (1..=9).map(|number| create(number, "")).collect();
        steps.insert(3, create(20, ", name => 'peer 1'").replace("name => 'peer 20', ", ""));
        steps.insert(4, create(2, ""));
        steps.insert(5, create(21, "").replace(&key(21), &key(1)));
        steps.insert(6, format!("SELECT nebula.move_peer('{}', 'node:a')", device(1)));
        let observed = assert_same(&steps, &ROWS, 8 * 7);
        assert!(observed.iter().any(|result| result.starts_with("53000")), "no node has room at the end");
    }
}
