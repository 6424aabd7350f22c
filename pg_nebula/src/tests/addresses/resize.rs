use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::{allocate, assert_error, assert_invariants, device, project, run, text};
    use pgrx::prelude::*;

    fn resize(project: &str, verb: &str, cidr: &str) -> String {
        format!("SELECT nebula.{verb}_pool('{project}', 'default', '{cidr}')")
    }

    #[pg_test]
    fn extending_a_pool_makes_the_added_addresses_assignable() {
        let project = project("10.0.1.0/30");
        allocate(&project, 1);
        allocate(&project, 2);
        assert_eq!(text(&resize(&project, "extend", "10.0.0.0/23")), "510");
        // The first is below the old start; the second was the broadcast address.
        assert_eq!(allocate(&project, 3), "10.0.0.1/32");
        let ask = format!("SELECT nebula.allocate_ip('{project}', '{}', address => '10.0.1.3')", device(4));
        assert_eq!(text(&ask), "10.0.1.3/32");
        assert_eq!(text(&resize(&project, "extend", "10.0.0.0/23")), "510");
        assert_eq!(text("SELECT count(*) FROM nebula.event WHERE action = 'extend'"), "1");
        assert_invariants();
    }

    #[pg_test]
    fn an_extension_that_conflicts_is_refused() {
        let project = text("SELECT nebula.create_project('edges', '10.0.0.0/16')");
        run(&format!("SELECT nebula.populate_pool('{project}', '10.0.0.0/31')"));
        run(&format!("SELECT nebula.populate_pool('{project}', '10.0.0.4/30', 'next')"));
        allocate(&project, 1);
        assert_error(&resize(&project, "extend", "10.0.0.0/30"), "55000", &["10.0.0.0", "default"]);
        assert_error(&resize(&project, "extend", "10.0.1.0/24"), "22023", &["contain"]);
        assert_error(&resize(&project, "extend", "10.0.0.1/24"), "22023", &["10.0.0.1/24"]);
        run(&format!("SELECT nebula.release_ip('{}')", device(1)));
        assert_error(&resize(&project, "extend", "10.0.0.0/24"), "23505", &["next"]);
        assert_error(&resize(&project, "extend", "10.0.0.0/8"), "22023", &["outside"]);
        assert_eq!(text(&resize(&project, "extend", "10.0.0.0/30")), "2");
        assert_eq!(allocate(&project, 1), "10.0.0.1/32");
        assert_invariants();
    }

    #[pg_test]
    fn a_pool_shrinks_only_where_nothing_is_held() {
        let project = project("10.0.0.0/24");
        let ask = |number: u32, ip: &str| {
            format!("SELECT nebula.allocate_ip('{project}', '{}', address => '{ip}')", device(number))
        };
        run(&ask(1, "10.0.0.200"));
        run(&ask(2, "10.0.0.127"));
        assert_error(
            &resize(&project, "shrink", "10.0.0.0/25"),
            "55000",
            &["2 addresses", "10.0.0.127", &device(2)],
        );
        run(&format!("SELECT nebula.release_ip('{}')", device(1)));
        assert_error(&resize(&project, "shrink", "10.0.0.0/25"), "55000", &["1 addresses"]);
        run(&format!("SELECT nebula.release_ip('{}')", device(2)));
        run(&format!("SELECT nebula.exclude_addresses('{project}', 'printers', '10.0.0.192/28')"));
        assert_error(&resize(&project, "shrink", "10.0.0.0/25"), "55000", &["printers"]);
        run(&format!("SELECT nebula.drop_reservation('{project}', 'printers')"));
        assert_eq!(text(&resize(&project, "shrink", "10.0.0.0/25")), "126");
        assert_error(&ask(1, "10.0.0.200"), "22023", &["10.0.0.200"]);
        assert_error(&resize(&project, "shrink", "10.0.0.0/24"), "22023", &["inside"]);
        assert_error(
            &format!("SELECT nebula.shrink_pool('{project}', 'none', '10.0.0.0/26')"),
            "P0002",
            &["none"],
        );
        assert_invariants();
    }

    #[pg_test]
    fn a_shrunk_pool_is_exhausted_at_its_new_end() {
        let project = project("10.0.0.0/24");
        allocate(&project, 1);
        run(&resize(&project, "shrink", "10.0.0.0/30"));
        assert_eq!(allocate(&project, 2), "10.0.0.2/32");
        assert_error(
            &format!("SELECT nebula.allocate_ip('{project}', '{}')", device(3)),
            "53400",
            &["10.0.0.0/30"],
        );
        run(&resize(&project, "extend", "10.0.0.0/29"));
        assert_eq!(allocate(&project, 3), "10.0.0.3/32");
        assert_invariants();
    }

    #[pg_test]
    fn a_disabled_pool_keeps_its_allocations_and_makes_no_new_ones() {
        let project = project("10.0.0.0/29");
        allocate(&project, 1);
        run(&format!("SELECT nebula.disable_pool('{project}', 'default')"));
        assert_eq!(allocate(&project, 1), "10.0.0.1/32");
        let second = format!("SELECT nebula.allocate_ip('{project}', '{}')", device(2));
        assert_error(&second, "55000", &["default", "disabled"]);
        assert_error(
            &format!("SELECT nebula.allocate_ip('{project}', '{}', address => '10.0.0.4')", device(2)),
            "55000",
            &["disabled"],
        );
        run(&format!("SELECT nebula.populate_pool('{project}', '10.0.1.0/29', 'other')"));
        assert_eq!(text(&second), "10.0.1.1/32");
        run(&format!("SELECT nebula.enable_pool('{project}', 'default')"));
        assert_eq!(allocate(&project, 3), "10.0.0.2/32");
        assert_error(&format!("SELECT nebula.disable_pool('{project}', 'x')"), "P0002", &["x"]);
        assert_invariants();
    }

    #[pg_test]
    fn a_pool_in_use_is_not_dropped() {
        let project = project("10.0.0.0/29");
        allocate(&project, 1);
        let drop = format!("SELECT nebula.drop_pool('{project}', 'default')");
        assert_error(&drop, "55000", &["1 addresses", "10.0.0.1"]);
        run(&format!("SELECT nebula.release_ip('{}')", device(1)));
        run(&format!("SELECT nebula.reserve_range('{project}', 'cameras', 2)"));
        run(&drop);
        assert_eq!(text("SELECT count(*) FROM nebula.pool"), "0");
        assert_eq!(text("SELECT count(*) FROM nebula.reservation"), "0");
        assert_error(&drop, "P0002", &["default"]);
        // Name and range can be used again.
        run(&format!("SELECT nebula.populate_pool('{project}', '10.0.0.0/30')"));
        assert_eq!(allocate(&project, 2), "10.0.0.1/32");
        assert_invariants();
    }

    #[pg_test]
    fn a_device_may_hold_one_address_of_each_family() {
        let project = project("10.0.0.0/29");
        let dual = |number: u32| {
            format!(
                "SELECT string_agg(host(ip), ' ') FROM nebula.allocate_dual('{project}', '{}')",
                device(number)
            )
        };
        assert_eq!(text(&dual(1)), "10.0.0.1");
        run(&format!("SELECT nebula.populate_pool('{project}', 'fd00::/64', 'six')"));
        assert_eq!(text(&dual(1)), "10.0.0.1 fd00::1");
        assert_eq!(text(&dual(1)), "10.0.0.1 fd00::1");
        let six = format!("SELECT nebula.allocate_ip('{project}', '{}', family => 6)", device(2));
        assert_eq!(text(&six), "fd00::2/128");
        assert_eq!(text(&dual(2)), "10.0.0.2 fd00::2");
        assert_error(&six.replace("6)", "5)"), "22023", &["5"]);
        // One of the two can be released alone.
        let release = format!("SELECT nebula.release_ip('{}', address => 'fd00::1')", device(1));
        assert_eq!(text(&release), "fd00::1/128");
        assert_eq!(text("SELECT count(*) FROM nebula.allocation"), "3");
        assert_eq!(text(&format!("SELECT nebula.release_ip('{}')", device(2))), "10.0.0.2/32");
        assert_eq!(text("SELECT count(*) FROM nebula.allocation"), "1");
        assert_invariants();
    }
}
