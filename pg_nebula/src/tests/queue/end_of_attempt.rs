use pgrx::prelude::*;

/// Heartbeats, failures and what is handed back are written below SQL, and whatever an administrator may have added to the
/// tables counts all the same.
#[pg_schema]
mod tests {
    use super::super::{claim, enqueue, state};
    use crate::tests::{run, text};
    use pgrx::prelude::*;

    /// A running job of its own kind.
    fn running() -> String {
        let job = enqueue("'t', '{\"n\": 1}', priority => 3, capability => 'gpu'");
        assert_eq!(claim("'{t}', capabilities => '{gpu}'"), job);
        job
    }

    /// A statement that counts what a trigger of the table saw while `call` was made.
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
    fn triggers_on_ends_fire() {
        let heartbeat = |job: &str| format!("heartbeat_job({job}, 1, 0.5)");
        let fail = |job: &str| format!("fail_job({job}, 1, 'no')");
        let bury = |job: &str| format!("fail_job({job}, 1, 'no', false)");
        let hand_back = |job: &str| format!("hand_back_job({job}, 1)");
        assert_eq!(seen("BEFORE UPDATE ON nebula.job_running FOR EACH ROW", heartbeat), "UPDATE");
        assert_eq!(seen("AFTER UPDATE ON nebula.job_running", heartbeat), "UPDATE");
        assert_eq!(seen("AFTER INSERT ON nebula.job_waiting FOR EACH ROW", fail), "INSERT");
        assert_eq!(seen("BEFORE DELETE ON nebula.job_running FOR EACH ROW", fail), "DELETE");
        assert_eq!(seen("AFTER INSERT ON nebula.job_finished FOR EACH ROW", bury), "INSERT");
        assert_eq!(seen("AFTER INSERT ON nebula.job_waiting", hand_back), "INSERT");
    }

    #[pg_test]
    fn a_heartbeat_changes_what_it_says_and_nothing_else() {
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
    fn heartbeats_touch_no_index() {
        let job = running();
        let hot = "SELECT pg_stat_get_xact_tuples_hot_updated('nebula.job_running'::regclass)";
        run(&format!("SELECT nebula.heartbeat_job({job}, 1), nebula.heartbeat_job({job}, 1, 0.5)"));
        assert_eq!(text(hot), "2");
    }

    #[pg_test]
    fn constraints_hold_for_heartbeats() {
        let job = running();
        run(
            "ALTER TABLE nebula.job_running ADD CONSTRAINT odd CHECK (progress < 0.5);
             CREATE FUNCTION pg_temp.said(statement text) RETURNS text LANGUAGE plpgsql AS
               $$ BEGIN EXECUTE statement; RETURN 'done'; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END $$",
        );
        let said = |progress: &str| {
            text(&format!("SELECT pg_temp.said('SELECT nebula.heartbeat_job({job}, 1, {progress})')"))
        };
        assert_eq!((said("0.7").as_str(), said("0.2").as_str()), ("23514", "done"));
    }

    /// Ends two jobs, one below SQL and one by SQL, which is what a trigger takes; what is left must be the same.
    fn same(call: impl Fn(&str) -> String, left_in: &str) -> String {
        let left = |by_sql: bool| {
            let job = running();
            run(&format!("SELECT nebula.heartbeat_job({job}, 1, 0.5, '[1]')"));
            if by_sql {
                run("CREATE TRIGGER noop BEFORE DELETE ON nebula.job_running FOR EACH ROW
                     EXECUTE FUNCTION public.noop()");
            }
            let answer = text(&format!("SELECT nebula.{}", call(&job)));
            run("DROP TRIGGER IF EXISTS noop ON nebula.job_running");
            let is_now =
                "abs(extract(epoch FROM clock_timestamp() - (errors -> 0 ->> 'at')::timestamptz)) < 60";
            let left = text(&format!(
                "SELECT (to_jsonb(w) - '{{job_id,run_at,started_at,finished_at,enqueued_at,errors}}'::text[])::text
                        || (errors #- '{{0,at}}')::text || ({is_now})::text || (errors -> 0 ->> 'at' LIKE '%+05:30')::text
                   FROM nebula.{left_in} w"
            ));
            run(&format!("DELETE FROM nebula.{left_in}"));
            format!("{answer} {left}")
        };
        run(
            "CREATE OR REPLACE FUNCTION public.noop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$",
        );
        run("SET LOCAL timezone = 'Asia/Kolkata'");
        let below = left(false);
        assert_eq!(below, left(true));
        below
    }

    #[pg_test]
    fn ends_are_the_same_whichever_way_they_are_written() {
        let failed = same(|job| format!("fail_job({job}, 1, 'no \"way\"')"), "job_waiting");
        assert!(failed.starts_with("available ") && failed.ends_with("truetrue"), "{failed}");
        assert!(
            failed.contains(r#""error": "no \"way\"""#) && failed.contains(r#""ready": false"#),
            "{failed}"
        );
        let buried = same(|job| format!("fail_job({job}, 1, 'no', false)"), "job_finished");
        assert!(buried.starts_with("dead ") && buried.contains(r#""detail": [1]"#), "{buried}");
        let back = same(|job| format!("hand_back_job({job}, 1, 'stop')"), "job_waiting");
        assert!(back.contains(r#""ready": true"#) && back.contains(r#""max_attempts": 6"#), "{back}");
    }

    #[pg_test]
    fn what_was_to_be_cancelled_is_when_it_is_handed_back() {
        for reason in ["NULL", "'stop'"] {
            let job = running();
            run(&format!("SELECT nebula.cancel_job({job})"));
            assert_eq!(text(&format!("SELECT nebula.hand_back_job({job}, 1, {reason})")), "cancelled");
            assert_eq!(state(&job), "cancelled");
        }
        let said =
            "SELECT string_agg(errors -> 0 ->> 'error', ', ' ORDER BY job_id) FROM nebula.job_finished";
        assert_eq!(text(said), "handed back, stop");
    }
}
