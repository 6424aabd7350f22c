use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::{allocate, assert_error, assert_invariants, certify, device, project, run, text};
    use pgrx::prelude::*;

    /// A project whose first address waits for the certificate of device 1.
    fn waiting() -> String {
        let project = project("10.0.0.0/29");
        allocate(&project, 1);
        certify(&project, 1, "10.0.0.1");
        run(&format!("SELECT nebula.release_ip('{}')", device(1)));
        assert_eq!(text("SELECT quarantined FROM nebula.pool_usage()"), "1");
        assert_invariants();
        project
    }

    #[pg_test]
    fn ending_a_quarantine_needs_a_reason_and_is_recorded() {
        let project = waiting();
        assert_error(
            &format!("SELECT nebula.end_quarantine('{project}', '10.0.0.1', ' ')"),
            "22023",
            &["reason"],
        );
        assert_error(
            &format!("SELECT nebula.end_quarantine('{project}', '10.0.0.2', 'x')"),
            "P0002",
            &["10.0.0.2"],
        );
        let end = format!("SELECT nebula.end_quarantine('{project}', '10.0.0.1', 'laptop was destroyed')");
        assert_eq!(text(&end), device(1));
        assert_eq!(
            text("SELECT detail ->> 'reason' FROM nebula.event_log WHERE action = 'end-quarantine'"),
            "laptop was destroyed"
        );
        assert_eq!(text("SELECT quarantined || ' ' || free FROM nebula.pool_usage()"), "0 6");
        assert_invariants();
        assert_eq!(text("SELECT count(*) FROM nebula.check_pool()"), "0");
        assert_eq!(allocate(&project, 2), "10.0.0.1/32");
        assert_invariants();
    }

    #[pg_test]
    fn a_quarantine_can_be_ended_by_name() {
        waiting();
        assert_error("SELECT * FROM nebula.end_quarantine_of('proof', 'd2', 'x')", "P0002", &["d2"]);
        assert_eq!(text("SELECT nebula.end_quarantine_of('proof', 'd1', 'sold')"), "10.0.0.1/32");
        assert_eq!(text("SELECT count(*) FROM nebula.quarantine_status"), "0");
        assert_invariants();
    }
}
