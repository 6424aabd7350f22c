use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use super::super::{refused, run, text};
    use pgrx::prelude::*;

    #[pg_test]
    fn registering_again_updates() {
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
    fn registering_refuses_nonsense() {
        let register = |args: &str| format!("SELECT nebula.register_node({args})");
        run(&register("'a', 'a:1', cidr => '10.8.0.0/24', max_peers => 5"));
        refused(&register("'', 'a:1'"), "22023", &["node name"]);
        refused(&register("'b', 'a'"), "22023", &["endpoint", "\"b\""]);
        refused(&register("'b', 'a:0'"), "22023", &["endpoint"]);
        refused(&register("'b', 'a:99999'"), "22023", &["endpoint"]);
        refused(&register("'b', '2001:db8::1:5'"), "22023", &["endpoint"]);
        refused(&register("'b', 'a:1', weight => 0"), "22023", &["weight 0"]);
        refused(&register("'b', 'a:1', max_peers => 0"), "22023", &["max_peers 0"]);
        refused(&register("'b', 'a:1', cidr => '10.8.0.1/24'"), "22023", &["10.8.0.1/24"]);
        refused(&register("'b', 'a:1', cidr => '10.8.0.0/16'"), "23505", &["\"a\""]);
        run("UPDATE nebula.node SET active_peers = 5");
        refused(&register("'a', 'a:1', max_peers => 4"), "55000", &["5 peers"]);
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
        refused("SELECT nebula.select_node('name:big')", "53000", &["big", "full"]);
        refused("SELECT nebula.select_node('name:nope')", "P0002", &["nope"]);
        refused("SELECT nebula.select_node('best')", "22023", &["best"]);
    }

    #[pg_test]
    fn reasons_are_named_and_counted() {
        run(
            "SELECT nebula.register_node(n, n || ':1', max_peers => 1) FROM unnest('{off,full,silent,fine}'::text[]) n",
        );
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
        refused(
            "SELECT nebula.select_node(capability => 'gpu')",
            "53000",
            &["none of 4", "3 without the capability"],
        );
        run("UPDATE nebula.node SET enabled = false WHERE name = 'fine'");
        refused("SELECT nebula.select_node()", "53000", &["2 disabled", "1 full", "1 not reporting"]);
    }

    #[pg_test]
    fn capabilities_filter() {
        run(
            "SELECT nebula.register_node('a', 'a:1'), nebula.register_node('z', 'z:1', capabilities => '{gpu}')",
        );
        assert_eq!(
            text("SELECT name FROM nebula.node WHERE node_id = nebula.select_node(capability => 'gpu')"),
            "z"
        );
    }
}
