use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::{allocate, assert_invariants, certify, device, project, run, text};
    use pgrx::prelude::*;

    fn found(repair: bool) -> String {
        text(&format!(
            "SELECT string_agg(concat_ws(' ', problem, host(ip), repaired), ', ' ORDER BY problem, ip)
               FROM nebula.check_pool(repair => {repair})"
        ))
    }

    #[pg_test]
    fn ordinary_work_leaves_nothing_to_report() {
        let project = project("10.0.0.0/24");
        for number in 1..=3 {
            let ip = allocate(&project, number);
            certify(&project, number, ip.trim_end_matches("/32"));
        }
        run(&format!("SELECT nebula.release_ip('{}')", device(2)));
        run(&format!("SELECT nebula.exclude_addresses('{project}', 'x', '10.0.0.9')"));
        assert_eq!(found(false), "null");
        assert_invariants();
    }

    #[pg_test]
    fn quarantine_is_compared_with_certificates() {
        let project = project("10.0.0.0/24");
        for number in 1..=4 {
            let ip = allocate(&project, number);
            certify(&project, number, ip.trim_end_matches("/32"));
            run(&format!("SELECT nebula.release_ip('{}')", device(number)));
        }
        // 1: no quarantine; 2: too short; 3: no valid certificate; 4: assigned to another device.
        run("DELETE FROM nebula.allocation WHERE ip = '10.0.0.1'");
        run("UPDATE nebula.allocation SET quarantined_until = now() + interval '1 hour'
               WHERE ip = '10.0.0.2'");
        run(&format!(
            "UPDATE nebula.certificate SET revoked_at = now(), revoked_everywhere_at = now()
               WHERE device_id = '{}'",
            device(3)
        ));
        run(&format!(
            "UPDATE nebula.allocation SET device_id = '{}', released_at = NULL, quarantined_until = NULL
               WHERE ip = '10.0.0.4'",
            device(9)
        ));
        assert_eq!(
            found(false),
            "certificate-conflict 10.0.0.4 f, quarantine-groundless 10.0.0.3 f, \
             quarantine-missing 10.0.0.1 f, quarantine-missing 10.0.0.2 f"
        );
        assert_eq!(
            found(true),
            "certificate-conflict 10.0.0.4 f, quarantine-groundless 10.0.0.3 t, \
             quarantine-missing 10.0.0.1 t, quarantine-missing 10.0.0.2 t"
        );
        assert_eq!(found(false), "certificate-conflict 10.0.0.4 f");
        assert_eq!(text("SELECT quarantined FROM nebula.pool_usage()"), "2");
        assert_invariants();
    }

    #[pg_test]
    fn rows_outside_the_assignable_range_are_reported() {
        let project = project("10.0.0.0/24");
        let pool = text("SELECT pool_id FROM nebula.pool");
        for (number, ip) in [(1, "10.0.0.255"), (2, "10.0.1.1"), (3, "10.0.0.9")] {
            run(&format!(
                "INSERT INTO nebula.allocation (project_id, pool_id, ip, device_id)
                   VALUES ('{project}', {pool}, '{ip}', '{}')",
                device(number)
            ));
        }
        run(&format!(
            "INSERT INTO nebula.reservation (project_id, label, pool_id, first_ip, last_ip, for_group)
             VALUES ('{project}', 'x', {pool}, '10.0.0.8', '10.0.0.11', false)"
        ));
        assert_eq!(found(true), "misplaced 10.0.0.9 f, misplaced 10.0.0.255 f, misplaced 10.0.1.1 f");
    }

    #[pg_test]
    fn devices_that_hold_addresses_in_two_projects_are_reported() {
        let project = project("10.0.0.0/24");
        allocate(&project, 1);
        let other = text("SELECT nebula.create_project('other')");
        run(&format!("SELECT nebula.populate_pool('{other}', 'fd00::/120')"));
        run(&format!(
            "INSERT INTO nebula.allocation (project_id, pool_id, ip, device_id)
             SELECT project_id, pool_id, 'fd00::7', '{}' FROM nebula.pool WHERE project_id = '{other}'",
            device(1)
        ));
        assert_eq!(found(true), "two-projects 10.0.0.1 f, two-projects fd00::7 f");
        let detail = text(&format!("SELECT detail FROM nebula.check_pool('{project}')"));
        assert!(detail.contains("fd00::7") && detail.contains(&other), "{detail}");
    }
}
