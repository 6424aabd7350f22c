use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use super::super::{assert_error, attempt, device, project, register, run, text};
    use pgrx::prelude::*;

    #[pg_test]
    fn registering_a_node_again_updates_it() {
        let first =
            text("SELECT nebula.register_node('a', 'a.example:51820', 10, 20, '10.8.0.0/24', '{gpu}')");
        let again = text("SELECT nebula.register_node('a', '[2001:db8::1]:51821')");
        assert_eq!(first, again);
        assert_eq!(
            text("SELECT n::text FROM (SELECT endpoint, weight, max_peers FROM nebula.node) n"),
            "([2001:db8::1]:51821,100,100)"
        );
    }

    #[pg_test]
    fn malformed_nodes_are_refused() {
        let register = |args: &str| format!("SELECT nebula.register_node({args})");
        run(&register("'a', 'a:1', cidr => '10.8.0.0/24', max_peers => 5"));
        assert_error(&register("'', 'a:1'"), "22023", &["node name"]);
        assert_error(&register("'b', 'a'"), "22023", &["endpoint", "\"b\""]);
        assert_error(&register("'b', 'a:0'"), "22023", &["endpoint"]);
        assert_error(&register("'b', 'a:99999'"), "22023", &["endpoint"]);
        assert_error(&register("'b', '2001:db8::1:5'"), "22023", &["endpoint"]);
        assert_error(&register("'b', 'a:1', weight => 0"), "22023", &["weight 0"]);
        assert_error(&register("'b', 'a:1', max_peers => 0"), "22023", &["max_peers 0"]);
        assert_error(&register("'b', 'a:1', cidr => '10.8.0.1/24'"), "22023", &["10.8.0.1/24"]);
        assert_error(&register("'b', 'a:1', cidr => '10.8.0.0/16'"), "23505", &["\"a\""]);
        run("UPDATE nebula.node SET active_peers = 5");
        assert_error(&register("'a', 'a:1', max_peers => 4"), "55000", &["5 peers"]);
    }

    #[pg_test]
    fn the_lowest_score_is_chosen() {
        assert_eq!(text("SELECT nebula.select_node()"), "null");
        run(
            "SELECT nebula.register_node('small', 'a:1', 100, 10), nebula.register_node('big', 'b:1', 200, 10)",
        );
        run("UPDATE nebula.node SET active_peers = 5");
        let chosen = |args: &str| {
            text(&format!("SELECT name FROM nebula.node WHERE node_id = nebula.select_node({args})"))
        };
        assert_eq!(chosen(""), "big");
        run("UPDATE nebula.node SET active_peers = 10 WHERE name = 'big'");
        assert_eq!(chosen(""), "small");
        assert_eq!(chosen("'random'"), "small");
        assert_eq!(chosen("'name:small'"), "small");
        assert_error("SELECT nebula.select_node('name:big')", "53000", &["big", "full"]);
        assert_error("SELECT nebula.select_node('name:nope')", "P0002", &["nope"]);
        assert_error("SELECT nebula.select_node('best')", "P0002", &["best"]);
        assert_error("SELECT nebula.select_node('best:of')", "22023", &["best:of"]);
        assert_eq!(text("SELECT nebula.select_node('local')"), "null");
    }

    #[pg_test]
    fn the_lowest_rank_is_chosen_whatever_bounds_the_index_has() {
        let project = project("10.0.0.0/24");
        run("SELECT setseed(0.5);
             SELECT nebula.register_node(n, 'x:1', 100 + 100 * (n > 'e')::integer, 40)
               FROM unnest('{a,B,c,D,e,F,g,H,i,J}'::text[]) n");
        run(&format!("UPDATE nebula.node SET project_id = '{project}' WHERE name < 'd'"));
        for round in 0..60 {
            run("UPDATE nebula.node
                    SET active_peers = floor(random() * 41)::integer, rank_step = 1 + floor(random() * 20)::integer,
                        soft_max_peers = nullif(floor(random() * 60)::integer, 0)");
            run(&format!("SET LOCAL nebula.direct_writes = {}", if round % 2 == 0 { "on" } else { "off" }));
            let first = text(
                "SELECT name FROM nebula.node WHERE active_peers < max_peers ORDER BY rank, name COLLATE \"C\" LIMIT 1",
            );
            for chooses in [
                format!("nebula.select_node('auto', NULL, '{project}')"),
                "nebula.select_node()".to_owned(),
                format!("(SELECT c.node_id FROM nebula.claim_seats('{project}', 'auto', 1) c)"),
            ] {
                let chosen =
                    text(&format!("SELECT name FROM nebula.node WHERE node_id = (SELECT {chooses})"));
                assert_eq!(chosen, first, "{round}: {chooses}");
            }
        }
    }

    #[pg_test]
    fn few_nodes_are_read_without_an_index_that_every_seat_changes_and_many_with_one() {
        let project = project("10.0.0.0/24");
        run("SELECT nebula.register_node('node' || n, 'x:1') FROM generate_series(1, 3) n");
        let hot = || text("SELECT pg_stat_get_xact_tuples_hot_updated('nebula.node'::regclass)");
        let before: i64 = hot().parse().expect("a number");
        run(&format!("SELECT nebula.claim_seats('{project}', 'auto', 1) FROM generate_series(1, 8)"));
        assert_eq!(hot(), (before + 8).to_string());
        let steps = || {
            run("SELECT nebula.maintain_peers()");
            text("SELECT string_agg(DISTINCT rank_step::text, ' ') FROM nebula.node")
        };
        assert_eq!(steps(), "16");
        run("SELECT nebula.register_node('node' || n, 'x:1') FROM generate_series(4, 129) n");
        assert_eq!(steps(), "1");
        run("DELETE FROM nebula.node WHERE right(name, 2) < '20'");
        assert_eq!(steps(), "1", "99 are not yet few");
        run("DELETE FROM nebula.node WHERE right(name, 2) < '25'");
        assert_eq!(steps(), "16");
    }

    #[pg_test]
    fn reasons_for_ineligibility_are_named_and_counted() {
        run("SELECT nebula.register_node(n, n || ':1', max_peers => 1)
               FROM unnest('{off,full,silent,fine}'::text[]) n");
        run("UPDATE nebula.node SET enabled = false WHERE name = 'off'");
        run("UPDATE nebula.node SET active_peers = 1 WHERE name = 'full'");
        run("UPDATE nebula.node SET seen_at = now() - interval '10 min' WHERE name = 'silent'");
        let reason =
            |name: &str| text(&format!("SELECT reason FROM nebula.node_scores() WHERE name = '{name}'"));
        assert_eq!(reason("off"), "disabled");
        assert_eq!(reason("full"), "full");
        assert_eq!(reason("silent"), "no report for 10 min");
        assert_eq!(reason("fine"), "null");
        assert_eq!(text("SELECT string_agg(name, ' ') FROM nebula.node_scores() WHERE eligible"), "fine");
        assert_error(
            "SELECT nebula.select_node(capability => 'gpu')",
            "53000",
            &["none of 4", "3 without the capability"],
        );
        run("UPDATE nebula.node SET enabled = false WHERE name = 'fine'");
        assert_error("SELECT nebula.select_node()", "53000", &["2 disabled", "1 full", "1 not reporting"]);
    }

    #[pg_test]
    fn a_node_whose_device_is_revoked_or_removed_takes_no_peers_until_it_is_tied_again() {
        let project = project("10.0.0.0/24");
        for number in 1..=2 {
            register(&project, number, "host");
        }
        let reason = || text("SELECT coalesce(reason, 'none') FROM nebula.node_scores()");
        let create = "SELECT nebula.create_peer(project_id, NULL, encode(sha256('x'), 'base64'))
                        FROM nebula.project";
        for (end, why) in [
            (format!("SELECT nebula.revoke_device('{}')", device(1)), "its device was revoked"),
            (
                format!("DELETE FROM nebula.device WHERE device_id = '{}'", device(2)),
                "its device was removed",
            ),
        ] {
            let speaker = if why.contains("revoked") { device(1) } else { device(2) };
            run(&format!("SELECT nebula.tie_node(nebula.register_node('a', 'a:1'), '{speaker}')"));
            run("SELECT nebula.node_heartbeat(node_id, '{}') FROM nebula.node");
            assert_eq!(reason(), "none");
            run(&end);
            assert_eq!(reason(), why);
            for strategy in ["auto", "random", "node:a", "name:a"] {
                let choose = format!("SELECT nebula.select_node('{strategy}')");
                assert_eq!(attempt(&choose)[0], "53000", "{strategy}");
            }
            assert_error(create, "53000", &["1 without their device"]);
            assert_eq!(text("SELECT eligible FROM nebula.node_status"), "false");
        }
    }

    #[pg_test]
    fn nodes_without_the_capability_are_not_chosen() {
        run(
            "SELECT nebula.register_node('a', 'a:1'), nebula.register_node('z', 'z:1', capabilities => '{gpu}')",
        );
        assert_eq!(
            text("SELECT name FROM nebula.node WHERE node_id = nebula.select_node(capability => 'gpu')"),
            "z"
        );
    }

    /// Name of the constraint that a statement violates.
    fn violated(sql: &str) -> String {
        run(
            "CREATE OR REPLACE FUNCTION pg_temp.violated(statement text) RETURNS text LANGUAGE plpgsql AS $f$
             DECLARE broken text;
             BEGIN
               EXECUTE statement;
               RETURN 'none';
             EXCEPTION WHEN integrity_constraint_violation THEN
               GET STACKED DIAGNOSTICS broken = CONSTRAINT_NAME;
               RETURN broken;
             END $f$",
        );
        text(&format!("SELECT pg_temp.violated($sql${sql}$sql$)"))
    }

    #[pg_test]
    fn a_heartbeat_makes_a_silent_node_eligible() {
        run("SELECT nebula.register_node('a', 'a:1')");
        run("UPDATE nebula.node SET seen_at = now() - interval '1 hour'");
        assert_error("SELECT nebula.select_node()", "53000", &["1 not reporting"]);
        run("SELECT nebula.node_heartbeat(node_id, '{\"load\": 1}') FROM nebula.node");
        assert_eq!(text("SELECT reason FROM nebula.node_scores()"), "null");
        assert_eq!(text("SELECT health ->> 'load' FROM nebula.node_status"), "1");
        assert_error("SELECT nebula.node_heartbeat(gen_random_uuid(), '{}')", "P0002", &["no node"]);
    }

    #[pg_test]
    fn a_node_has_at_most_two_secrets() {
        run("SELECT nebula.register_node('a', 'a:1')");
        let make = "SELECT nebula.make_node_secret(node_id) FROM nebula.node";
        let retire = "SELECT nebula.retire_node_secret(node_id) FROM nebula.node";
        let good = "SELECT count(*)::text || ' ' || count(DISTINCT secret) FROM nebula.node_secret
          WHERE retired_at IS NULL";
        run(make);
        assert_error(retire, "55000", &["\"a\"", "fewer than two"]);
        run(make);
        assert_error(make, "55000", &["\"a\"", "two secrets already"]);
        assert_eq!(text(good), "2 2");
        // Constraints of the table, for what a function might forget.
        let copy = |place: i32| {
            format!(
                "INSERT INTO nebula.node_secret (node_id, place, secret, made_by)
                 SELECT node_id, {place}, sha256(''), 'x' FROM nebula.node"
            )
        };
        assert_eq!(violated(&copy(2)), "node_secret_place_key");
        assert_eq!(violated(&copy(3)), "node_secret_place_check");
        assert_eq!(violated("UPDATE nebula.node_secret SET retired_at = now()"), "node_secret_retired_check");
        let older = text("SELECT key_id::text FROM nebula.node_secret ORDER BY made_at LIMIT 1");
        assert_eq!(text("SELECT nebula.retire_node_secret(node_id)::text FROM nebula.node"), older);
        assert_eq!(text(good), "1 1");
        assert_error(
            &format!("SELECT nebula.retire_node_secret(node_id, '{older}') FROM nebula.node"),
            "P0002",
            &[&older],
        );
    }

    #[pg_test]
    fn a_call_of_a_node_is_accepted_once_and_for_five_minutes() {
        run("SELECT nebula.register_node('a', 'a:1')");
        run("SELECT nebula.make_node_secret(node_id) FROM nebula.node");
        let call = |nonce: &str, age: &str| {
            format!(
                "SELECT nebula.accept_node_call(NULL, node_id, key_id, '{nonce}', clock_timestamp() - interval '{age}')
                   FROM nebula.node_secret"
            )
        };
        run(&call("0123456789abcdef", "0"));
        assert_error(&call("0123456789abcdef", "10 s"), "28000", &["made before"]);
        assert_error(&call("0123456789abcdeg", "301 s"), "28000", &["signed for its node"]);
        assert_error(&call("0123456789abcdeg", "-301 s"), "28000", &["signed for its node"]);
        run(&call("0123456789abcdeg", "290 s"));
        assert_eq!(violated(&call("short", "0")), "node_nonce_length_check");
        // Nonces are deleted when the age of a call would have it refused anyway.
        run("UPDATE nebula.node_nonce SET good_until = now() - interval '1 s'");
        run(&call("0123456789abcdeh", "0"));
        assert_eq!(text("SELECT string_agg(nonce, ' ') FROM nebula.node_nonce"), "0123456789abcdeh");
    }
}
