use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::{allocate, assert_error, assert_invariants, device, project, run, text};
    use pgrx::prelude::*;

    #[pg_test]
    fn populate_pool_returns_the_number_of_assignable_addresses() {
        let project = text("SELECT nebula.create_project('sizes')");
        for (cidr, gateway, count) in [
            ("10.0.0.0/24", false, "254"),
            ("10.0.1.0/24", true, "253"),
            ("10.0.2.0/31", false, "2"),
            ("10.0.2.2/32", false, "1"),
            ("11.0.0.0/8", false, "16777214"),
            ("fd00::/64", false, "18446744073709551615"),
            ("fd01::/16", true, "5192296858534827628530496329220094"),
        ] {
            let sql = format!("SELECT nebula.populate_pool('{project}', '{cidr}', 'p-{count}', {gateway})");
            assert_eq!(text(&sql), count, "{cidr}");
        }
        assert_eq!(text("SELECT gateway FROM nebula.pool WHERE name = 'p-253'"), "10.0.1.1/32");
        assert_invariants();
    }

    #[pg_test]
    fn populate_refuses_what_cannot_be_a_pool() {
        let project = text("SELECT nebula.create_project('refusals', '10.0.0.0/8')");
        let populate = |rest: &str| format!("SELECT nebula.populate_pool('{project}', {rest})");
        run(&populate("'10.0.0.0/24'"));
        assert_error(&populate("'10.0.0.128/25', 'b'"), "23505", &["10.0.0.128/25", "default"]);
        assert_error(&populate("'10.0.0.0/8', 'b'"), "23505", &["default"]);
        assert_error(&populate("'10.1.0.0/24', 'default'"), "23505", &["default"]);
        assert_error(&populate("'11.0.0.0/24', 'b'"), "22023", &["outside", "10.0.0.0/8"]);
        assert_error(&populate("'10.2.0.1/24', 'b'"), "22023", &["10.2.0.1/24"]);
        assert_error(&populate("'10.2.0.0/32', 'b', true"), "22023", &["gateway"]);
        assert_error(&populate("'10.2.0.0/24', ' b'"), "22023", &["pool name"]);
        assert_error(&populate("null"), "22023", &["cidr"]);
        let nobody = device(9);
        assert_error(&format!("SELECT nebula.populate_pool('{nobody}', '10.9.0.0/24')"), "P0002", &[&nobody]);
        assert_invariants();
    }

    /// A link between two machines needs no addresses that are kept back (RFC 3021, RFC 6164).
    #[pg_test]
    fn pools_of_one_and_two_addresses_give_out_all_of_them() {
        let project = text("SELECT nebula.create_project('small')");
        for (pool, cidr, addresses) in [
            ("pair", "10.81.0.0/31", &["10.81.0.0/32", "10.81.0.1/32"][..]),
            ("one", "10.81.0.7/32", &["10.81.0.7/32"]),
            ("four", "10.81.1.0/30", &["10.81.1.1/32", "10.81.1.2/32"]),
            ("pair of six", "fd81::/127", &["fd81::/128", "fd81::1/128"]),
            ("one of six", "fd81::9/128", &["fd81::9/128"]),
            ("four of six", "fd81:1::/126", &["fd81:1::1/128", "fd81:1::2/128", "fd81:1::3/128"]),
        ] {
            let count = text(&format!("SELECT nebula.populate_pool('{project}', '{cidr}', '{pool}')"));
            assert_eq!(count, addresses.len().to_string(), "{pool}");
            let next = format!("SELECT nebula.allocate_ip('{project}', gen_random_uuid(), pool => '{pool}')");
            for address in addresses {
                assert_eq!(text(&next), *address, "{pool}");
            }
            assert_error(&next, "53400", &[pool]);
        }
        let sums = format!(
            "SELECT bool_and(free = 0 AND reserved + allocated = size) FROM nebula.pool_usage('{project}')"
        );
        assert_eq!(text(&sums), "true");
        assert_invariants();
    }

    #[pg_test]
    fn an_overlay_that_is_changed_still_contains_every_pool() {
        let project = text("SELECT nebula.create_project('overlay', '10.20.0.0/16')");
        run(&format!("SELECT nebula.populate_pool('{project}', '10.20.0.0/24')"));
        let change = |cidr: &str| format!("UPDATE nebula.project SET cidr = '{cidr}'");
        for cidr in ["10.99.0.0/16", "10.20.0.0/25"] {
            assert_error(&change(cidr), "22023", &["default", "10.20.0.0/24", "overlay", cidr]);
        }
        for cidr in ["10.20.0.0/24", "10.16.0.0/12"] {
            run(&change(cidr));
        }
        run("UPDATE nebula.project SET cidr = NULL");
        assert_invariants();
    }

    /// Networks that the kernel keeps for itself, or whose route would cover the way to the internet.
    const NOT_FOR_DEVICES: [&str; 27] = [
        "0.0.0.0/0",
        "0.0.0.0/1",
        "128.0.0.0/1",
        "64.0.0.0/3",
        "8.0.0.0/7",
        "0.0.0.0/8",
        "0.1.2.0/24",
        "127.0.0.0/8",
        "127.5.0.0/16",
        "126.0.0.0/7",
        "169.254.7.0/24",
        "169.0.0.0/8",
        "224.0.0.0/4",
        "239.1.0.0/16",
        "240.0.0.0/4",
        "255.255.255.255/32",
        "::/0",
        "8000::/1",
        "2000::/3",
        "2a00::/12",
        "::1/128",
        "::/128",
        "::10.0.0.0/104",
        "::ffff:10.0.0.0/104",
        "fe80::/10",
        "fe80:1::/64",
        "ff02::/16",
    ];

    #[pg_test]
    fn no_pool_or_overlay_is_one_that_the_kernel_will_not_carry() {
        let project = text("SELECT nebula.create_project('special')");
        for cidr in NOT_FOR_DEVICES {
            assert_error(&format!("SELECT nebula.populate_pool('{project}', '{cidr}')"), "22023", &[]);
            assert_error(&format!("SELECT nebula.create_project('x', '{cidr}')"), "22023", &[]);
            let node = format!("SELECT nebula.register_node('n', 'n:1', cidr => '{cidr}')");
            assert_error(&node, "22023", &[]);
        }
        run(&format!("SELECT nebula.populate_pool('{project}', '126.0.0.0/8')"));
        let grow = format!("SELECT nebula.extend_pool('{project}', 'default', '126.0.0.0/7')");
        assert_error(&grow, "22023", &["126.0.0.0/7", "127.0.0.0/8", "loopback"]);
        for (number, cidr) in ["100.64.0.0/10", "8.0.0.0/8", "fc00::/7", "2001:db8::/32"].iter().enumerate() {
            run(&format!("SELECT nebula.populate_pool('{project}', '{cidr}', 'good {number}')"));
        }
        assert_invariants();
    }

    #[pg_test]
    fn pools_of_the_other_family_fit_and_hide_no_endpoint() {
        let project = text("SELECT nebula.create_project('home', '10.42.0.0/16')");
        let pool =
            |cidr: &str, name: &str| format!("SELECT nebula.populate_pool('{project}', '{cidr}', '{name}')");
        run(&pool("10.42.0.0/24", "default"));
        assert_error(&pool("10.43.0.0/24", "outside"), "22023", &["10.43.0.0/24", "outside the overlay"]);
        run(&pool("fd42::/64", "six"));
        run(&format!(
            "INSERT INTO nebula.device (device_id, project_id, name, role, endpoints, curve, public_key)
             VALUES ('{}', '{project}', 'lh', 'lighthouse', '{{[fd77::1]:4242}}', '25519',
                     decode(repeat('01', 32), 'hex'))",
            device(1)
        ));
        run(&format!("SELECT nebula.allocate_dual('{project}', '{}')", device(1)));
        run(&format!("SELECT nebula.add_route('{project}', 'fd78::/64', '{}')", device(1)));
        assert_error(&pool("fd77::/64", "b"), "22023", &["endpoint [fd77::1]:4242", "\"lh\""]);
        assert_error(&pool("fd78::/48", "c"), "22023", &["route to fd78::/64"]);
        let grow = format!("SELECT nebula.extend_pool('{project}', 'six', 'fd00::/8')");
        assert_error(&grow, "22023", &["fd00::/8"]);
        run(&pool("fd79::/64", "d"));
        assert_invariants();
    }

    #[pg_test]
    fn no_route_takes_devices_off_the_internet() {
        let project = text("SELECT nebula.create_project('routes')");
        for (cidr, name) in [("10.61.0.0/24", "a"), ("10.62.0.0/24", "b"), ("fd61::/64", "six")] {
            run(&format!("SELECT nebula.populate_pool('{project}', '{cidr}', '{name}')"));
        }
        let router = device(1);
        run(&format!(
            "INSERT INTO nebula.device (device_id, project_id, name, role, endpoints, curve, public_key)
             VALUES ('{router}', '{project}', 'router', 'host', '{{203.0.113.9:4242}}', '25519',
                     decode(repeat('01', 32), 'hex')),
                    ('{}', '{project}', 'lh', 'lighthouse',
                     '{{lh.example.net:4242,192.0.2.10:4242,[2001:db8::1]:4242}}', '25519',
                     decode(repeat('02', 32), 'hex'))",
            device(2)
        ));
        run(&format!("SELECT nebula.allocate_dual('{project}', '{router}')"));
        let route = |network: &str| format!("SELECT nebula.add_route('{project}', '{network}', '{router}')");
        for network in NOT_FOR_DEVICES {
            assert_error(&route(network), "22023", &[]);
        }
        for network in ["192.0.2.0/24", "192.0.0.0/8", "192.0.2.10/32", "2001:db8::/32"] {
            assert_error(&route(network), "22023", &["endpoint", "\"lh\""]);
        }
        for network in ["10.61.0.0/24", "10.61.0.0/16", "10.62.0.0/24", "10.62.0.8/29", "fd61::8/125"] {
            assert_error(&route(network), "22023", &[network, "overlay"]);
        }
        for network in ["10.0.0.0/8", "192.168.7.0/24", "203.0.113.0/24", "fd00::/8", "2001:db9::/32"] {
            run(&route(network));
        }
    }

    #[pg_test]
    fn the_same_range_may_exist_in_two_projects() {
        for name in ["one", "two"] {
            let project = text(&format!("SELECT nebula.create_project('{name}')"));
            assert_eq!(text(&format!("SELECT nebula.populate_pool('{project}', '10.0.0.0/24')")), "254");
            assert_eq!(allocate(&project, u32::from(name == "two")), "10.0.0.1/32");
        }
        assert_invariants();
    }

    #[pg_test]
    fn create_project_refuses_bad_names_and_ranges() {
        run("SELECT nebula.create_project('home')");
        assert_error("SELECT nebula.create_project('home')", "23505", &["home"]);
        assert_error("SELECT nebula.create_project('')", "22023", &["project name"]);
        assert_error("SELECT nebula.create_project('-x')", "22023", &["-x"]);
        assert_error("SELECT nebula.create_project('x', '10.0.0.1/8')", "22023", &["10.0.0.1/8"]);
        assert_error("SELECT nebula.create_project(null)", "22023", &["name"]);
        assert_eq!(
            text(
                "SELECT cidr FROM nebula.project
                   WHERE project_id = nebula.create_project('Heim 2', '10.0.0.0/8')"
            ),
            "null"
        );
        assert_invariants();
    }

    #[pg_test]
    fn usage_adds_up_to_the_size() {
        let project = project("10.0.0.0/28");
        run(&format!("SELECT nebula.populate_pool('{project}', 'fd00::/64', 'six', true)"));
        for number in 0..5 {
            allocate(&project, number);
        }
        run(&format!("SELECT nebula.release_ip('{}')", device(0)));
        run(&format!(
            "INSERT INTO nebula.allocation (project_id, pool_id, ip, device_id, released_at, quarantined_until)
             SELECT project_id, pool_id, '10.0.0.9', '{}', now(), now() + interval '1 day' FROM nebula.pool
               WHERE name = 'default'",
            device(8)
        ));
        let usage = format!(
            "SELECT u::text
               FROM (SELECT size, reserved, allocated, quarantined, free FROM nebula.pool_usage('{project}')
                 ORDER BY pool_id LIMIT 1) u"
        );
        assert_eq!(text(&usage), "(16,2,4,1,9)");
        assert_eq!(
            text(&format!(
                "SELECT bool_and(free + reserved + allocated + quarantined = size)
                   FROM nebula.pool_usage('{project}')"
            )),
            "true"
        );
        assert_eq!(text("SELECT count(*) FROM nebula.nebula_ip_pool WHERE pool = 'default'"), "14");
        assert_eq!(
            text("SELECT count(*) FROM nebula.nebula_ip_pool WHERE pool = 'default' AND is_allocated"),
            "5"
        );
        assert_error(&format!("SELECT * FROM nebula.pool_usage('{}')", device(7)), "P0002", &[&device(7)]);
        assert_invariants();
    }

    #[pg_test]
    fn the_forecast_extrapolates_the_growth_of_the_last_day() {
        let project = project("10.0.0.0/24");
        let forecast = format!("SELECT exhausted_at_forecast FROM nebula.pool_usage('{project}')");
        assert_eq!(text(&forecast), "null");
        for number in 0..4 {
            allocate(&project, number);
        }
        // 4 a day, 250 left.
        assert_eq!(
            text(&format!("SELECT round(extract(epoch FROM ({forecast}) - now()) / 86400, 1)")),
            "62.5"
        );
        run("UPDATE nebula.allocation SET allocated_at = now() - interval '2 days'");
        assert_eq!(text(&forecast), "null");
        assert_invariants();
    }
}
