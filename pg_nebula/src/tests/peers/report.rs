use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::peers::{applied, create, node, state, sync};
    use crate::tests::{assert_error, device, one, project, run, text};
    use pgrx::prelude::*;

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
        run("SELECT nebula.create_account('anna', '$argon2id$x', 'admin')");
        let told = "SELECT concat_ws(' ', p.state, p.reason) FROM nebula.account a,
                      nebula.peers_applied(a.account_id, ARRAY(SELECT peer_id FROM nebula.peer)) p";
        assert_eq!(text(told), "refused no room");
        run("UPDATE nebula.placement SET deadline = now() + interval '1 min'");
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
            format!("SELECT nebula.sync_node(NULL, '{}', now() + interval '{time}', '{{}}')", device(1))
        };
        run(&at("1 s"));
        assert_error(&at("1 s"), "55000", &["older"]);
        assert_error(&at("0 s"), "55000", &["older"]);
        assert_error(&at("1 hour"), "28000", &["made at"]);
        run(&at("2 s"));
        let nobody = "SELECT nebula.sync_node(NULL, gen_random_uuid(), now(), '{}')";
        assert_error(nobody, "P0002", &["no node"]);
        let epoch = "'epoch', (nebula.sync_node(NULL, device_id, now() + interval '3 s', '{}') ->> 'epoch')";
        let peers = format!(
            "SELECT jsonb_array_length(nebula.node_state(NULL, device_id, jsonb_build_object({epoch}, 'interfaces',
               jsonb_build_array(jsonb_build_object('interfaceId', '{interface}', 'generation', i.generation))))
               #> '{{interfaces,0,peers}}')
               FROM nebula.device, nebula.node_interface i"
        );
        assert_eq!(text(&peers), "0");
        run(&create(&project, 1, ""));
        assert_eq!(text(&peers.replace("3 s", "4 s").replace("i.generation", "i.generation - 1")), "1");
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
            "SELECT nebula.sync_node(NULL, '{}', clock_timestamp(), jsonb_build_object(
               'epoch', gen_random_uuid(), 'interfaces', jsonb_build_array(
               jsonb_build_object('interfaceId', '{interface}', 'generation', 1000))))",
            device(1)
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
    fn a_peer_expires_once() {
        let project = project("10.0.0.0/24");
        node(&project);
        run(&create(&project, 1, ", expires_at => now() - interval '1 s'"));
        run(&create(&project, 2, ", expires_at => now() + interval '1 hour'"));
        let due = "SELECT cardinality(nebula.expired_peers())";
        assert_eq!(text(due), "1", "its node was told when it was created, the record is missing");
        run("SELECT nebula.maintain_peers()");
        assert_eq!(text(due), "0");
        run("UPDATE nebula.peer SET expires_at = now() - interval '1 min' WHERE name = 'peer 2'");
        run("SELECT nebula.maintain_peers(); SELECT nebula.maintain_peers()");
        assert_eq!(text("SELECT string_agg(wanted, ' ') FROM nebula.placement"), "blocked blocked");
        assert_eq!(text("SELECT count(*) FROM nebula.event WHERE action = 'expire'"), "1");
        // A peer whose expiry was put off expires once more.
        run("SELECT nebula.update_peer(peer_id, expires_at => now() + interval '1 hour') FROM nebula.peer");
        run("UPDATE nebula.peer SET expires_at = now() - interval '2 min'");
        run("SELECT nebula.maintain_peers()");
        assert_eq!(text("SELECT string_agg(wanted, ' ') FROM nebula.placement"), "blocked blocked");
        assert_eq!(text("SELECT count(*) FROM nebula.event WHERE action = 'expire'"), "3");
    }

    #[pg_test]
    fn a_deadline_that_withdraws_nothing_is_dealt_with_once() {
        let project = project("10.0.0.0/24");
        let interface = node(&project);
        run(&create(&project, 1, ""));
        applied(&interface);
        run(&create(&project, 2, ""));
        run("UPDATE nebula.placement SET deadline = now() - interval '1 min'");
        // A change of a peer that works, which its node has not applied.
        run("SELECT nebula.update_peer(peer_id, reach => 'all') FROM nebula.peer WHERE name = 'peer 1'");
        run("SELECT nebula.maintain_peers()");
        assert_eq!(text("SELECT cardinality(nebula.late_peers())"), "0");
        assert_eq!(state("peer 1"), "pending");
        assert_eq!(state("peer 2"), "leaving");
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
}
