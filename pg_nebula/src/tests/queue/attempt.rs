use pgrx::prelude::*;

/// Heartbeats and ends of attempts: triggers, constraints and columns that an administrator has added to the
/// tables count, also for direct writes.
#[pg_schema]
mod tests {
    use super::super::{claim, enqueue, state};
    use crate::tests::{error_of, run, text};
    use pgrx::prelude::*;

    /// A running job with a capability.
    fn running() -> String {
        let job = enqueue("'t', '{\"n\": 1}', priority => 3, capability => 'gpu'");
        assert_eq!(claim("'{t}', capabilities => '{gpu}'"), job);
        job
    }

    /// The operations that a trigger sees during a call.
    fn seen(trigger: &str, call: impl Fn(&str) -> String) -> String {
        run("CREATE TABLE IF NOT EXISTS public.seen (what text);
             CREATE OR REPLACE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN INSERT INTO public.seen VALUES (TG_OP); RETURN coalesce(NEW, OLD); END $$");
        let job = running();
        run(&format!("CREATE TRIGGER see {trigger} EXECUTE FUNCTION public.see()"));
        run(&format!("SELECT nebula.{}", call(&job)));
        let seen = text("SELECT string_agg(what, ' ') FROM public.seen");
        let table = trigger.split(' ').find(|word| word.starts_with("nebula.")).unwrap_or_default();
        run(&format!("TRUNCATE public.seen; DROP TRIGGER see ON {table}"));
        run("DELETE FROM nebula.job_waiting; DELETE FROM nebula.job_running");
        seen
    }

    #[pg_test]
    fn triggers_fire_for_heartbeats_and_ends() {
        let heartbeat = |job: &str| format!("heartbeat_job({job}, 1, 0.5)");
        let fail = |job: &str| format!("fail_job({job}, 1, 'no')");
        let dead = |job: &str| format!("fail_job({job}, 1, 'no', false)");
        let hand_back = |job: &str| format!("hand_back_job({job}, 1)");
        assert_eq!(seen("BEFORE UPDATE ON nebula.job_running FOR EACH ROW", heartbeat), "UPDATE");
        assert_eq!(seen("AFTER UPDATE ON nebula.job_running", heartbeat), "UPDATE");
        assert_eq!(seen("AFTER INSERT ON nebula.job_waiting FOR EACH ROW", fail), "INSERT");
        assert_eq!(seen("BEFORE DELETE ON nebula.job_running FOR EACH ROW", fail), "DELETE");
        assert_eq!(seen("AFTER INSERT ON nebula.job_finished FOR EACH ROW", dead), "INSERT");
        assert_eq!(seen("AFTER INSERT ON nebula.job_waiting", hand_back), "INSERT");
    }

    #[pg_test]
    fn a_heartbeat_changes_only_lease_progress_and_detail() {
        let job = running();
        run("ALTER TABLE nebula.job_running ADD COLUMN note text, ADD COLUMN number integer DEFAULT 7;
             UPDATE nebula.job_running SET note = 'mine', lease_until = now();
             CREATE INDEX by_lease ON nebula.job_running (lease_until)");
        let others =
            "SELECT (to_jsonb(r) - '{lease_until,progress,detail}'::text[])::text FROM nebula.job_running r";
        let before = text(others);
        run(&format!("SELECT nebula.heartbeat_job({job}, 1, 0.5, '[1]')"));
        run(&format!("SELECT nebula.heartbeat_job({job}, 1)"));
        assert_eq!(text(others), before);
        assert_eq!(text("SELECT progress || ' ' || detail FROM nebula.job_running"), "0.5 [1]");
        run("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off");
        let found = "SELECT job_id FROM nebula.job_running WHERE lease_until > now() + interval '20 s'";
        assert_eq!(text(found), job);
    }

    #[pg_test]
    fn heartbeats_are_hot_updates() {
        let job = running();
        let hot = "SELECT pg_stat_get_xact_tuples_hot_updated('nebula.job_running'::regclass)";
        run(&format!("SELECT nebula.heartbeat_job({job}, 1), nebula.heartbeat_job({job}, 1, 0.5)"));
        assert_eq!(text(hot), "2");
    }

    #[pg_test]
    fn check_constraints_hold_for_heartbeats() {
        let job = running();
        run("ALTER TABLE nebula.job_running ADD CONSTRAINT odd CHECK (progress < 0.5)");
        let error = |progress: &str| error_of(&format!("SELECT nebula.heartbeat_job({job}, 1, {progress})"));
        assert!(error("0.7").starts_with("23514 "), "{}", error("0.7"));
        assert!(error("0.2").starts_with("00000 "), "{}", error("0.2"));
    }

    /// Ends two jobs by a call, one with a trigger on the table, which makes a direct write fall back to SQL;
    /// the rows written must be equal.
    fn assert_same_with_trigger(call: impl Fn(&str) -> String, left_in: &str) -> String {
        let row_after = |with_trigger: bool| {
            let job = running();
            run(&format!("SELECT nebula.heartbeat_job({job}, 1, 0.5, '[1]')"));
            if with_trigger {
                run("CREATE TRIGGER noop BEFORE DELETE ON nebula.job_running FOR EACH ROW
                     EXECUTE FUNCTION public.noop()");
            }
            let answer = text(&format!("SELECT nebula.{}", call(&job)));
            run("DROP TRIGGER IF EXISTS noop ON nebula.job_running");
            let is_now =
                "abs(extract(epoch FROM clock_timestamp() - (errors -> 0 ->> 'at')::timestamptz)) < 60";
            let left = text(&format!(
                "SELECT (to_jsonb(w)
                         - '{{job_id,run_at,started_at,finished_at,enqueued_at,errors}}'::text[])::text
                        || (errors #- '{{0,at}}')::text || ({is_now})::text
                        || (errors -> 0 ->> 'at' LIKE '%+05:30')::text
                   FROM nebula.{left_in} w"
            ));
            run(&format!("DELETE FROM nebula.{left_in}"));
            format!("{answer} {left}")
        };
        run("CREATE OR REPLACE FUNCTION public.noop() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN RETURN OLD; END $$");
        run("SET LOCAL timezone = 'Asia/Kolkata'");
        let row = row_after(false);
        assert_eq!(row, row_after(true));
        row
    }

    #[pg_test]
    fn a_trigger_that_does_nothing_changes_nothing_in_the_rows() {
        let failed =
            assert_same_with_trigger(|job| format!("fail_job({job}, 1, 'no \"way\"')"), "job_waiting");
        assert!(failed.starts_with("available ") && failed.ends_with("truetrue"), "{failed}");
        assert!(
            failed.contains(r#""error": "no \"way\"""#) && failed.contains(r#""ready": false"#),
            "{failed}"
        );
        let dead = assert_same_with_trigger(|job| format!("fail_job({job}, 1, 'no', false)"), "job_finished");
        assert!(dead.starts_with("dead ") && dead.contains(r#""detail": [1]"#), "{dead}");
        let back = assert_same_with_trigger(|job| format!("hand_back_job({job}, 1, 'stop')"), "job_waiting");
        assert!(back.contains(r#""ready": true"#) && back.contains(r#""max_attempts": 6"#), "{back}");
    }

    #[pg_test]
    fn a_job_with_a_cancel_request_is_cancelled_when_it_is_handed_back() {
        for reason in ["NULL", "'stop'"] {
            let job = running();
            run(&format!("SELECT nebula.cancel_job({job})"));
            assert_eq!(text(&format!("SELECT nebula.hand_back_job({job}, 1, {reason})")), "cancelled");
            assert_eq!(state(&job), "cancelled");
        }
        let errors =
            "SELECT string_agg(errors -> 0 ->> 'error', ', ' ORDER BY job_id) FROM nebula.job_finished";
        assert_eq!(text(errors), "handed back, stop");
    }
}
