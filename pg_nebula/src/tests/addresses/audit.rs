use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::{allocate, assert_error, assert_invariants, device, project, run, text};
    use pgrx::prelude::*;

    #[pg_test]
    fn history_records_who_allocated_and_released_and_from_where() {
        let project = project("10.0.0.0/24");
        run(&format!(
            "SELECT nebula.allocate_ip('{project}', '{}', 'anna', client => '192.0.2.7')",
            device(1)
        ));
        run(&format!("SELECT nebula.release_ip('{}', 'ben', client => '192.0.2.8')", device(1)));
        assert_eq!(
            text(
                "SELECT concat_ws(' ', host(ip), allocated_by, host(allocated_from), released_by,
                                  host(released_from))
                   FROM nebula.allocation_history"
            ),
            "10.0.0.1 anna 192.0.2.7 ben 192.0.2.8"
        );
        assert_invariants();
    }

    /// Even with all table privileges, and through functions of the owner.
    #[pg_test]
    fn logs_are_changed_by_administrators_only() {
        let project = project("10.0.0.0/24");
        allocate(&project, 1);
        run(&format!("SELECT nebula.release_ip('{}')", device(1)));
        run("CREATE ROLE service LOGIN; GRANT USAGE ON SCHEMA nebula TO service;
             GRANT ALL ON ALL TABLES IN SCHEMA nebula TO service;
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA nebula TO service;
             CREATE FUNCTION public.wipe() RETURNS void
               LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM nebula.allocation_log';
             SET SESSION AUTHORIZATION service");
        for change in [
            "UPDATE nebula.allocation_log SET released_by = 'nobody'",
            "DELETE FROM nebula.allocation_log",
            "TRUNCATE nebula.allocation_log",
            "SELECT public.wipe()",
        ] {
            assert_error(change, "42501", &["service", "allocation_log"]);
        }
        assert_error("DELETE FROM nebula.event", "42501", &["service", "event"]);
        // Allocations and releases still append to the log.
        allocate(&project, 2);
        run(&format!("SELECT nebula.release_ip('{}')", device(2)));
        run("RESET SESSION AUTHORIZATION");
        assert_eq!(text("SELECT count(*) FROM nebula.allocation_log"), "2");
        assert_eq!(
            text(&format!("SELECT released_by FROM nebula.allocation_log WHERE device_id = '{}'", device(2))),
            "service"
        );
        run("DELETE FROM nebula.allocation_log");
        assert_invariants();
    }
}
