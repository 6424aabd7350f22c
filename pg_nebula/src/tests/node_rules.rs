use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use super::super::peers::create;
    use super::super::{assert_error, attempt, device, project, register, run, text};
    use pgrx::prelude::*;

    fn id(name: &str) -> String {
        text(&format!(
            "SELECT node_id FROM nebula.node WHERE name = '{name}' OR '{name}' = 'local' AND local"
        ))
    }

    #[pg_test]
    fn values_that_a_node_cannot_have_are_refused_in_words() {
        run("SELECT nebula.register_node('a', 'a:1')");
        let a = id("a");
        for (changes, words) in [
            ("max_peers => 0", "max_peers 0"),
            ("weight => -1", "weight -1"),
            ("max_peers => 10, soft_max_peers => 11", "soft_max_peers 11"),
            ("endpoint => '[::::::]:51820'", "is not host:port"),
            ("endpoint => '[1.2.3.4]:51820'", "is not host:port"),
            ("endpoint => '999.999.1.1:51820'", "no IPv4 address"),
            ("capabilities => '{{a},{b}}'", "capabilities"),
            ("capabilities => ARRAY(SELECT 'c' || n FROM generate_series(1, 65) n)", "65"),
            ("labels => (SELECT jsonb_object_agg('l' || n, 'x') FROM generate_series(1, 65) n)", "65"),
            ("labels => '{\"region\": 1}'", "labels"),
        ] {
            assert_error(&format!("SELECT nebula.update_node('{a}', {changes})"), "22023", &[words]);
        }
        for state in ["NULL", "'off'"] {
            assert_error(
                &format!("SELECT nebula.set_node_state('{a}', {state})"),
                "22023",
                &["desiredState"],
            );
        }
        let [_, message, _] = attempt("SELECT nebula.register_node(repeat('x', 100000), 'a:1')");
        assert!(message.len() < 200, "{} characters", message.len());
        for (interface, words) in [
            ("'wg1', endpoint => 'x y:1'", "endpoint"),
            ("'WG 1'", "WG 1"),
            // An agent takes no answer that names a link of Linux itself, so that nothing on its node would change.
            ("'lo'", "lo"),
            ("'all'", "all"),
            ("'default'", "default"),
            ("NULL", "null"),
            ("'wg1', mtu => 100", "mtu cannot be 100"),
            (
                "'wg1', dns => (SELECT array_agg(inet '9.9.9.9' + n) FROM generate_series(1, 9) n)",
                "9 resolvers",
            ),
        ] {
            assert_error(&format!("SELECT nebula.add_interface('{a}', {interface})"), "22023", &[words]);
        }
        assert_error(&format!("SELECT nebula.add_interface('{a}', 'wg1', 1)"), "23505", &["port 1"]);
    }

    #[pg_test]
    fn the_range_of_a_node_has_room_and_can_lie_outside_an_overlay() {
        let register = |cidr: &str| format!("SELECT nebula.register_node('a', 'a:1', cidr => '{cidr}')");
        assert_error(&register("10.99.3.0/32"), "22023", &["no room"]);
        run("SELECT nebula.create_project('one', '10.50.0.0/16')");
        assert_error(&register("10.50.3.0/24"), "22023", &["10.50.0.0/16"]);
        run("SELECT nebula.create_project('two', '10.60.0.0/16')");
        assert_eq!(attempt(&register("10.50.3.0/24"))[0], "00000", "project two can use it");
    }

    #[pg_test]
    fn the_node_that_is_this_server_keeps_its_name_project_and_state() {
        let lab = project("10.0.0.0/24");
        let name = format!("local-{lab}");
        assert_error(
            &format!("SELECT nebula.register_node('{name}', 'x:1')"),
            "22023",
            &["kept for this server"],
        );
        run("SELECT nebula.register_node('a', 'a:1')");
        let rename = format!("SELECT nebula.update_node('{}', name => '{name}')", id("a"));
        assert_error(&rename, "22023", &["kept for this server"]);
        assert!(text(&create(&lab, 1, ", strategy => 'local'")).starts_with("local"));
        let local = id("local");
        assert_error(
            &format!("SELECT nebula.register_node('{name}', 'x:1')"),
            "55000",
            &["this server itself"],
        );
        for value in ["name => 'x'", "weight => 2", "max_peers => 5", "soft_max_peers => 5"] {
            assert_error(
                &format!("SELECT nebula.update_node('{local}', {value})"),
                "55000",
                &["this server itself"],
            );
        }
        run(&format!("SELECT nebula.update_node('{local}', endpoint => 'here.example:1')"));
        run(&format!("SELECT nebula.set_node_state('{local}', 'disabled')"));
        assert_error(&create(&lab, 2, ", strategy => 'local'"), "53000", &["this server takes no new peers"]);
        run(&create(&lab, 3, ", strategy => 'a'"));
        let back = "SELECT nebula.move_peer(peer_id, 'local') FROM nebula.peer WHERE name = 'peer 3'";
        assert_error(back, "53000", &["this server takes no new peers"]);
        register(&lab, 1, "host");
        let other = text("SELECT nebula.create_project('other')");
        let foreign = text(&format!("SELECT nebula.set_local_device('{other}', NULL)"));
        let tie = format!("SELECT nebula.tie_node('{foreign}', '{}')", device(1));
        assert_error(&tie, "55000", &["another project"]);
        assert_eq!(text(&format!("SELECT nebula.set_local_device('{lab}', '{}')", device(1))), local);
    }

    #[pg_test]
    fn enabled_and_the_desired_state_of_a_node_agree() {
        run("SELECT nebula.register_node('a', 'a:1')");
        let both = || text("SELECT desired_state || ' ' || enabled FROM nebula.node WHERE name = 'a'");
        run("UPDATE nebula.node SET enabled = false");
        assert_eq!(both(), "disabled false");
        run("UPDATE nebula.node SET enabled = true");
        assert_eq!(both(), "active true");
        run(&format!("SELECT nebula.set_node_state('{}', 'draining')", id("a")));
        assert_eq!(both(), "draining false");
        // A row of a dump of 0.2.0.
        run("INSERT INTO nebula.node (name, endpoint, enabled) VALUES ('b', 'b:1', false)");
        assert_eq!(text("SELECT desired_state FROM nebula.node WHERE name = 'b'"), "disabled");
    }
}
