use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use super::super::{assert_error, assert_invariants, attempt, one, project, register, run, text};
    use pgrx::prelude::*;

    /// SQL for a public key of WireGuard.
    fn key(number: u32) -> String {
        format!("encode(sha256('key {number}'), 'base64')")
    }

    /// Statement that creates a peer and shows its node and address.
    fn create(project: &str, number: u32, rest: &str) -> String {
        format!(
            "SELECT concat_ws(' ', coalesce(n.name, 'local'), host(p.ip))
               FROM nebula.create_peer('{project}', NULL, {}, name => 'peer {number}'{rest}) p
               LEFT JOIN nebula.node n USING (node_id)",
            key(number)
        )
    }

    /// A node whose agent is device 1, and the identifier of its interface.
    fn node(project: &str) -> String {
        register(project, 1, "host");
        run(&format!(
            "SELECT nebula.allocate_ip('{project}', device_id) FROM nebula.device;
             SELECT nebula.tie_node(nebula.register_node('berlin', 'berlin.example:51820'), device_id)
               FROM nebula.device"
        ));
        text("SELECT interface_id FROM nebula.node_interface")
    }

    /// The answer to a report of the agent of device 1 that names these values of its interface.
    fn sync(interface: &str, values: &str) -> String {
        text(&format!(
            "SELECT nebula.sync_node('{}', clock_timestamp(), jsonb_build_object(
               'epoch', nebula.node_epoch(), 'interfaces', jsonb_build_array(
               jsonb_build_object('interfaceId', '{interface}', 'publicKey', {}) || {values}))) #>> '{{}}'",
            super::super::device(1),
            key(1000),
        ))
    }

    /// The interface runs everything that is wanted.
    fn applied(interface: &str) {
        sync(
            interface,
            "jsonb_build_object('generation', (SELECT max(generation) FROM nebula.node_interface))",
        );
    }

    fn state(name: &str) -> String {
        text(&format!("SELECT state FROM nebula.peer_status WHERE name = '{name}'"))
    }

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
    fn an_identifier_is_a_device_or_a_peer() {
        let project = project("10.0.0.0/24");
        register(&project, 1, "host");
        run(&format!("SELECT nebula.allocate_ip('{project}', device_id) FROM nebula.device"));
        let create = |id: &str, number: u32| {
            format!("SELECT peer_id FROM nebula.create_peer('{project}', '{id}', {})", key(number))
        };
        assert_error(&create(&super::super::device(1), 1), "23505", &["device"]);
        assert_eq!(text(&create(&super::super::device(2), 2)), super::super::device(2));
        assert_error(
            &format!("SELECT nebula.allocate_ip('{project}', '{}')", super::super::device(2)),
            "23505",
            &["is a peer"],
        );
        for call in ["release_ip('{}')", "release_nebula_ip_by_device('{}')", "renew_lease('{}', '1 day')"] {
            let call = call.replace("{}", &super::super::device(2));
            assert_error(&format!("SELECT nebula.{call}"), "55000", &["peer"]);
        }
        // The same call again answers the same peer; another key does not.
        assert_eq!(text(&create(&super::super::device(2), 2)), super::super::device(2));
        assert_eq!(text("SELECT count(*) FROM nebula.allocation"), "3");
        assert_error(&create(&super::super::device(2), 3), "23505", &["another key"]);
        assert_error(&create(&super::super::device(3), 2), "23505", &["has this public key"]);
    }

    #[pg_test]
    fn malformed_peers_are_refused_and_take_no_seat() {
        let project = project("10.0.0.0/24");
        run("SELECT nebula.register_node('a', 'a:1')");
        run(&create(&project, 1, ""));
        for name in [
            "x\nPostUp = id",
            "x; id",
            "$(id)",
            "`id`",
            "x|id",
            "x''\"",
            "x\r",
            "\u{1b}[0m",
            "",
            "../x",
            "x#y",
        ] {
            let sql = format!("SELECT nebula.create_peer('{project}', NULL, {}, name => '{name}')", key(2));
            assert_error(&sql, "22023", &["name"]);
        }
        assert_error(&create(&project, 2, ", reach => 'all of it'"), "22023", &["reach"]);
        assert_error(&create(&project, 2, ", reach => 'listed'"), "22023", &["listed"]);
        assert_error(&create(&project, 2, ", networks => '{10.1.0.0/16}'"), "22023", &["overlay"]);
        assert_error(&create(&project, 2, ", groups => '{a;b}'"), "22023", &["group"]);
        assert_error(&create(&project, 2, ", address => '10.1.2.3'"), "22023", &["10.1.2.3"]);
        assert_error(&create(&project, 2, ", address => '10.77.0.1'"), "22023", &["10.77.0.1"]);
        assert_error(&create(&project, 2, ", address => '10.77.0.2'"), "23505", &["10.77.0.2"]);
        assert_error(&create(&project, 2, ", strategy => ''"), "22023", &["strategy"]);
        assert_error(&format!("SELECT nebula.create_peer('{project}', NULL, 'a2V5')"), "22023", &["a2V5"]);
        assert_error(&create(&project, 1, ""), "23505", &["public key"]);
        assert_eq!(text("SELECT active_peers FROM nebula.node"), "1");
        assert_eq!(text(&create(&project, 2, ", address => '10.77.0.77'")), "a 10.77.0.77");
        assert_eq!(text("SELECT count(*) FROM nebula.check_pool()"), "0");
    }

    #[pg_test]
    fn file_names_are_short_and_unique() {
        let project = project("10.0.0.0/24");
        for (number, name) in
            (0..).zip(["Anna s Phone Number One", "Anna.s phone Number two", "9", "anna-s-phone-3"])
        {
            run(&format!("SELECT nebula.create_peer('{project}', NULL, {}, name => '{name}')", key(number)));
        }
        assert_eq!(
            text("SELECT string_agg(file_name, ' ' ORDER BY created_at, name) FROM nebula.peer"),
            "9 anna-s-phone-nu anna-s-phone-2 anna-s-phone-3"
        );
    }

    #[pg_test]
    fn a_seat_and_an_address_are_free_when_the_node_has_confirmed_that_the_peer_is_gone() {
        let project = project("10.0.0.0/24");
        let interface = node(&project);
        run(&create(&project, 1, ""));
        assert_eq!(state("peer 1"), "pending");
        applied(&interface);
        assert_eq!(state("peer 1"), "active");
        run("SELECT nebula.remove_peer(peer_id) FROM nebula.peer");
        assert_eq!(state("peer 1"), "leaving");
        assert_error("SELECT nebula.remove_peer(peer_id) FROM nebula.peer", "55000", &["being removed"]);
        // Its name is free at once, its key and its address are not.
        assert_error(&create(&project, 1, ""), "55000", &["being removed"]);
        assert_error(&create(&project, 2, ", address => '10.77.0.2'"), "23505", &["10.77.0.2"]);
        assert_eq!(text("SELECT active_peers FROM nebula.node"), "1");
        // A report from before does not count as confirmation.
        sync(
            &interface,
            "jsonb_build_object('generation', (SELECT acknowledged_generation FROM nebula.node_interface))",
        );
        assert_eq!(text("SELECT active_peers FROM nebula.node"), "1");
        applied(&interface);
        assert_eq!(text("SELECT active_peers FROM nebula.node"), "0");
        assert_eq!(text("SELECT count(*) FROM nebula.peer"), "0");
        assert_eq!(text("SELECT count(*) FROM nebula.allocation_log"), "2");
        assert_eq!(text(&create(&project, 1, "")), "berlin 10.77.0.2");
        assert_eq!(text("SELECT count(*) FROM nebula.check_pool()"), "0");
    }

    #[pg_test]
    fn what_a_node_refuses_is_shown_and_withdrawn_on_request() {
        let project = project("10.0.0.0/24");
        let interface = node(&project);
        run(&create(&project, 1, ""));
        let failed = "jsonb_build_object('generation', (SELECT max(generation) FROM nebula.node_interface), 'failed',
                      (SELECT jsonb_agg(jsonb_build_object('peerId', peer_id, 'reason', E'no\\nroom')) FROM nebula.peer))";
        sync(&interface, failed);
        assert_eq!(state("peer 1"), "refused");
        let told = "SELECT concat_ws(' ', state, reason) FROM nebula.peers_applied(ARRAY(SELECT peer_id FROM nebula.peer))";
        assert_eq!(text(told), "refused no room");
        assert_eq!(
            text("SELECT count(*) FROM nebula.withdraw_peers(ARRAY(SELECT peer_id FROM nebula.peer), 'no')"),
            "1"
        );
        assert_eq!(
            text(
                "SELECT active_peers || ' ' || (SELECT count(*) FROM nebula.allocation
                                                     WHERE device_id IN (SELECT peer_id FROM nebula.peer))
                           FROM nebula.node"
            ),
            "1 2"
        );
        applied(&interface);
        assert_eq!(text("SELECT active_peers FROM nebula.node"), "0");
        // A peer that was applied meanwhile is not withdrawn.
        run(&create(&project, 2, ""));
        applied(&interface);
        assert_eq!(
            text("SELECT count(*) FROM nebula.withdraw_peers(ARRAY(SELECT peer_id FROM nebula.peer), 'no')"),
            "0"
        );
        assert_eq!(state("peer 2"), "active");
    }

    #[pg_test]
    fn reports_are_accepted_once_and_in_order() {
        let project = project("10.0.0.0/24");
        let interface = node(&project);
        let at = |time: &str| {
            format!(
                "SELECT nebula.sync_node('{}', now() + interval '{time}', '{{}}')",
                super::super::device(1)
            )
        };
        run(&at("1 s"));
        assert_error(&at("1 s"), "55000", &["older"]);
        assert_error(&at("0 s"), "55000", &["older"]);
        assert_error(&at("1 hour"), "28000", &["made at"]);
        run(&at("2 s"));
        let nobody = "SELECT nebula.sync_node(gen_random_uuid(), now(), '{}')";
        assert_error(nobody, "P0002", &["no node"]);
        let epoch = "'epoch', (nebula.sync_node(device_id, now() + interval '3 s', '{}') ->> 'epoch')";
        let due = format!(
            "SELECT nebula.node_due(device_id, jsonb_build_object({epoch}, 'interfaces', jsonb_build_array(
               jsonb_build_object('interfaceId', '{interface}', 'generation', i.generation))))
               FROM nebula.device, nebula.node_interface i"
        );
        assert_eq!(text(&due), "false");
        run(&create(&project, 1, ""));
        assert_eq!(text(&due.replace("3 s", "4 s").replace("i.generation", "i.generation - 1")), "true");
    }

    #[pg_test]
    fn a_node_is_told_what_changed_since_its_generation() {
        let project = project("10.0.0.0/24");
        let interface = node(&project);
        run(&create(&project, 1, ", preshared => true"));
        let all = sync(&interface, "'{\"generation\": 0}'");
        let peers = |answer: &str| -> i64 {
            one(&format!("SELECT jsonb_array_length('{answer}'::jsonb #> '{{interfaces,0,peers}}')::bigint"))
        };
        assert_eq!(peers(&all), 1);
        assert!(all.contains("\"presharedKey\"") && all.contains("\"10.77.0.2/32\""), "{all}");
        assert!(all.contains("\"10.77.0.1/24\""), "the address of the interface: {all}");
        applied(&interface);
        run(&create(&project, 2, ""));
        let acknowledged =
            "jsonb_build_object('generation', (SELECT acknowledged_generation FROM nebula.node_interface))";
        let changed = sync(&interface, acknowledged);
        assert_eq!(peers(&changed), 1, "only the new one: {changed}");
        assert_eq!(peers(&sync(&interface, "'{\"generation\": 0}'")), 2, "all: an older generation");
        let foreign = text(&format!(
            "SELECT nebula.sync_node('{}', clock_timestamp(), jsonb_build_object(
               'epoch', gen_random_uuid(), 'interfaces', jsonb_build_array(
               jsonb_build_object('interfaceId', '{interface}', 'generation', 1000))))",
            super::super::device(1)
        ));
        assert_eq!(peers(&foreign), 2, "all: another epoch");
        assert_eq!(state("peer 2"), "pending", "generations of another epoch confirm nothing");
    }

    #[pg_test]
    fn a_disabled_or_expired_peer_keeps_its_seat_and_address() {
        let project = project("10.0.0.0/24");
        let interface = node(&project);
        run(&create(&project, 1, ""));
        applied(&interface);
        run("SELECT nebula.update_peer(peer_id, disabled => true) FROM nebula.peer");
        assert_eq!(state("peer 1"), "pending", "disabled only when the node has confirmed it");
        applied(&interface);
        assert_eq!(state("peer 1"), "disabled");
        assert_eq!(text("SELECT active_peers FROM nebula.node"), "1");
        run(
            "SELECT nebula.update_peer(peer_id, disabled => false, expires_at => now() + interval '1 hour') FROM nebula.peer",
        );
        applied(&interface);
        assert_eq!(state("peer 1"), "active");
        run("UPDATE nebula.peer SET expires_at = now() - interval '1 s'; SELECT nebula.maintain_peers()");
        applied(&interface);
        assert_eq!(state("peer 1"), "disabled");
        assert_error(
            "SELECT nebula.update_peer(peer_id, disabled => false) FROM nebula.peer",
            "55000",
            &["expired"],
        );
        run("SELECT nebula.update_peer(peer_id, expires_at => 'infinity') FROM nebula.peer");
        applied(&interface);
        assert_eq!(state("peer 1"), "active");
        assert_eq!(text("SELECT count(*) FROM nebula.check_pool()"), "0");
    }

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
            super::super::device(2)
        ));
        let move_it = "SELECT concat_ws(' ', n.name, host(m.ip)) FROM nebula.peer e
                        CROSS JOIN LATERAL nebula.move_peer(e.peer_id) m JOIN nebula.node n USING (node_id)";
        assert_eq!(text(move_it), "rome 10.77.0.2");
        assert_error(move_it, "53000", &["without the capability"]);
        let routes = "SELECT string_agg(d.name || ' ' || r.network, ', ' ORDER BY r.network, d.name)
                        FROM nebula.project p CROSS JOIN LATERAL nebula.peer_routes(p.project_id) r
                        JOIN nebula.device d USING (device_id) WHERE family(r.network) = 4";
        assert_eq!(text(routes), "d1 10.77.0.0/24, d2 10.77.1.0/24");
        let target = text("SELECT interface_id FROM nebula.placement WHERE role = 'target'");
        let report = |seen: &str| {
            run(&format!(
                "SELECT nebula.sync_node('{}', clock_timestamp(), jsonb_build_object('epoch', nebula.node_epoch(),
                   'interfaces', jsonb_build_array(jsonb_build_object('interfaceId', '{target}', 'generation',
                   (SELECT generation FROM nebula.node_interface WHERE interface_id = '{target}'), 'seen',
                   (SELECT jsonb_agg(jsonb_build_object('peerId', peer_id, 'handshakeAt', {seen},
                                                        'receivedBytes', 5)) FROM nebula.peer)))))",
                super::super::device(2)
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
            "53000",
            &["has the peer already"],
        );
        run("SELECT nebula.cancel_move(peer_id) FROM nebula.peer");
        assert_eq!(text("SELECT node || ' ' || state FROM nebula.peer_status"), "berlin active");
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
    fn a_batch_has_a_result_for_each_item() {
        let project = project("10.0.0.0/24");
        run(
            "SELECT nebula.register_node('a', 'a:1', max_peers => 3), nebula.register_node('b', 'b:1', max_peers => 2)",
        );
        let items = "(SELECT array_agg(jsonb_build_object('name', CASE n WHEN 2 THEN 'bad;name' ELSE 'p' || n END,
                       'publicKey', encode(sha256(n::text::bytea), 'base64')) ORDER BY n) FROM generate_series(1, 7) n)";
        let results = text(&format!(
            "SELECT string_agg(concat_ws(' ', r.n, n.name, left(r.error, 20)), ', ' ORDER BY r.n)
               FROM nebula.create_peers('{project}', {items}) r LEFT JOIN nebula.node n USING (node_id)"
        ));
        assert_eq!(results, "0 a, 1 \"bad;name\" is not a , 2 a, 3 a, 4 b, 5 b, 6 no node has room for");
        assert_eq!(text("SELECT string_agg(active_peers::text, ' ' ORDER BY name) FROM nebula.node"), "3 2");
        let removed = text("SELECT string_agg(coalesce(error, 'ok'), ' ') FROM nebula.remove_peers(
                              ARRAY(SELECT peer_id FROM nebula.peer) || '00000000-0000-0000-0000-000000000000'::uuid)");
        assert!(removed.starts_with("ok ok ok ok ok there is no peer"), "{removed}");
        let [sqlstate, ..] = attempt(&format!("SELECT nebula.create_peers('{project}', {items})"));
        assert_eq!(sqlstate, "00000", "nodes without agents have no peers to let go");
        assert_eq!(text("SELECT count(*) FROM nebula.check_pool()"), "0");
    }

    #[pg_test]
    fn the_conf_has_what_the_peer_needs_and_is_outdated_when_that_changes() {
        let project = project("10.0.0.0/24");
        let interface = node(&project);
        run(&create(&project, 1, ", preshared => true"));
        let conf = "SELECT nebula.peer_conf(peer_id) FROM nebula.peer";
        assert_error(conf, "55000", &["has not yet reported the key"]);
        applied(&interface);
        let told = text(conf);
        for line in [
            "# peer 1\n[Interface]\nPrivateKey = <private key>\nAddress = 10.77.0.2/32, fd",
            "\nMTU = 1280\n\n[Peer]\nPublicKey = ",
            "\nPresharedKey = ",
            "\nAllowedIPs = 10.0.0.0/24, 10.77.0.0/24, fd",
            "\nEndpoint = berlin.example:51820\nPersistentKeepalive = 25\n",
        ] {
            assert!(told.contains(line), "no \"{line}\" in\n{told}");
        }
        let outdated = || text("SELECT config_outdated FROM nebula.peer_status");
        assert_eq!(outdated(), "false");
        run(
            "SELECT nebula.add_interface(node_id, 'wg0', dns => '{9.9.9.9}', endpoint => '[2001:db8::1]:7') FROM nebula.node",
        );
        assert_eq!(outdated(), "true");
        let told = text(conf);
        assert!(
            told.contains("\nDNS = 9.9.9.9\n") && told.contains("Endpoint = [2001:db8::1]:7\n"),
            "{told}"
        );
        assert_eq!(outdated(), "false");
        run("SELECT nebula.update_peer(peer_id, reach => 'all') FROM nebula.peer");
        assert_eq!(outdated(), "true");
        assert!(text(conf).contains("AllowedIPs = 0.0.0.0/0, ::/0\n"));
    }

    #[pg_test]
    fn rules_between_groups_become_rules_between_addresses() {
        let project = project("10.0.0.0/24");
        let interface = node(&project);
        run(&create(&project, 1, ", groups => '{family}'"));
        run(&create(&project, 2, ""));
        let rules = |from: bool| {
            text(&format!(
                "SELECT string_agg(concat_ws(' ', r ->> 'protocol', r ->> 'portFirst', r ->> 'sources',
                                             r ->> 'destinations'), '; ')
                   FROM jsonb_array_elements(nebula.forward_rules('{project}', '{interface}')) r
                  WHERE (r ->> 'fromPeer')::boolean = {from}"
            ))
        };
        assert_eq!(rules(true), "any [] []");
        assert_eq!(rules(false), "any [] []");
        run(&format!("UPDATE nebula.project SET inbound = 'closed';
             UPDATE nebula.device SET groups = '{{servers}}';
             SELECT nebula.add_rule('{project}', 'inbound', for_group => 'servers', protocol => 'tcp',
                                    port_first => 22, remote_groups => '{{family}}');
             SELECT nebula.add_rule('{project}', 'inbound', for_group => 'servers', remote_groups => '{{nobody}}');
             SELECT nebula.add_rule('{project}', 'inbound', for_group => 'family', protocol => 'udp',
                                    remote_groups => '{{servers}}')"));
        let v6 = text("SELECT nebula.peer_addresses(peer_id)::text[] FROM nebula.peer WHERE name = 'peer 1'");
        let v6 = v6.trim_matches(|c| "{}".contains(c)).split(',').nth(1).expect("an IPv6 address").to_owned();
        assert_eq!(rules(true), format!("icmp [] []; tcp 22 [\"10.77.0.2\", \"{v6}\"] [\"10.0.0.1\"]"));
        assert_eq!(rules(false), format!("icmp [] []; udp [\"10.0.0.1\"] [\"10.77.0.2\", \"{v6}\"]"));
        run("UPDATE nebula.project SET outbound = 'closed'");
        assert_eq!(rules(true), "null", "no outbound rule lets peers send");
        run(&format!("SELECT nebula.add_rule('{project}', 'outbound', for_group => 'family')"));
        assert_eq!(rules(true), format!("tcp 22 [\"10.77.0.2\", \"{v6}\"] [\"10.0.0.1\"]"));
    }

    #[pg_test]
    fn alarms_of_nodes_are_recorded_once_and_when_they_are_over() {
        run("SELECT nebula.register_node('a', 'a:1', max_peers => 2)");
        run("SELECT nebula.node_heartbeat(node_id, '{}') FROM nebula.node");
        let events = || {
            text("SELECT string_agg(action, ' ' ORDER BY event_id) FROM nebula.event WHERE subject = 'node'")
        };
        run("UPDATE nebula.node SET seen_at = now() - interval '2 min', active_peers = 2;
             SELECT nebula.maintain_peers(); SELECT nebula.maintain_peers()");
        assert_eq!(events(), "late full");
        run("UPDATE nebula.node SET seen_at = now() - interval '20 min'; SELECT nebula.maintain_peers()");
        assert_eq!(events(), "late full lost");
        run("UPDATE nebula.node SET seen_at = now(), active_peers = 1; SELECT nebula.maintain_peers()");
        assert_eq!(events(), "late full lost back room");
        assert_eq!(text("SELECT string_agg(state, ' ') FROM nebula.node_status"), "healthy");
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
