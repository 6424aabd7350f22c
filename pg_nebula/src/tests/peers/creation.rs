use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::peers::{applied, create, key, node};
    use crate::tests::{assert_error, attempt, device, project, register, run, text};
    use pgrx::prelude::*;

    #[pg_test]
    fn an_identifier_is_a_device_or_a_peer() {
        let project = project("10.0.0.0/24");
        register(&project, 1, "host");
        run(&format!("SELECT nebula.allocate_ip('{project}', device_id) FROM nebula.device"));
        let create = |id: &str, number: u32| {
            format!("SELECT peer_id FROM nebula.create_peer('{project}', '{id}', {})", key(number))
        };
        assert_error(&create(&device(1), 1), "23505", &["device"]);
        assert_eq!(text(&create(&device(2), 2)), device(2));
        assert_error(
            &format!("SELECT nebula.allocate_ip('{project}', '{}')", device(2)),
            "23505",
            &["is a peer"],
        );
        for call in ["release_ip('{}')", "release_nebula_ip_by_device('{}')", "renew_lease('{}', '1 day')"] {
            let call = call.replace("{}", &device(2));
            assert_error(&format!("SELECT nebula.{call}"), "55000", &["peer"]);
        }
        // The same call again answers the same peer; another key does not.
        assert_eq!(text(&create(&device(2), 2)), device(2));
        assert_eq!(text("SELECT count(*) FROM nebula.allocation"), "3");
        assert_error(&create(&device(2), 3), "23505", &["another key"]);
        assert_error(&create(&device(3), 2), "23505", &["has this public key"]);
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
}
