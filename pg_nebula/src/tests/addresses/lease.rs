use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::{allocate, assert_error, assert_invariants, device, project, register, run, text};
    use pgrx::prelude::*;

    fn expire() {
        run(
            "UPDATE nebula.allocation SET lease_until = now() - interval '1 s' WHERE lease_until IS NOT NULL",
        );
    }

    fn lease(project: &str, number: u32) {
        run(&format!("SELECT nebula.allocate_ip('{project}', '{}', lease => '1 hour')", device(number)));
    }

    #[pg_test]
    fn a_lease_is_renewed_from_now() {
        let project = project("10.0.0.0/24");
        lease(&project, 1);
        expire();
        let renewed =
            format!("SELECT nebula.renew_lease('{}', '2 hours') = now() + interval '2 hours'", device(1));
        assert_eq!(text(&renewed), "true");
        assert_eq!(text("SELECT count(*) FROM nebula.reclaim_expired()"), "0");
        assert_error(&format!("SELECT nebula.renew_lease('{}', '0')", device(1)), "22023", &["lease"]);
        assert_error(&format!("SELECT nebula.renew_lease('{}', null)", device(1)), "22023", &["lease"]);
        assert_error(&format!("SELECT nebula.renew_lease('{}', '1 h')", device(2)), "P0002", &[&device(2)]);
        assert_invariants();
    }

    #[pg_test]
    fn expired_leases_are_reclaimed_and_only_those() {
        let project = project("10.0.0.0/24");
        for number in 1..=3 {
            lease(&project, number);
        }
        allocate(&project, 4);
        expire();
        run(&format!("SELECT nebula.renew_lease('{}', '1 hour')", device(3)));
        assert_eq!(text("SELECT count(*) FROM nebula.reclaim_expired(1)"), "1");
        assert_eq!(text("SELECT string_agg(host(ip), ' ') FROM nebula.reclaim_expired()"), "10.0.0.2");
        assert_eq!(
            text("SELECT string_agg(host(ip), ' ' ORDER BY ip) FROM nebula.allocation"),
            "10.0.0.3 10.0.0.4"
        );
        assert_eq!(
            text("SELECT count(*) FROM nebula.allocation_history WHERE released_by = 'lease expired'"),
            "2"
        );
        assert_eq!(allocate(&project, 5), "10.0.0.1/32");
        assert_invariants();
    }

    #[pg_test]
    fn lighthouses_relays_and_nodes_are_never_reclaimed() {
        let project = project("10.0.0.0/24");
        for (number, role) in [(1, "lighthouse"), (2, "relay"), (3, "host")] {
            register(&project, number, role);
            lease(&project, number);
        }
        let node = text("SELECT nebula.register_node('n', 'n:1')");
        run(&format!("SELECT nebula.allocate_ip('{project}', '{node}', lease => '1 hour')"));
        expire();
        assert_eq!(text("SELECT string_agg(device_id::text, ' ') FROM nebula.reclaim_expired()"), device(3));
        assert_invariants();
    }

    #[pg_test]
    fn only_the_expired_one_of_two_addresses_is_reclaimed() {
        let project = project("10.0.0.0/24");
        run(&format!("SELECT nebula.populate_pool('{project}', 'fd00::/64', 'six')"));
        run(&format!(
            "SELECT nebula.allocate_ip('{project}', '{}', family => 6, lease => '1 hour')",
            device(1)
        ));
        run(&format!("SELECT nebula.allocate_ip('{project}', '{}', family => 4)", device(1)));
        expire();
        assert_eq!(text("SELECT ip FROM nebula.reclaim_expired()"), "fd00::1/128");
        assert_eq!(text("SELECT ip FROM nebula.allocation"), "10.0.0.1/32");
        assert_invariants();
    }

    #[pg_test]
    fn touch_device_sets_last_seen() {
        let project = project("10.0.0.0/24");
        register(&project, 1, "host");
        run(&format!("SELECT nebula.touch_device('{}')", device(1)));
        assert_eq!(text("SELECT last_seen_at = now() FROM nebula.device"), "true");
        allocate(&project, 2);
        run(&format!("SELECT nebula.touch_device('{}')", device(2)));
        assert_error(&format!("SELECT nebula.touch_device('{}')", device(3)), "P0002", &[&device(3)]);
        assert_invariants();
    }
}
