//! Maps of pools: how addresses are used, in cells that can be looked into.

use pgrx::prelude::*;

use super::super::*;

fn viewer(project: &str) -> String {
    let account = text("SELECT nebula.create_account('anna', '$argon2id$', 'member')");
    run(&format!("SELECT nebula.add_member('{project}', 'anna', 'viewer')"));
    account
}

/// `cidr held quarantined` of each cell.
fn cells(map: &str) -> String {
    text(&format!(
        "SELECT coalesce(string_agg(concat_ws(' ', c ->> 'cidr', c ->> 'held', c ->> 'quarantined'), ', '), '')
           FROM jsonb_array_elements({map} -> 'cells') c"
    ))
}

#[pg_schema]
mod tests {
    use super::*;

    #[pg_test]
    fn a_map_counts_by_cells_and_a_cell_shows_the_devices() {
        let project = project("10.0.0.0/16");
        let account = viewer(&project);
        let pool = text("SELECT pool_id FROM nebula.pool");
        for number in 1..=3 {
            register(&project, number, "host");
            allocate(&project, number);
        }
        run(&format!("SELECT nebula.allocate_ip('{project}', '{}', address => '10.0.9.9')", device(4)));
        run(&format!("SELECT nebula.reserve_range('{project}', 'web', 4)"));
        let map = |prefix: &str| format!("nebula.pool_map('{account}', {pool}, {prefix})");
        assert_eq!(cells(&map("NULL")), "10.0.0.0/24 3 0, 10.0.9.0/24 1 0");
        let first = text(&format!(
            "SELECT host(ip) || '/32' FROM nebula.allocation WHERE device_id = '{}'",
            device(1)
        ));
        let shown = format!(
            "SELECT c ->> 'deviceId' = '{}' AND c ->> 'name' IS NOT NULL
               FROM jsonb_array_elements({} -> 'cells') c WHERE c ->> 'cidr' = '{first}'",
            device(1),
            map("'10.0.0.0/24'")
        );
        assert_eq!(text(&shown), "true");
        assert_eq!(text(&format!("SELECT {} ->> 'cellLength'", map("'10.0.0.0/20'"))), "28");
        assert_eq!(text(&format!("SELECT {} #>> '{{reservations,0,label}}'", map("NULL"))), "web");
        assert_error(&format!("SELECT {}", map("'10.1.0.0/24'")), "22023", &["10.1.0.0/24", "default"]);
        let stranger = text("SELECT nebula.create_account('eva', '$argon2id$', 'member')");
        assert_error(&format!("SELECT nebula.pool_map('{stranger}', {pool})"), "P0002", &["pool"]);
    }

    #[pg_test]
    fn a_map_of_an_ipv6_pool_has_no_more_cells_than_another() {
        let project = text("SELECT nebula.create_project('six')");
        let account = viewer(&project);
        run(&format!("SELECT nebula.populate_pool('{project}', 'fd00:77::/64')"));
        for address in ["fd00:77::5", "fd00:77:0:0:ff00::1", "fd00:77:0:0:ff00::2"] {
            run(&format!(
                "SELECT nebula.allocate_ip('{project}', gen_random_uuid(), address => '{address}')"
            ));
        }
        let map = format!("nebula.pool_map('{account}', (SELECT pool_id FROM nebula.pool))");
        assert_eq!(cells(&map), "fd00:77::/72 1 0, fd00:77:0:0:ff00::/72 2 0");
    }
}
