//! Finished jobs: pruned by truncating segments, not by deleting rows.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::queue::{claim, enqueue, state};
    use crate::tests::{assert_error, run, text};
    use pgrx::prelude::*;

    /// A job of this kind that succeeded that long ago.
    fn finished(kind: &str, ago: &str) -> String {
        let job = enqueue(&format!("'{kind}', '{{}}'"));
        assert_eq!(claim(&format!("'{{{kind}}}'")), job);
        run(&format!("SELECT nebula.complete_job({job}, 1)"));
        run(&format!(
            "UPDATE nebula.job_finished SET finished_at = clock_timestamp() - interval '{ago}'
              WHERE job_id = {job}"
        ));
        job
    }

    fn finished_jobs() -> String {
        text("SELECT coalesce(string_agg(job_id::text, ' ' ORDER BY job_id), '') FROM nebula.job_finished")
    }

    fn segment() -> String {
        text("SELECT last_value FROM nebula.job_segment_seq")
    }

    #[pg_test]
    fn only_jobs_older_than_the_limit_are_pruned() {
        let young = finished("t", "1 h");
        let old = finished("t", "3 h");
        let before = segment();
        assert_eq!(text("SELECT nebula.prune_jobs('4 h')"), "0");
        assert_eq!((finished_jobs(), segment()), (format!("{young} {old}"), before.clone()));
        assert_eq!(text("SELECT nebula.prune_jobs('2 h')"), "1");
        assert_eq!(finished_jobs(), young);
        assert_ne!(segment(), before);
        assert_eq!(state(&young), "succeeded");
        assert_error(&format!("SELECT nebula.cancel_job({old})"), "P0002", &[&old]);
        assert_eq!(text("SELECT nebula.prune_jobs('0 s')"), "1");
        assert_eq!(text("SELECT nebula.prune_jobs('0 s')"), "0");
        assert_error("SELECT nebula.prune_jobs('-1 s')", "22023", &["-00:00:01"]);
    }

    #[pg_test]
    fn each_kind_is_kept_for_its_own_retention() {
        run("SELECT nebula.retain_jobs('short', '1 h'), nebula.retain_jobs('long', '30 days')");
        let long = finished("long", "20 days");
        let week = finished("week", "6 days");
        finished("short", "2 h");
        assert_eq!(text("SELECT nebula.prune_jobs()"), "0", "less than half of the segment could go");
        finished("short", "2 h");
        assert_eq!(text("SELECT nebula.prune_jobs()"), "2");
        assert_eq!(finished_jobs(), format!("{long} {week}"));
        run("UPDATE nebula.job_finished SET finished_at = finished_at - interval '11 days'");
        assert_eq!(text("SELECT nebula.prune_jobs()"), "2");
        assert_error("SELECT nebula.retain_jobs('t', '-1 s')", "22023", &["t"]);
    }

    /// More rounds than there are segments; in each, a younger job must be copied to the next segment.
    #[pg_test]
    fn no_job_is_lost_when_segments_are_reused() {
        let stays = finished("t", "1 s");
        for _ in 0..20 {
            finished("t", "1 h");
            assert_eq!(text("SELECT nebula.prune_jobs('1 min')"), "1");
            run("UPDATE nebula.job_finished SET finished_at = clock_timestamp()");
        }
        assert_eq!(finished_jobs(), stays);
    }

    #[pg_test]
    fn maintenance_opens_the_next_segment_after_a_day() {
        run("SELECT nebula.maintain_jobs()");
        let first = segment();
        finished("t", "1 h");
        run("SELECT nebula.maintain_jobs()");
        assert_eq!(segment(), first);
        run("UPDATE nebula.job_segment SET opened_at = now() - interval '2 days'");
        run("SELECT nebula.maintain_jobs()");
        assert_ne!(segment(), first);
        let second = finished("t", "1 s");
        assert_eq!(
            text(&format!("SELECT segment FROM nebula.job_finished WHERE job_id = {second}")),
            segment()
        );
        assert_eq!(text("SELECT count(*) FROM nebula.job_finished"), "2");
    }

    #[pg_test]
    fn job_kind_counts_recent_jobs_by_kind() {
        finished("t", "2 min");
        finished("t", "2 h");
        let dead = enqueue("'t', '{}', max_attempts => 2");
        claim("'{t}'");
        run(&format!("SELECT nebula.fail_job({dead}, 1, 'x')"));
        crate::tests::queue::due_now();
        claim("'{t}'");
        run(&format!("SELECT nebula.fail_job({dead}, 2, 'x')"));
        enqueue("'t', '{}', run_at => now() - interval '1 min'");
        enqueue("'t', '{}', run_at => now() + interval '1 min'");
        assert_eq!(
            text(
                "SELECT k::text FROM (SELECT kind, available, scheduled, running, succeeded, dead,
                                              failure_percent,
                                              now() - oldest_available AS oldest FROM nebula.job_kind) k"
            ),
            "(t,1,1,0,1,1,66.7,00:01:00)"
        );
    }
}
