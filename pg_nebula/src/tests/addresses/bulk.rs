use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::{allocate, assert_error, assert_invariants, certify, device, project, run, text};
    use pgrx::prelude::*;

    /// A call for the devices from one number to another; returns their addresses in the order of the
    /// devices.
    fn batch(project: &str, from: u32, to: u32, rest: &str) -> String {
        format!(
            "SELECT string_agg(host(ip), ' ') FROM nebula.allocate_ips('{project}',
               ARRAY(SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid
                 FROM generate_series({from}, {to}) n){rest})"
        )
    }

    #[pg_test]
    fn a_batch_assigns_the_lowest_addresses_in_the_order_given() {
        let project = project("10.0.0.0/28");
        allocate(&project, 2);
        assert_eq!(text(&batch(&project, 10, 13, ", 'importer'")), "10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5");
        assert_eq!(text("SELECT count(*) FROM nebula.allocation WHERE allocated_by = 'importer'"), "4");
        run(&format!("SELECT nebula.release_ip('{}')", device(11)));
        assert_eq!(text(&batch(&project, 20, 21, "")), "10.0.0.3 10.0.0.6");
        assert_invariants();
    }

    #[pg_test]
    fn a_batch_is_idempotent_and_counts_a_device_once() {
        let project = project("10.0.0.0/24");
        let first = text(&format!(
            "SELECT count(DISTINCT ip)
               FROM nebula.allocate_ips('{project}', ARRAY(SELECT md5(n::text)::uuid
                 FROM generate_series(1, 100) n))"
        ));
        assert_eq!(first, "100");
        let again = format!(
            "SELECT count(*) || ' ' || count(DISTINCT ip)
               FROM nebula.allocate_ips('{project}', ARRAY(SELECT md5((n % 110)::text)::uuid
                 FROM generate_series(0, 299) n))"
        );
        assert_eq!(text(&again), "110 110");
        assert_eq!(text("SELECT count(*) FROM nebula.allocation"), "110");
        assert_invariants();
    }

    #[pg_test]
    fn a_batch_spans_pools_and_is_all_or_nothing() {
        let project = project("10.0.0.0/29");
        run(&format!("SELECT nebula.populate_pool('{project}', '10.0.1.0/30', 'second')"));
        assert_error(&batch(&project, 1, 9, ""), "53400", &["default", "second"]);
        assert_eq!(text("SELECT count(*) FROM nebula.allocation"), "0");
        assert_eq!(
            text(&batch(&project, 1, 8, "")),
            "10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6 10.0.1.1 10.0.1.2"
        );
        assert_invariants();
    }

    #[pg_test]
    fn a_batch_skips_reserved_addresses_and_ends_quarantines() {
        let project = project("10.0.0.0/28");
        run(&format!("SELECT nebula.exclude_addresses('{project}', 'x', '10.0.0.2', '10.0.0.4')"));
        allocate(&project, 1);
        certify(&project, 1, "10.0.0.1");
        run(&format!("SELECT nebula.release_ip('{}')", device(1)));
        assert_eq!(text(&batch(&project, 2, 3, "")), "10.0.0.5 10.0.0.6");
        assert_eq!(text(&batch(&project, 1, 2, "")), "10.0.0.1 10.0.0.5");
        assert_invariants();
    }

    #[pg_test]
    fn a_batch_refuses_what_allocate_ip_refuses() {
        let project = project("10.0.0.0/24");
        let call = |rest: &str| format!("SELECT * FROM nebula.allocate_ips('{project}', {rest})");
        assert_error(&call("NULL"), "22023", &["device_ids"]);
        assert_error(&call("ARRAY[NULL]::uuid[]"), "22023", &["null"]);
        assert_error(&batch(&project, 1, 2, ", pool => 'x'"), "P0002", &["x"]);
        assert_error(&batch(&project, 1, 2, ", lease => '-1 s'"), "22023", &["lease"]);
        assert_eq!(text(&format!("SELECT count(*) FROM nebula.allocate_ips('{project}', '{{}}')")), "0");
        let there = text("SELECT nebula.create_project('there')");
        run(&format!("SELECT nebula.populate_pool('{there}', '10.0.0.0/24')"));
        allocate(&there, 2);
        assert_error(&batch(&project, 1, 3, ""), "23505", &[&device(2)]);
        assert_eq!(text("SELECT count(*) FROM nebula.allocation"), "1");
        assert_invariants();
    }

    #[pg_test]
    fn a_batch_of_ten_thousand_gets_consecutive_addresses() {
        let project = project("10.0.0.0/16");
        run(&batch(&project, 1, 10_000, ""));
        assert_eq!(
            text("SELECT count(*) || ' ' || host(min(ip)) || ' ' || host(max(ip)) FROM nebula.allocation"),
            "10000 10.0.0.1 10.0.39.16"
        );
        assert_invariants();
    }
}
