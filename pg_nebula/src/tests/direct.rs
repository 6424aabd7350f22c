use pgrx::prelude::*;

/// Direct writes run, or leave to SQL, what an administrator has added to a table.
#[pg_schema]
mod tests {
    use crate::tests::{allocate, assert_error, assert_invariants, attempt, device, project, run, text};
    use pgrx::prelude::*;

    const BATCH: &str = "ARRAY(SELECT md5(n::text)::uuid FROM generate_series(1, 20) n)";

    #[pg_test]
    fn added_triggers_fire() {
        let project = project("10.0.0.0/24");
        allocate(&project, 1);
        run("CREATE TABLE public.seen (ip inet);
             CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN INSERT INTO public.seen VALUES (NEW.ip); RETURN NEW; END $$;
             CREATE TRIGGER see AFTER INSERT ON nebula.allocation FOR EACH ROW EXECUTE FUNCTION public.see();
             CREATE FUNCTION public.miss() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN DELETE FROM public.seen WHERE ip = OLD.ip; RETURN OLD; END $$;
             CREATE TRIGGER miss BEFORE DELETE ON nebula.allocation
               FOR EACH ROW EXECUTE FUNCTION public.miss()");
        allocate(&project, 2);
        run(&format!("SELECT nebula.allocate_ips('{project}', {BATCH})"));
        assert_eq!(text("SELECT count(*) FROM public.seen"), "21");
        let release = |number| run(&format!("SELECT nebula.release_ip('{}')", device(number)));
        release(1);
        release(2);
        assert_eq!(text("SELECT count(*) FROM public.seen"), "20");
        run("DROP TRIGGER see ON nebula.allocation; DROP TRIGGER miss ON nebula.allocation");
        allocate(&project, 3);
        release(3);
        assert_eq!(text("SELECT count(*) FROM public.seen"), "20");
        assert_eq!(text("SELECT count(*) FROM nebula.allocation_log"), "3");
        assert_invariants();
    }

    #[pg_test]
    fn added_check_constraints_hold() {
        let project = project("10.0.0.0/24");
        allocate(&project, 1);
        run(
            "ALTER TABLE nebula.allocation ADD CONSTRAINT odd CHECK (allocated_by <> 'nobody');
             CREATE OR REPLACE FUNCTION pg_temp.sqlstate(statement text) RETURNS text LANGUAGE plpgsql AS
               $$ BEGIN EXECUTE statement; RETURN 'done'; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END $$",
        );
        let sqlstate = |call: &str| text(&format!("SELECT pg_temp.sqlstate($q$SELECT {call}$q$)"));
        assert_eq!(sqlstate(&format!("nebula.allocate_ip('{project}', '{}', 'nobody')", device(2))), "23514");
        assert_eq!(sqlstate(&format!("nebula.allocate_ips('{project}', {BATCH}, 'nobody')")), "23514");
        assert_eq!(
            sqlstate(&format!("nebula.allocate_ip('{project}', '{}', 'somebody')", device(2))),
            "done"
        );
        assert_eq!(allocate(&project, 3), "10.0.0.3/32");
        assert_invariants();
    }

    #[pg_test]
    fn added_foreign_keys_hold() {
        let project = project("10.0.0.0/24");
        allocate(&project, 1);
        run(
            "CREATE TABLE public.known (device_id uuid PRIMARY KEY);
             INSERT INTO public.known SELECT device_id FROM nebula.allocation;
             ALTER TABLE nebula.allocation ADD FOREIGN KEY (device_id) REFERENCES public.known;
             CREATE FUNCTION pg_temp.sqlstate(statement text) RETURNS text LANGUAGE plpgsql AS
               $$ BEGIN EXECUTE statement; RETURN 'done'; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END $$",
        );
        let call = format!("SELECT nebula.allocate_ip('{project}', '{}')", device(2));
        assert_eq!(text(&format!("SELECT pg_temp.sqlstate($q${call}$q$)")), "23503");
        run(&format!("INSERT INTO public.known VALUES ('{}')", device(2)));
        run(&call);
        assert_invariants();
    }

    #[pg_test]
    fn added_statement_triggers_and_rules_run() {
        let project = project("10.0.0.0/24");
        allocate(&project, 1);
        run("CREATE TABLE public.seen (what text);
             CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN INSERT INTO public.seen VALUES (TG_TABLE_NAME); RETURN NULL; END $$;
             CREATE TRIGGER see AFTER INSERT ON nebula.job_running EXECUTE FUNCTION public.see();
             CREATE TRIGGER see AFTER INSERT ON nebula.job_finished EXECUTE FUNCTION public.see();
             CREATE RULE see AS ON INSERT TO nebula.allocation_log
               DO ALSO INSERT INTO public.seen VALUES ('allocation_log')");
        run("SELECT nebula.enqueue_job('t', '{}')");
        run("SELECT nebula.complete_job(job_id, attempt) FROM nebula.claim_jobs('w', '{t}')");
        run(&format!("SELECT nebula.release_ip('{}')", device(1)));
        assert_eq!(
            text("SELECT string_agg(what, ' ' ORDER BY what) FROM public.seen"),
            "allocation_log job_finished job_running"
        );
        assert_invariants();
    }

    #[pg_test]
    fn added_indexes_have_an_entry_for_every_row() {
        let project = project("10.0.0.0/24");
        allocate(&project, 1);
        run("CREATE INDEX by_octet ON nebula.allocation ((host(ip)::text)) WHERE allocated_by IS NOT NULL;
             CREATE INDEX by_time ON nebula.allocation USING brin (allocated_at)");
        allocate(&project, 2);
        run(&format!("SELECT nebula.allocate_ips('{project}', {BATCH})"));
        run("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off");
        let found = "SELECT count(*) FROM nebula.allocation
                      WHERE host(ip)::text BETWEEN '10.0.0.0' AND '10.0.0.9999' AND allocated_by IS NOT NULL";
        run("CREATE FUNCTION pg_temp.plan(query text) RETURNS text LANGUAGE plpgsql AS $$
             DECLARE
               line text;
               lines text := '';
             BEGIN
               FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
                 lines := lines || line;
               END LOOP;
               RETURN lines;
             END $$");
        let plan = text(&format!("SELECT pg_temp.plan($q${found}$q$)"));
        assert!(plan.contains("by_octet"), "{plan}");
        assert_eq!(text(found), "22");
        assert_invariants();
    }

    #[pg_test]
    fn a_lease_is_kept_with_the_row() {
        let project = project("10.0.0.0/24");
        allocate(&project, 1);
        run(&format!("SELECT nebula.allocate_ip('{project}', '{}', lease => interval '1 day')", device(2)));
        assert_eq!(
            text("SELECT count(*) FROM nebula.allocation WHERE lease_until = now() + interval '1 day'"),
            "1"
        );
        for lease in ["0", "-1 day", "1 month -31 days"] {
            let call = format!(
                "SELECT nebula.allocate_ip('{project}', '{}', lease => interval '{lease}')",
                device(3)
            );
            assert_error(&call, "22023", &["lease"]);
        }
    }

    #[pg_test]
    fn a_read_only_transaction_writes_nothing() {
        let project = project("10.0.0.0/24");
        allocate(&project, 1);
        run("CREATE OR REPLACE FUNCTION pg_temp.sqlstate(statement text) RETURNS text LANGUAGE plpgsql AS $$
             BEGIN
               SET LOCAL transaction_read_only = on;
               EXECUTE statement;
               RETURN 'done';
             EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE;
             END $$");
        let call = format!("SELECT nebula.allocate_ip('{project}', '{}')", device(2));
        assert_eq!(text(&format!("SELECT pg_temp.sqlstate($q${call}$q$)")), "25006");
        assert_eq!(allocate(&project, 2), "10.0.0.2/32");
        assert_invariants();
    }

    #[pg_test]
    fn a_conflict_leaves_no_row_behind() {
        let project = project("10.0.0.0/24");
        allocate(&project, 1);
        // Without the functions, so that the map does not have it.
        run(&format!(
            "INSERT INTO nebula.allocation (project_id, pool_id, ip, device_id)
             SELECT '{project}', pool_id, '10.0.0.2', '{}' FROM nebula.pool",
            device(9)
        ));
        assert_eq!(allocate(&project, 2), "10.0.0.3/32");
        assert_eq!(allocate(&project, 9), "10.0.0.2/32");
        run(&format!(
            "INSERT INTO nebula.allocation (project_id, pool_id, ip, device_id)
             SELECT '{project}', pool_id, '10.0.0.10', '{}' FROM nebula.pool",
            device(10)
        ));
        run(&format!("SELECT nebula.allocate_ips('{project}', {BATCH})"));
        assert_eq!(text("SELECT count(*) || ' ' || count(DISTINCT ip) FROM nebula.allocation"), "24 24");
        assert_invariants();
    }

    #[pg_test]
    fn an_index_of_another_table_is_not_read() {
        run("SET LOCAL nebula.direct_writes = on");
        let project = project("10.0.0.0/24");
        // Before this session reads the table's list of indexes: a new name alone does not make it read that
        // again.
        run("ALTER INDEX nebula.allocation_device_key RENAME TO renamed;
             CREATE TABLE nebula.other (device_id uuid);
             CREATE INDEX allocation_device_key ON nebula.other (device_id)");
        // The general path, because the pools are not cached yet; it does not read that index.
        allocate(&project, 1);
        let call = format!("SELECT nebula.allocate_ip('{project}', '{}')", device(2));
        assert_error(&call, "XX000", &["index"]);
    }

    /// Each pass is a subtransaction, at whose end the server warns of what is still pinned; `pg::leak_check`
    /// notices.
    #[pg_test]
    fn index_entries_leave_no_buffer_pinned() {
        let project = project("10.0.0.0/24");
        run(&format!(
            "DO $$
             DECLARE
               job bigint;
             BEGIN
               FOR n IN 1 .. 1000 LOOP
                 BEGIN
                   PERFORM nebula.allocate_ip('{project}', '{device}');
                   PERFORM nebula.release_ip('{device}');
                   PERFORM nebula.enqueue_job('t', '{{}}');
                   SELECT c.job_id INTO job FROM nebula.claim_jobs('w', '{{t}}') c;
                   PERFORM nebula.complete_job(job, 1);
                 EXCEPTION WHEN division_by_zero THEN
                   NULL;
                 END;
               END LOOP;
             END $$",
            device = device(1)
        ));
        assert_eq!(text("SELECT count(*) FROM nebula.allocation_log"), "1000");
        assert_eq!(text("SELECT count(*) FROM nebula.job_finished"), "1000");
        assert_invariants();
    }

    #[pg_test]
    fn a_row_that_a_trigger_drops_is_an_error_that_says_so() {
        let project = project("10.0.0.0/24");
        allocate(&project, 1);
        run("CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON nebula.allocation
               FOR EACH ROW EXECUTE FUNCTION public.refuse();
             SET LOCAL statement_timeout = '20 s'");
        for call in [
            format!("SELECT nebula.allocate_ip('{project}', '{}')", device(2)),
            format!("SELECT nebula.allocate_ip('{project}', '{}', address => '10.0.0.9')", device(2)),
            format!("SELECT nebula.allocate_ips('{project}', {BATCH})"),
        ] {
            let [sqlstate, message, hint] = attempt(&call);
            assert_eq!(sqlstate, "XX000", "{call}: {message}");
            assert!(message.contains("10.0.0.") && hint.contains("trigger"), "{call}: {message} {hint}");
        }
        // A device that holds an address gets the same one.
        assert_eq!(allocate(&project, 1), "10.0.0.1/32");
        run("DROP TRIGGER refuse ON nebula.allocation");
        assert_eq!(allocate(&project, 2), "10.0.0.2/32");
        assert_invariants();
    }

    #[pg_test]
    fn rows_of_tables_that_inherit_are_found_and_changed() {
        let call = "SELECT coalesce(string_agg(job_id::text, ' ' ORDER BY job_id), 'none')
                      FROM nebula.claim_jobs('w', '{t}', 9)";
        run("SELECT nebula.enqueue_job('t', '1')");
        assert_eq!(text("SELECT count(*) FROM nebula.claim_jobs('w', '{t}', 9)"), "1");
        run("CREATE TABLE nebula.more_waiting () INHERITS (nebula.job_waiting);
             CREATE TABLE nebula.more_running () INHERITS (nebula.job_running);
             CREATE TABLE nebula.more_dependencies () INHERITS (nebula.job_dependency)");
        run("SELECT nebula.enqueue_job('t', '2')");
        run("WITH moved AS (DELETE FROM ONLY nebula.job_waiting RETURNING *)
             INSERT INTO nebula.more_waiting SELECT * FROM moved");
        let job = text("SELECT job_id FROM nebula.more_waiting");
        assert_eq!(text(call), job);
        run("WITH moved AS (DELETE FROM ONLY nebula.job_running RETURNING *)
             INSERT INTO nebula.more_running SELECT * FROM moved");
        assert_eq!(text(&format!("SELECT nebula.heartbeat_job({job}, 1, 0.5)")), "continue");
        run(&format!(
            "SELECT nebula.enqueue_job('t', '3', depends_on => ARRAY[{job}]);
             WITH moved AS (DELETE FROM ONLY nebula.job_dependency RETURNING *)
             INSERT INTO nebula.more_dependencies SELECT * FROM moved"
        ));
        run(&format!("SELECT nebula.complete_job({job}, 1)"));
        assert_ne!(text(call), "none", "the child is released");
    }
}
