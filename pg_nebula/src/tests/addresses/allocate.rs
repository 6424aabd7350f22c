use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::{allocate, assert_error, assert_invariants, certify, device, one, project, run, text};
    use pgrx::prelude::*;

    #[pg_test]
    fn the_lowest_free_address_is_first_and_a_device_keeps_its_own() {
        let project = project("10.0.0.0/29");
        assert_eq!(allocate(&project, 1), "10.0.0.1/32");
        assert_eq!(allocate(&project, 2), "10.0.0.2/32");
        assert_eq!(allocate(&project, 3), "10.0.0.3/32");
        assert_eq!(allocate(&project, 1), "10.0.0.1/32");
        run(&format!("SELECT nebula.release_ip('{}')", device(2)));
        assert_eq!(allocate(&project, 4), "10.0.0.2/32");
        assert_eq!(allocate(&project, 5), "10.0.0.4/32");
        assert_eq!(text("SELECT count(*) FROM nebula.allocation"), "4");
        assert_invariants();
    }

    #[pg_test]
    fn an_address_change_of_a_static_host_raises_the_config_version() {
        let project = project("10.0.0.0/28");
        let version = || -> i64 { one("SELECT config_version FROM nebula.project") };
        for number in 1..5 {
            run(&format!(
                "INSERT INTO nebula.device (device_id, project_id, name, curve, public_key)
                 VALUES ('{}', '{project}', 'd{number}', '25519', sha256('{number}'))",
                device(number)
            ));
            allocate(&project, number);
        }
        run(&format!(
            "UPDATE nebula.device SET role = 'lighthouse', endpoints = '{{192.0.2.1:4242}}'
               WHERE device_id = '{}';
             UPDATE nebula.device SET role = 'relay' WHERE device_id = '{}';
             SELECT nebula.add_route('{project}', '192.168.7.0/24', '{}')",
            device(1),
            device(2),
            device(3)
        ));
        for number in 1..5 {
            let again = [
                format!("SELECT nebula.release_ip('{}')", device(number)),
                format!("SELECT nebula.allocate_ip('{project}', '{}')", device(number)),
                format!("SELECT nebula.release_ip('{}')", device(number)),
                format!("SELECT count(*) FROM nebula.allocate_ips('{project}', '{{{}}}')", device(number)),
                format!("SELECT count(*) FROM nebula.allocate_dual('{project}', '{}')", device(number)),
            ];
            for (at, step) in again.iter().enumerate() {
                let before = version();
                run(step);
                // Not raised when nothing changes (step 4), nor for device 4, which no configuration names.
                let bumped = i64::from(number < 4 && at < 4);
                assert_eq!(version(), before + bumped, "{step}");
            }
        }
        // Two addresses that are released together raise it once.
        run(&format!("SELECT nebula.populate_pool('{project}', 'fd00::/64', 'six')"));
        run(&format!("SELECT nebula.allocate_dual('{project}', '{}')", device(1)));
        assert_eq!(text(&format!("SELECT count(*) FROM nebula.device_allocation('{}')", device(1))), "2");
        let before = version();
        run(&format!("SELECT nebula.release_ip('{}')", device(1)));
        assert_eq!(version(), before + 1);
        assert_invariants();
    }

    #[pg_test]
    fn the_next_pool_is_used_when_one_is_exhausted() {
        let project = project("10.0.0.0/30");
        run(&format!("SELECT nebula.populate_pool('{project}', '10.0.1.0/31', 'second')"));
        for (number, ip) in [(1, "10.0.0.1/32"), (2, "10.0.0.2/32"), (3, "10.0.1.0/32"), (4, "10.0.1.1/32")] {
            assert_eq!(allocate(&project, number), ip);
        }
        let fifth = format!("SELECT nebula.allocate_ip('{project}', '{}')", device(5));
        assert_error(&fifth, "53400", &["default", "second", "exhausted"]);
        run(&format!("SELECT nebula.release_ip('{}')", device(4)));
        assert_eq!(allocate(&project, 5), "10.0.1.1/32");
        assert_invariants();
    }

    #[pg_test]
    fn a_reserved_gateway_is_never_assigned() {
        let project = text("SELECT nebula.create_project('gateway')");
        run(&format!("SELECT nebula.populate_pool('{project}', '10.0.0.0/30', reserve_gateway => true)"));
        assert_eq!(allocate(&project, 1), "10.0.0.2/32");
        assert_error(
            &format!("SELECT nebula.allocate_ip('{project}', '{}')", device(2)),
            "53400",
            &["default"],
        );
        assert_invariants();
    }

    #[pg_test]
    fn the_first_and_last_addresses_of_each_family_are_assigned() {
        for (cidr, first, second) in [
            ("0.0.0.0/31", "0.0.0.0/32", "0.0.0.1/32"),
            ("255.255.255.254/31", "255.255.255.254/32", "255.255.255.255/32"),
            ("::/127", "::/128", "::1/128"),
            (
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127",
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/128",
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
            ),
        ] {
            let project =
                text(&format!("SELECT nebula.create_project('edge {}')", cidr.replace([':', '/'], "-")));
            // Not by populate_pool, which refuses these networks; earlier releases did not.
            run(&format!(
                "INSERT INTO nebula.pool (project_id, name, cidr) VALUES ('{project}', 'default', '{cidr}')"
            ));
            run("DELETE FROM nebula.allocation");
            assert_eq!(allocate(&project, 1), first);
            assert_eq!(allocate(&project, 2), second);
            assert_error(
                &format!("SELECT nebula.allocate_ip('{project}', '{}')", device(3)),
                "53400",
                &[cidr],
            );
            // The free range below the highest address.
            run(&format!("SELECT nebula.release_ip('{}')", device(1)));
            assert_eq!(allocate(&project, 3), first);
        }
        assert_invariants();
    }

    #[pg_test]
    fn a_requested_address_is_assigned_or_the_reason_is_named() {
        let project = project("10.0.0.0/24");
        run(&format!("SELECT nebula.populate_pool('{project}', '10.0.1.0/24', 'second', true)"));
        let ask = |number: u32, rest: &str| {
            format!("SELECT nebula.allocate_ip('{project}', '{}', {rest})", device(number))
        };
        assert_eq!(text(&ask(1, "address => '10.0.1.7'")), "10.0.1.7/32");
        assert_eq!(text(&ask(1, "address => '10.0.1.7'")), "10.0.1.7/32");
        assert_error(&ask(2, "address => '10.0.1.7'"), "23505", &["10.0.1.7", &device(1)]);
        assert_error(&ask(1, "address => '10.0.1.8'"), "55000", &["10.0.1.7"]);
        assert_error(&ask(1, "pool => 'default'"), "55000", &["second"]);
        assert_error(&ask(2, "address => '10.0.2.1'"), "22023", &["10.0.2.1"]);
        assert_error(&ask(2, "address => '10.0.1.1'"), "22023", &["reserved"]);
        assert_error(&ask(2, "address => '10.0.0.255'"), "22023", &["reserved"]);
        assert_error(&ask(2, "address => '10.0.0.0'"), "22023", &["reserved"]);
        assert_error(&ask(2, "address => '10.0.0.0/24'"), "22023", &["network"]);
        assert_error(&ask(2, "pool => 'default', address => '10.0.1.9'"), "22023", &["default"]);
        assert_error(&ask(2, "pool => 'third'"), "P0002", &["third"]);
        assert_eq!(text(&ask(2, "pool => 'second'")), "10.0.1.2/32");
        assert_invariants();
    }

    #[pg_test]
    fn unknown_projects_and_projects_without_pools_are_refused() {
        let nobody = device(99);
        assert_error(&format!("SELECT nebula.allocate_ip('{nobody}', '{nobody}')"), "P0002", &[&nobody]);
        let empty = text("SELECT nebula.create_project('empty')");
        assert_error(&format!("SELECT nebula.allocate_ip('{empty}', '{nobody}')"), "P0002", &["no pool"]);
        assert_error(&format!("SELECT nebula.allocate_ip('{empty}', null)"), "22023", &["device_id"]);
        assert_error(&format!("SELECT * FROM nebula.project_allocations('{nobody}')"), "P0002", &[&nobody]);
        assert_invariants();
    }

    #[pg_test]
    fn a_device_holds_addresses_in_one_project_only() {
        let here = project("10.0.0.0/24");
        let there = text("SELECT nebula.create_project('there')");
        run(&format!("SELECT nebula.populate_pool('{there}', '10.0.0.0/24')"));
        allocate(&here, 1);
        assert_error(&format!("SELECT nebula.allocate_ip('{there}', '{}')", device(1)), "23505", &[&here]);
        run(&format!("SELECT nebula.release_ip('{}')", device(1)));
        assert_eq!(allocate(&there, 1), "10.0.0.1/32");
        assert_invariants();
    }

    #[pg_test]
    fn a_release_frees_the_addresses_of_both_families() {
        let project = project("10.0.0.0/24");
        run(&format!("SELECT nebula.populate_pool('{project}', 'fd00::/64', 'six')"));
        assert_eq!(allocate(&project, 1), "10.0.0.1/32");
        let six = format!("SELECT nebula.allocate_ip('{project}', '{}', pool => 'six')", device(1));
        assert_eq!(text(&six), "fd00::1/128");
        assert_eq!(text(&six), "fd00::1/128");
        assert_eq!(allocate(&project, 1), "10.0.0.1/32");
        assert_eq!(text(&format!("SELECT count(*) FROM nebula.device_allocation('{}')", device(1))), "2");
        assert_eq!(text(&format!("SELECT nebula.release_ip('{}')", device(1))), "10.0.0.1/32");
        assert_eq!(text("SELECT count(*) FROM nebula.allocation"), "0");
        assert_eq!(text("SELECT count(*) FROM nebula.allocation_log"), "2");
        assert_invariants();
    }

    #[pg_test]
    fn leases_are_recorded_and_renewed() {
        let project = project("10.0.0.0/24");
        let ask = |rest: &str| format!("SELECT nebula.allocate_ip('{project}', '{}', 'me'{rest})", device(1));
        run(&ask(", lease => '1 h'"));
        let lease = format!("SELECT lease_until - now() FROM nebula.device_allocation('{}')", device(1));
        assert_eq!(text(&lease), "01:00:00");
        run(&ask(", lease => '2 h'"));
        assert_eq!(text(&lease), "02:00:00");
        run(&ask(""));
        assert_eq!(text(&lease), "02:00:00");
        assert_error(&ask(", lease => '0'"), "22023", &["lease"]);
        assert_error(&ask(", lease => '-1 s'"), "22023", &["lease"]);
        assert_eq!(text("SELECT allocated_by FROM nebula.allocation"), "me");
        assert_invariants();
    }

    #[pg_test]
    fn a_release_is_logged_and_frees_the_address() {
        let project = project("10.0.0.0/24");
        allocate(&project, 1);
        let release = format!("SELECT nebula.release_ip('{}', 'anna')", device(1));
        assert_eq!(text(&release), "10.0.0.1/32");
        assert_eq!(
            text("SELECT released_by FROM nebula.allocation_history WHERE released_at IS NOT NULL"),
            "anna"
        );
        assert_eq!(text("SELECT count(*) FROM nebula.allocation"), "0");
        assert_error(&release, "55000", &[&device(1), "already"]);
        assert_error(&format!("SELECT nebula.release_ip('{}')", device(2)), "P0002", &[&device(2)]);
        assert_invariants();
    }

    #[pg_test]
    fn a_release_of_an_address_that_the_device_does_not_hold_names_it() {
        let project = project("10.0.0.0/24");
        allocate(&project, 1);
        let release =
            |address: &str| format!("SELECT nebula.release_ip('{}', address => '{address}')", device(1));
        assert_error(&release("10.0.0.9"), "P0002", &[&device(1), "10.0.0.9"]);
        run(&release("10.0.0.1"));
        assert_error(&release("10.0.0.1"), "55000", &[&device(1), "10.0.0.1", "already"]);
        // Another address that it had does not count.
        assert_error(&release("10.0.0.9"), "P0002", &["10.0.0.9"]);
        assert_invariants();
    }

    #[pg_test]
    fn a_valid_certificate_keeps_the_address_in_quarantine() {
        let project = project("10.0.0.0/30");
        allocate(&project, 1);
        certify(&project, 1, "10.0.0.1");
        run(&format!("SELECT nebula.release_ip('{}')", device(1)));
        assert_eq!(text(&format!("SELECT count(*) FROM nebula.device_allocation('{}')", device(1))), "0");
        assert_eq!(text("SELECT quarantined FROM nebula.pool_usage()"), "1");
        assert_error(&format!("SELECT nebula.release_ip('{}')", device(1)), "55000", &["already"]);
        // Other devices are not assigned it; its own device gets it back.
        assert_eq!(allocate(&project, 2), "10.0.0.2/32");
        let third = format!("SELECT nebula.allocate_ip('{project}', '{}')", device(3));
        assert_error(&third, "53400", &["exhausted"]);
        assert_error(
            &format!("SELECT nebula.allocate_ip('{project}', '{}', address => '10.0.0.1')", device(3)),
            "23505",
            &["quarantine"],
        );
        assert_eq!(allocate(&project, 1), "10.0.0.1/32");
        assert_eq!(text("SELECT count(*) FROM nebula.allocation_log"), "1");
        // When the quarantine is over, any device may be assigned it.
        run(&format!("SELECT nebula.release_ip('{}')", device(1)));
        run("UPDATE nebula.allocation SET quarantined_until = now() - interval '1 s'
               WHERE released_at IS NOT NULL");
        assert_eq!(text(&third), "10.0.0.1/32");
        assert_eq!(text("SELECT count(*) FROM nebula.allocation_log"), "2");
        assert_invariants();
    }

    #[pg_test]
    fn expired_and_revoked_certificates_cause_no_quarantine() {
        let project = project("10.0.0.0/24");
        for (number, change) in [
            (1, "not_before = now() - interval '2 days', not_after = now() - interval '1 s'"),
            (2, "revoked_at = now(), revoked_everywhere_at = now()"),
        ] {
            allocate(&project, number);
            certify(&project, number, "10.0.0.1");
            run(&format!("UPDATE nebula.certificate SET {change}"));
            run(&format!("SELECT nebula.release_ip('{}')", device(number)));
        }
        assert_eq!(text("SELECT count(*) FROM nebula.allocation"), "0");
        assert_invariants();
    }

    #[pg_test]
    fn a_requested_address_whose_quarantine_is_over_is_assigned() {
        let project = project("10.0.0.0/30");
        allocate(&project, 1);
        certify(&project, 1, "10.0.0.1");
        run(&format!("SELECT nebula.release_ip('{}')", device(1)));
        run("UPDATE nebula.allocation SET quarantined_until = now() - interval '1 s'");
        let ask = format!("SELECT nebula.allocate_ip('{project}', '{}', address => '10.0.0.1')", device(2));
        assert_eq!(text(&ask), "10.0.0.1/32");
        assert_invariants();
    }

    #[pg_test]
    fn functions_and_views_of_existing_clients_still_work() {
        let project = project("10.0.0.0/24");
        let device = device(1);
        assert_eq!(
            text(&format!("SELECT nebula.allocate_nebula_ip('{project}', '{device}', 'old')")),
            "10.0.0.1/32"
        );
        assert_eq!(
            text("SELECT ip_address FROM nebula.nebula_ip_allocations WHERE is_active"),
            "10.0.0.1/32"
        );
        assert_eq!(text(&format!("SELECT nebula.release_nebula_ip_by_device('{device}')")), "10.0.0.1/32");
        assert_eq!(text("SELECT count(*) FROM nebula.nebula_ip_allocations WHERE is_active"), "0");
        assert_invariants();
    }

    #[pg_test]
    fn a_transaction_may_allocate_more_addresses_than_it_can_lock() {
        let project = project("10.0.0.0/22");
        run(&format!(
            "SELECT nebula.allocate_ip('{project}', gen_random_uuid()) FROM generate_series(1, 300)"
        ));
        assert_eq!(text("SELECT count(DISTINCT ip) FROM nebula.allocation"), "300");
        assert_eq!(text("SELECT max(ip) FROM nebula.allocation"), "10.0.1.44/32");
        assert_invariants();
    }

    #[pg_test]
    fn a_rollback_to_a_savepoint_frees_the_address() {
        let project = project("10.0.0.0/24");
        run(&format!(
            "DO $$ BEGIN PERFORM nebula.allocate_ip('{project}', '{}'); RAISE 'undo';
             EXCEPTION WHEN OTHERS THEN END $$",
            device(1)
        ));
        assert_eq!(allocate(&project, 2), "10.0.0.1/32");
        assert_invariants();
    }
}
