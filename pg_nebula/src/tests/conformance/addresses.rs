use pgrx::prelude::*;

/// The store of addresses.
#[pg_schema]
mod tests {
    use crate::tests::conformance::{Observation, Steps, assert_same};
    use crate::tests::{allocate, assert_invariants, certify, device, project, register, run, text};
    use pgrx::prelude::*;

    /// All rows that allocations and releases write. Times are those of the transaction, hence the same in
    /// both runs.
    const ROWS: [&str; 4] = [
        "SELECT * FROM nebula.allocation",
        "SELECT * FROM nebula.allocation_log",
        "SELECT name, config_version FROM nebula.project",
        "SELECT problem, ip, detail FROM nebula.check_pool()",
    ];

    #[track_caller]
    fn assert_same_rows(steps: &Steps, expected_writes: u64) -> Observation {
        let observed = assert_same(steps, &ROWS, expected_writes);
        assert_invariants();
        observed
    }

    /// A project of which this session has cached the pools, because device 1 holds an address; without that
    /// no allocation takes the fast path.
    fn warm_project(cidr: &str) -> String {
        let project = project(cidr);
        allocate(&project, 1);
        project
    }

    fn ask(project: &str, number: u32, rest: &str) -> String {
        format!("SELECT nebula.allocate_ip('{project}', '{}'{rest})", device(number))
    }

    fn release(number: u32, rest: &str) -> String {
        format!("SELECT nebula.release_ip('{}'{rest})", device(number))
    }

    fn batch(project: &str, from: u32, to: u32, rest: &str) -> String {
        format!(
            "SELECT string_agg(host(ip), ' ') FROM nebula.allocate_ips('{project}', ARRAY(
               SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid
                 FROM generate_series({from}, {to}) n){rest})"
        )
    }

    #[pg_test]
    fn one_address_at_a_time() {
        let project = warm_project("10.0.0.0/29");
        let other = text("SELECT nebula.create_project('other')");
        run(&format!("SELECT nebula.populate_pool('{other}', '10.0.0.0/29')"));
        let observed = assert_same_rows(
            &vec![
                ask(&project, 2, ""),
                ask(&project, 2, ""),
                ask(&project, 3, ", 'anna', lease => '1 month 2 days', client => '192.0.2.7'"),
                ask(&project, 4, ", address => '10.0.0.5'"),
                ask(&project, 5, ", address => '10.0.0.5'"),
                ask(&project, 5, ", pool => 'default'"),
                ask(&project, 5, ", lease => '-1 s'"),
                ask(&other, 5, ""),
                ask(&project, 6, ""),
                ask(&project, 7, ""),
                ask(&project, 8, ""),
            ],
            3,
        );
        assert_eq!(observed[0], "10.0.0.2/32");
        assert!(observed[10].starts_with("53400 "), "{}", observed[10]);
    }

    #[pg_test]
    fn both_families() {
        let project = project("10.0.0.0/28");
        run(&format!("SELECT nebula.populate_pool('{project}', 'fd00::/64', 'six')"));
        allocate(&project, 1);
        assert_same_rows(
            &vec![
                ask(&project, 2, ", family => 6"),
                ask(&project, 2, ""),
                format!("SELECT count(*) FROM nebula.allocate_dual('{project}', '{}', 'dual')", device(3)),
                release(3, ", address => 'fd00::2'"),
                release(2, ""),
                release(3, ""),
                batch(&project, 2, 4, ", family => 6"),
                batch(&project, 2, 4, ""),
            ],
            2,
        );
    }

    #[pg_test]
    fn many_addresses_at_once() {
        let project = warm_project("10.0.0.0/28");
        run(&format!("SELECT nebula.populate_pool('{project}', '10.0.1.0/29', 'second')"));
        allocate(&project, 1);
        certify(&project, 2, "10.0.0.2");
        assert_same_rows(
            &vec![
                batch(&project, 1, 5, ", 'importer', client => '192.0.2.7'"),
                batch(&project, 1, 5, ""),
                release(2, ""),
                release(3, ""),
                batch(&project, 2, 8, ", lease => '1 hour'"),
                batch(&project, 10, 40, ""),
                batch(&project, 10, 16, ""),
            ],
            4,
        );
    }

    /// The map does not know of rows that are inserted by hand, so that inserts conflict with them.
    #[pg_test]
    fn conflicts_with_rows_inserted_by_hand() {
        let project = warm_project("10.0.0.0/27");
        let by_hand = |number: u32, ip: &str| {
            format!(
                "INSERT INTO nebula.allocation (project_id, pool_id, ip, device_id)
                 SELECT '{project}', pool_id, '{ip}', '{}' FROM nebula.pool",
                device(number)
            )
        };
        let observed = assert_same_rows(
            &vec![
                by_hand(90, "10.0.0.2"),
                ask(&project, 2, ""),
                by_hand(91, "10.0.0.6"),
                batch(&project, 3, 6, ""),
                ask(&project, 90, ""),
                batch(&project, 90, 93, ""),
                by_hand(94, "10.0.0.20"),
                release(94, ""),
            ],
            4,
        );
        assert_eq!(observed[1], "10.0.0.3/32");
    }

    #[pg_test]
    fn releases() {
        let project = warm_project("10.0.0.0/28");
        let observed = assert_same_rows(
            &vec![
                ask(&project, 2, ", 'anna', client => '192.0.2.7'"),
                release(2, ", 'ben', client => '192.0.2.8'"),
                release(2, ""),
                release(3, ""),
                ask(&project, 4, ", lease => '1 hour'"),
                "UPDATE nebula.allocation SET lease_until = now() - interval '1 s'
                   WHERE lease_until IS NOT NULL"
                    .into(),
                "SELECT count(*) FROM nebula.reclaim_expired()".into(),
                release(1, ", address => '10.0.0.9'"),
                release(1, ", address => '10.0.0.1'"),
                format!("SELECT nebula.release_nebula_ip_by_device('{}')", device(1)),
                ask(&project, 5, ""),
            ],
            4,
        );
        assert_eq!(observed[10], "10.0.0.1/32");
    }

    #[pg_test]
    fn quarantine() {
        let project = warm_project("10.0.0.0/29");
        for number in 2..=4 {
            let ip = allocate(&project, number);
            certify(&project, number, ip.trim_end_matches("/32"));
        }
        run(&format!(
            "UPDATE nebula.certificate
           SET not_before = now() - interval '2 days', not_after = now() - interval '1 s'
               WHERE device_id = '{}'",
            device(4)
        ));
        let observed = assert_same_rows(
            &vec![
                release(2, ""),
                release(3, ""),
                release(4, ""),
                ask(&project, 5, ""),
                ask(&project, 6, ", address => '10.0.0.2'"),
                ask(&project, 2, ""),
                format!(
                    "UPDATE nebula.allocation SET quarantined_until = now() - interval '1 s'
                       WHERE device_id = '{}'",
                    device(3)
                ),
                ask(&project, 7, ""),
                batch(&project, 8, 9, ""),
            ],
            2,
        );
        assert_eq!(observed[7], "10.0.0.3/32");
    }

    #[pg_test]
    fn static_hosts() {
        let project = warm_project("10.0.0.0/28");
        register(&project, 1, "relay");
        register(&project, 2, "host");
        register(&project, 3, "host");
        allocate(&project, 2);
        run(&format!("SELECT nebula.add_route('{project}', '192.168.7.0/24', '{}')", device(2)));
        let observed = assert_same_rows(
            &vec![
                "SELECT config_version FROM nebula.project".into(),
                release(1, ""),
                ask(&project, 1, ""),
                ask(&project, 2, ""),
                ask(&project, 3, ""),
                release(3, ""),
                release(2, ""),
                batch(&project, 1, 3, ""),
                "SELECT config_version FROM nebula.project".into(),
                format!("UPDATE nebula.device SET role = 'host' WHERE device_id = '{}'", device(1)),
                "SELECT config_version FROM nebula.project".into(),
                release(1, ""),
                "SELECT config_version FROM nebula.project".into(),
            ],
            3,
        );
        assert_ne!(observed[0], observed[8], "a static host raises it");
        assert_eq!(observed[10], observed[12], "device 1 is a host by then");
    }

    #[pg_test]
    fn ranges_of_groups_and_exclusions() {
        let project = warm_project("10.0.0.0/28");
        run(&format!("SELECT nebula.exclude_addresses('{project}', 'printers', '10.0.0.2', '10.0.0.4')"));
        allocate(&project, 1);
        assert_same_rows(
            &vec![
                ask(&project, 2, ""),
                batch(&project, 3, 4, ""),
                ask(&project, 5, ", address => '10.0.0.3'"),
                format!("SELECT host(first) FROM nebula.reserve_range('{project}', 'cameras', 2)"),
                ask(&project, 5, ", label => 'cameras'"),
                batch(&project, 6, 8, ", label => 'cameras'"),
                release(5, ""),
                ask(&project, 9, ", label => 'camera'"),
                ask(&project, 9, ", label => 'cameras'"),
            ],
            2,
        );
    }

    /// Direct writes run neither triggers nor rules, and report no violated constraint: SQL must do that
    /// work.
    #[pg_test]
    fn tables_with_triggers_rules_and_constraints() {
        let project = warm_project("10.0.0.0/28");
        run("CREATE TABLE public.seen (word text);
             CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN
                 INSERT INTO public.seen VALUES (TG_OP || TG_RELID::regclass);
                 RETURN coalesce(NEW, OLD);
               END $$");
        let calls = vec![
            ask(&project, 2, ""),
            batch(&project, 3, 5, ", 'anna'"),
            ask(&project, 6, ", 'nobody'"),
            batch(&project, 6, 7, ", 'nobody'"),
            release(2, ""),
            release(3, ", 'nobody'"),
        ];
        for (change, expected_writes) in [
            (
                "CREATE TRIGGER a AFTER INSERT OR DELETE ON nebula.allocation FOR EACH ROW
                   EXECUTE FUNCTION public.see()",
                0,
            ),
            (
                "CREATE TRIGGER b BEFORE INSERT ON nebula.allocation_log FOR EACH STATEMENT
                   EXECUTE FUNCTION public.see()",
                3,
            ),
            (
                "CREATE RULE c AS ON INSERT TO nebula.allocation_log DO ALSO INSERT INTO public.seen
                   VALUES ('rule')",
                3,
            ),
            ("ALTER TABLE nebula.allocation ADD CONSTRAINT d CHECK (allocated_by <> 'nobody')", 3),
            ("ALTER TABLE nebula.allocation_log ADD CONSTRAINT e CHECK (released_by <> 'nobody')", 3),
            (
                "ALTER TABLE nebula.allocation ADD CONSTRAINT f UNIQUE (allocated_by, ip) DEFERRABLE INITIALLY DEFERRED",
                0,
            ),
        ] {
            let mut steps = vec![change.to_owned()];
            steps.extend(calls.clone());
            let mut queries = ROWS.to_vec();
            queries.push("SELECT * FROM public.seen");
            assert_same(&steps, &queries, expected_writes);
        }
        assert_invariants();
    }

    #[pg_test]
    fn linked_tables_follow() {
        let project = warm_project("10.0.0.0/28");
        run(&format!("SELECT nebula.populate_pool('{project}', 'fd00::/64', 'six')"));
        run("CREATE TABLE public.user_devices (id uuid PRIMARY KEY, nebula_ip inet)");
        for number in 1..=5 {
            run(&format!("INSERT INTO public.user_devices VALUES ('{}')", device(number)));
        }
        run("SELECT nebula.link_device_table('public.user_devices')");
        allocate(&project, 1);
        let steps = vec![
            ask(&project, 2, ""),
            batch(&project, 2, 4, ""),
            ask(&project, 5, ", family => 6"),
            format!("SELECT count(*) FROM nebula.allocate_dual('{project}', '{}')", device(2)),
            release(2, ", address => '10.0.0.2'"),
            release(3, ""),
        ];
        let mut queries = ROWS.to_vec();
        queries.push("SELECT * FROM public.user_devices");
        assert_same(&steps, &queries, 3);
        assert_invariants();
    }

    #[pg_test]
    fn subtransactions_that_are_rolled_back() {
        let project = warm_project("10.0.0.0/28");
        let undone = |call: &str| {
            format!(
                "DO $$ BEGIN PERFORM {}; RAISE 'undo'; EXCEPTION WHEN raise_exception THEN END $$",
                call.strip_prefix("SELECT ").expect("a call")
            )
        };
        let observed = assert_same_rows(
            &vec![
                undone(&ask(&project, 2, "")),
                ask(&project, 3, ""),
                undone(&release(3, "")),
                release(3, ""),
                undone(&batch(&project, 4, 6, "")),
                batch(&project, 7, 8, ""),
            ],
            5,
        );
        assert_eq!(observed[5], "10.0.0.2 10.0.0.3");
    }

    #[pg_test]
    fn callers_with_no_privilege_but_execute() {
        let project = warm_project("10.0.0.0/28");
        run("CREATE ROLE service; GRANT USAGE ON SCHEMA nebula TO service;
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA nebula TO service");
        assert_same_rows(
            &vec![
                "SET LOCAL ROLE service".into(),
                ask(&project, 2, ""),
                ask(&project, 2, ""),
                batch(&project, 3, 5, ""),
                release(2, ""),
                release(2, ""),
                release(9, ""),
                "RESET ROLE".into(),
            ],
            4,
        );
    }
}
