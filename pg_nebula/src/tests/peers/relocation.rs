use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::peers::{applied, create, node, state, sync};
    use crate::tests::{assert_error, assert_invariants, device, project, register, run, text};
    use pgrx::prelude::*;

    #[pg_test]
    fn a_peer_that_moves_keeps_its_address_and_leaves_when_it_has_been_seen() {
        let project = project("10.0.0.0/24");
        let interface = node(&project);
        run(&create(&project, 1, ""));
        applied(&interface);
        run("SELECT nebula.register_node('rome', 'rome.example:51820')");
        register(&project, 2, "host");
        run(&format!(
            "SELECT nebula.allocate_ip('{project}', '{0}');
             SELECT nebula.tie_node(node_id, '{0}') FROM nebula.node WHERE name = 'rome'",
            device(2)
        ));
        let move_it = "SELECT concat_ws(' ', n.name, host(m.ip)) FROM nebula.peer e
                        CROSS JOIN LATERAL nebula.move_peer(e.peer_id) m JOIN nebula.node n USING (node_id)";
        assert_eq!(text(move_it), "rome 10.77.0.2");
        assert_error(move_it, "55000", &["moving already"]);
        let routes = "SELECT string_agg(d.name || ' ' || r.network, ', ' ORDER BY r.network, d.name)
                        FROM nebula.project p CROSS JOIN LATERAL nebula.peer_routes(p.project_id) r
                        JOIN nebula.device d USING (device_id) WHERE family(r.network) = 4";
        assert_eq!(text(routes), "d1 10.77.0.0/24, d2 10.77.1.0/24");
        let target = text("SELECT interface_id FROM nebula.placement WHERE role = 'target'");
        let report = |seen: &str| {
            run(&format!(
                "SELECT nebula.sync_node(NULL, '{}', clock_timestamp(), jsonb_build_object('epoch', nebula.node_epoch(),
                   'interfaces', jsonb_build_array(jsonb_build_object('interfaceId', '{target}', 'generation',
                   (SELECT generation FROM nebula.node_interface WHERE interface_id = '{target}'), 'seen',
                   (SELECT jsonb_agg(jsonb_build_object('peerId', peer_id, 'handshakeAt', {seen},
                                                        'receivedBytes', 5)) FROM nebula.peer)))))",
                device(2)
            ));
        };
        report("NULL::timestamptz");
        assert_eq!(state("peer 1"), "moving");
        report("now()");
        assert_eq!(text("SELECT node || ' ' || state FROM nebula.peer_status"), "rome active");
        assert_eq!(text(routes), "d1 10.77.0.0/24, d2 10.77.0.2/32, d2 10.77.1.0/24");
        assert_eq!(text("SELECT string_agg(active_peers::text, ' ') FROM nebula.node"), "1 1");
        applied(&interface);
        assert_eq!(text("SELECT sum(active_peers) FROM nebula.node"), "1");
        assert_eq!(text("SELECT received_bytes FROM nebula.peer_status"), "5");
        // Both devices carry all pools in their certificates, in the family of their addresses.
        let behind =
            "SELECT string_agg(nebula.device_unsafe_networks(device_id)::text, ' ') FROM nebula.device";
        assert_eq!(text(behind), "{10.77.0.0/24,10.77.1.0/24} {10.77.0.0/24,10.77.1.0/24}");
        assert_eq!(text("SELECT count(*) FROM nebula.check_pool()"), "0");
    }

    #[pg_test]
    fn a_move_that_is_not_applied_in_time_never_removes_the_peer() {
        let project = project("10.0.0.0/24");
        node(&project);
        run("SELECT nebula.register_node(n, n || '.example:51820') FROM unnest('{a,b}'::text[]) n");
        // No agent confirms a move between nodes without one, which is done at once.
        run(&create(&project, 1, ", strategy => 'node:a'"));
        // The move of a peer that its node has not applied yet ends where no agent confirms that it is gone.
        run(&create(&project, 2, ", strategy => 'node:berlin'"));
        run("SELECT nebula.move_peers_by(ARRAY(SELECT peer_id FROM nebula.peer ORDER BY name), 'node:b',
               now() - interval '1 min', 'anna', NULL)");
        let moves = "SELECT string_agg(concat_ws(' ', name, node, moving_to), ', ' ORDER BY name)
                       FROM nebula.peer_status";
        assert_eq!(text(moves), "peer 1 b, peer 2 berlin b");
        run("SELECT nebula.withdraw_late_peers()");
        assert_eq!(text(moves), "peer 1 b, peer 2 berlin");
        assert_eq!(
            text("SELECT string_agg(active_peers::text, ' ' ORDER BY name) FROM nebula.node"),
            "0 1 1"
        );
        assert_eq!(text("SELECT count(*) FROM nebula.check_pool()"), "0");
        run("SELECT nebula.set_node_state(node_id, 'disabled') FROM nebula.node WHERE name <> 'b'");
        assert_error(
            "SELECT nebula.move_peer(peer_id) FROM nebula.peer WHERE name = 'peer 1'",
            "53000",
            &["2 disabled", "1 with the peer already"],
        );
    }

    #[pg_test]
    fn a_move_can_be_given_up() {
        let project = project("10.0.0.0/24");
        let interface = node(&project);
        run(&create(&project, 1, ""));
        applied(&interface);
        run("SELECT nebula.register_node('rome', 'rome.example:51820')");
        assert_error("SELECT nebula.cancel_move(peer_id) FROM nebula.peer", "55000", &["not moving"]);
        run("SELECT nebula.move_peer(peer_id, 'rome') FROM nebula.peer");
        assert_error(
            "SELECT nebula.move_peer(peer_id, 'berlin') FROM nebula.peer",
            "55000",
            &["moving already"],
        );
        run("SELECT nebula.cancel_move(peer_id) FROM nebula.peer");
        assert_eq!(text("SELECT node || ' ' || state FROM nebula.peer_status"), "berlin active");
        assert_error(
            "SELECT nebula.move_peer(peer_id, 'berlin') FROM nebula.peer",
            "53000",
            &["has the peer already"],
        );
        assert_eq!(
            text("SELECT sum(active_peers) FROM nebula.node"),
            "1",
            "no agent has to confirm it for rome"
        );
        run("SELECT nebula.move_peer(peer_id, 'rome') FROM nebula.peer");
        // A node that is gone for good gives up what it has.
        assert_error(
            "SELECT nebula.remove_node(node_id) FROM nebula.node WHERE name = 'rome'",
            "55000",
            &["1 peers"],
        );
        run("SELECT nebula.remove_node(node_id, true) FROM nebula.node WHERE name = 'rome'");
        assert_eq!(text("SELECT sum(active_peers) FROM nebula.node"), "1");
        run("SELECT nebula.remove_node(node_id, true) FROM nebula.node WHERE name = 'berlin'");
        assert_eq!(text("SELECT count(*) FROM nebula.allocation"), "1", "that of the device");
        assert_eq!(text("SELECT count(*) FROM nebula.peer"), "0");
        assert_eq!(text("SELECT count(*) FROM nebula.pool WHERE purpose = 'peer'"), "0");
    }

    #[pg_test]
    fn peers_of_nodes_without_agents_move_and_go_at_once() {
        let project = project("10.0.0.0/24");
        run("SELECT nebula.register_node('a', 'a:1')");
        run(&create(&project, 1, ""));
        run("SELECT nebula.register_node('b', 'b:1')");
        assert_eq!(
            text("SELECT count(*) FROM nebula.peer e CROSS JOIN LATERAL nebula.move_peer(e.peer_id)"),
            "1"
        );
        assert_eq!(
            text("SELECT string_agg(name || active_peers, ' ' ORDER BY name) FROM nebula.node"),
            "a0 b1"
        );
        assert_eq!(text("SELECT node || coalesce(moving_to, '') FROM nebula.peer_status"), "b");
        run("SELECT nebula.remove_peer(peer_id) FROM nebula.peer");
        assert_eq!(
            text("SELECT string_agg(name || active_peers, ' ' ORDER BY name) FROM nebula.node"),
            "a0 b0"
        );
        assert_eq!(text("SELECT count(*) FROM nebula.allocation"), "0");
        assert_eq!(text("SELECT count(*) FROM nebula.peer"), "0");
        assert_invariants();
    }

    #[pg_test]
    fn a_seat_on_a_node_without_an_agent_is_free_when_the_peer_has_been_seen_elsewhere() {
        let project = project("10.0.0.0/24");
        let interface = node(&project);
        run("SELECT nebula.register_node('old', 'old:1')");
        assert_eq!(text(&create(&project, 1, ", strategy => 'node:old'")), "old 10.77.0.2");
        run("SELECT nebula.move_peer(peer_id, 'node:berlin') FROM nebula.peer");
        applied(&interface);
        assert_eq!(text("SELECT node || ' ' || moving_to FROM nebula.peer_status"), "old berlin");
        sync(
            &interface,
            "jsonb_build_object('generation', (SELECT generation FROM nebula.node_interface
               WHERE public_key IS NOT NULL), 'seen', (SELECT jsonb_agg(jsonb_build_object(
               'peerId', peer_id, 'handshakeAt', now())) FROM nebula.peer))",
        );
        assert_eq!(text("SELECT node || ' ' || state FROM nebula.peer_status"), "berlin active");
        assert_eq!(
            text("SELECT string_agg(name || active_peers, ' ' ORDER BY name) FROM nebula.node"),
            "berlin1 old0"
        );
        assert_eq!(text("SELECT count(*) FROM nebula.placement"), "1");
        assert_invariants();
    }

    #[pg_test]
    fn a_seat_is_free_when_the_device_is_untied_before_its_agent_was_told_of_the_peer() {
        let project = project("10.0.0.0/24");
        node(&project);
        run(&create(&project, 1, ""));
        run("SELECT nebula.remove_peer(peer_id) FROM nebula.peer");
        assert_eq!(text("SELECT active_peers FROM nebula.node"), "1", "its agent may be about to run it");
        run("SELECT nebula.tie_node(node_id, NULL) FROM nebula.node");
        assert_eq!(text("SELECT active_peers FROM nebula.node"), "0");
        assert_eq!(text("SELECT count(*) FROM nebula.peer"), "0");
        assert_eq!(text("SELECT count(*) FROM nebula.allocation"), "1", "that of the device");
    }

    #[pg_test]
    fn maintenance_frees_what_no_agent_will_free() {
        let project = project("10.0.0.0/24");
        node(&project);
        run(&create(&project, 1, ""));
        run(&create(&project, 2, ""));
        run("SELECT nebula.remove_peer(peer_id) FROM nebula.peer WHERE name = 'peer 1'");
        run("UPDATE nebula.node SET device_id = NULL");
        run("UPDATE nebula.peer SET removed_at = now() WHERE name = 'peer 2'; DELETE FROM nebula.placement p
              USING nebula.peer e WHERE e.peer_id = p.peer_id AND e.name = 'peer 2';
             UPDATE nebula.node SET active_peers = 1");
        run("SELECT nebula.maintain_peers()");
        assert_eq!(text("SELECT active_peers FROM nebula.node"), "0");
        assert_eq!(text("SELECT count(*) FROM nebula.peer"), "0");
        assert_invariants();
    }

    #[pg_test]
    fn a_peer_that_no_node_has_is_gone_as_soon_as_it_is_removed() {
        let project = project("10.0.0.0/24");
        run("SELECT nebula.register_node('a', 'a:1')");
        run(&create(&project, 1, ""));
        run("DELETE FROM nebula.placement; UPDATE nebula.node SET active_peers = 0");
        run("SELECT nebula.remove_peer(peer_id) FROM nebula.peer");
        assert_eq!(text("SELECT count(*) FROM nebula.peer"), "0");
        assert_eq!(text("SELECT count(*) FROM nebula.allocation"), "0");
    }

    #[pg_test]
    fn an_interface_that_is_dropped_frees_its_own_seats_alone() {
        let project = project("10.0.0.0/24");
        run("SELECT nebula.register_node('a', 'a:1');
             SELECT nebula.add_interface(node_id, 'wg1', 51821) FROM nebula.node");
        for number in 1..=4 {
            run(&create(&project, number, ""));
        }
        run("SELECT nebula.drop_interface(interface_id, true) FROM nebula.node_interface WHERE name = 'wg1'");
        assert_eq!(text("SELECT active_peers FROM nebula.node"), "2");
        assert_eq!(text("SELECT count(*) FROM nebula.peer"), "2");
        assert_invariants();
    }
}
