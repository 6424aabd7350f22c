use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::peers::create;
    use crate::tests::{assert_error, assert_invariants, project, register, run, text};
    use pgrx::prelude::*;

    #[pg_test]
    fn the_node_with_the_lowest_score_gets_the_peer() {
        let project = project("10.0.0.0/24");
        run("SELECT nebula.register_node('a', 'a:1'), nebula.register_node('b', 'b:1'),
                    nebula.register_node('strong', 'c:1', 200), nebula.register_node('full', 'd:1')");
        run("UPDATE nebula.node SET active_peers = CASE name WHEN 'a' THEN 30 WHEN 'b' THEN 60 ELSE 100 END");
        assert_eq!(text("SELECT score FROM nebula.node WHERE name = 'a'"), "0.003");
        assert!(text(&create(&project, 1, "")).starts_with("a 10.77."));
        run("UPDATE nebula.node SET active_peers = 30 WHERE name = 'a';
             UPDATE nebula.node SET active_peers = 50 WHERE name = 'strong'");
        assert!(text(&create(&project, 2, "")).starts_with("strong 10.77."));
        run("UPDATE nebula.node SET enabled = false WHERE name <> 'full'");
        assert_error(&create(&project, 3, ""), "53000", &["none of 4", "1 full", "3 disabled"]);
        assert_error(&create(&project, 3, ", strategy => 'full'"), "53000", &["full"]);
        run("UPDATE nebula.node SET active_peers = 99 WHERE name = 'full'");
        assert!(text(&create(&project, 3, ", strategy => 'node:full'")).starts_with("full 10.77."));
    }

    #[pg_test]
    fn without_nodes_peers_are_on_this_server() {
        let project = project("10.0.0.0/24");
        assert_eq!(text(&create(&project, 1, "")), "local 10.77.0.2");
        let conf = "SELECT nebula.peer_conf(peer_id) FROM nebula.peer";
        assert_error(conf, "55000", &["no device of this server runs its peers"]);
        let why = text("SELECT concat_ws(': ', state, reason) FROM nebula.peer_status");
        assert!(why.starts_with("pending: waiting for an agent on this machine"), "{why}");
        assert_eq!(text("SELECT nodes FROM (SELECT count(*) AS nodes FROM nebula.node_scores()) n"), "0");
        run("SELECT nebula.register_node('a', 'a:1')");
        assert_eq!(text(&create(&project, 2, ", strategy => 'local'")), "local 10.77.0.3");
        assert!(text(&create(&project, 3, "")).starts_with("a 10.77."));
        assert_eq!(text("SELECT active_peers FROM nebula.node WHERE local"), "2");
        assert_invariants();
    }

    #[pg_test]
    fn labels_capabilities_and_soft_limits_guide_the_choice() {
        let project = project("10.0.0.0/24");
        run(
            "SELECT nebula.register_node('a', 'a:1'), nebula.register_node('b', 'b:1', capabilities => '{gpu}')",
        );
        run(
            "SELECT nebula.update_node(node_id, labels => '{\"region\": \"eu\"}') FROM nebula.node WHERE name = 'b'",
        );
        let on = |number: u32, strategy: &str| {
            text(&create(&project, number, &format!(", strategy => '{strategy}'"))).chars().next()
        };
        assert_eq!(on(1, "label:region=eu"), Some('b'));
        assert_eq!(on(2, "label:region"), Some('b'));
        assert_eq!(on(3, "capability:gpu"), Some('b'));
        assert_error(
            &create(&project, 4, ", strategy => 'label:region=us'"),
            "53000",
            &["without the capability"],
        );
        assert_eq!(on(4, "auto"), Some('a'));
        run("SELECT nebula.update_node(node_id, soft_max_peers => 1) FROM nebula.node WHERE name = 'a'");
        assert_eq!(on(5, "auto"), Some('b'), "a has reached its soft limit");
        run("SELECT nebula.update_node(node_id, max_peers => 4) FROM nebula.node WHERE name = 'b'");
        assert_eq!(on(6, "auto"), Some('a'), "only a has room");
        run("SELECT nebula.set_node_state(node_id, 'draining') FROM nebula.node WHERE name = 'a'");
        assert_error(&create(&project, 7, ""), "53000", &["1 draining", "1 full"]);
    }

    #[pg_test]
    fn pools_of_peers_lie_outside_of_everything_and_serve_no_device() {
        let project = project("10.77.0.0/16");
        run("SELECT nebula.register_node('a', 'a:1', cidr => '10.78.0.0/16')");
        assert_eq!(text(&create(&project, 1, "")), "a 10.78.0.2");
        let pools = format!(
            "SELECT string_agg(cidr::text || ' ' || host(gateway), ' ' ORDER BY pool_id)
                               FROM nebula.pool WHERE purpose = 'peer' AND project_id = '{project}'"
        );
        let v6 = text("SELECT cidr FROM nebula.pool WHERE purpose = 'peer' AND family(cidr) = 6");
        assert!(v6.starts_with("fd") && v6.ends_with("/64"), "{v6}");
        assert!(text(&pools).starts_with("10.78.0.0/16 10.78.0.1 "), "{}", text(&pools));
        // Devices keep to their own pool.
        assert_eq!(
            text(&format!("SELECT nebula.allocate_ip('{project}', gen_random_uuid())")),
            "10.77.0.1/32"
        );
        assert_eq!(
            text(&format!("SELECT count(*) FROM nebula.allocate_dual('{project}', gen_random_uuid())")),
            "1"
        );
        let take = format!(
            "SELECT nebula.allocate_ip('{project}', gen_random_uuid(), pool => 'peers-10.78.0.0-16')"
        );
        assert_error(&take, "55000", &["for peers"]);
        let take =
            format!("SELECT nebula.allocate_ip('{project}', gen_random_uuid(), address => '10.78.0.9')");
        assert_error(&take, "22023", &["10.78.0.9"]);
        assert_error(
            &format!("SELECT nebula.exclude_addresses('{project}', 'x', '10.78.0.9')"),
            "22023",
            &["in no pool"],
        );
        register(&project, 1, "host");
        run(&format!("SELECT nebula.allocate_ip('{project}', device_id) FROM nebula.device"));
        assert_error(
            &format!("SELECT nebula.add_route('{project}', '10.0.0.0/8', device_id) FROM nebula.device"),
            "22023",
            &["10.0.0.0/8"],
        );
        assert_error("UPDATE nebula.project SET cidr = '10.76.0.0/14'", "22023", &["10.78.0.0/16"]);
        assert_invariants();
    }

    #[pg_test]
    fn a_project_has_pools_for_many_large_nodes_and_a_full_interface_gets_another_pool() {
        let project = project("10.0.0.0/24");
        run("SELECT nebula.register_node('n' || n, 'h:1', max_peers => 60000) FROM generate_series(1, 40) n");
        run(&format!(
            "SELECT nebula.create_peer('{project}', NULL, encode(sha256(n::text::bytea), 'base64'))
               FROM generate_series(1, 40) n"
        ));
        let pools = "SELECT count(*) || ' ' || min(masklen(cidr)) FROM nebula.pool
                      WHERE purpose = 'peer' AND family(cidr) = 4";
        assert_eq!(text(pools), "40 20");
        run("UPDATE nebula.pool SET enabled = false WHERE purpose = 'peer'");
        assert!(text(&create(&project, 1, ", strategy => 'n1'")).starts_with("n1 10."));
        assert_eq!(text(pools), "41 20");
    }

    #[pg_test]
    fn a_node_with_peers_of_a_project_is_not_tied_to_another() {
        let first = project("10.0.0.0/24");
        run("SELECT nebula.register_node('a', 'a:1')");
        run(&create(&first, 1, ""));
        let other = text("SELECT nebula.create_project('other')");
        run(&format!("SELECT nebula.populate_pool('{other}', '10.9.0.0/24')"));
        register(&other, 1, "host");
        assert_error(
            "SELECT nebula.tie_node(node_id, d.device_id) FROM nebula.node, nebula.device d",
            "55000",
            &["peers of project \"proof\""],
        );
    }
}
