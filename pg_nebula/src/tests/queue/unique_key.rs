//! Unique keys.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::queue::{claim, enqueue};
    use crate::tests::{run, text};
    use pgrx::prelude::*;

    #[pg_test]
    fn a_key_is_taken_while_its_job_lives() {
        let job = enqueue("'t', '{}', unique_key => 'k'");
        assert_eq!(enqueue("'t', '{}', unique_key => 'k'"), job);
        claim("'{t}'");
        assert_eq!(enqueue("'t', '{}', unique_key => 'k'"), job);
        run(&format!("SELECT nebula.fail_job({job}, 1, 'x')"));
        assert_eq!(enqueue("'t', '{}', unique_key => 'k'"), job);
        run(&format!("SELECT nebula.cancel_job({job})"));
        let next = enqueue("'t', '{}', unique_key => 'k'");
        assert_ne!(next, job);
        claim("'{t}'");
        run(&format!("SELECT nebula.complete_job({next}, 1)"));
        assert_eq!(text("SELECT count(*) FROM nebula.job_key"), "0");
    }

    #[pg_test]
    fn a_key_with_a_period_is_taken_until_both_job_and_period_are_over() {
        let job = enqueue("'t', '{}', unique_key => 'k', unique_for => '1 hour'");
        claim("'{t}'");
        run(&format!("SELECT nebula.complete_job({job}, 1)"));
        assert_eq!(enqueue("'t', '{}', unique_key => 'k'"), job, "finished, and still the one of this hour");
        run("UPDATE nebula.job_key SET held_until = clock_timestamp() - interval '1 s'");
        let next = enqueue("'t', '{}', unique_key => 'k', unique_for => '1 ms'");
        assert_ne!(next, job);
        run("SELECT pg_sleep(0.01)");
        assert_eq!(enqueue("'t', '{}', unique_key => 'k'"), next, "the period is over, the job is not");
        claim("'{t}'");
        assert_eq!(enqueue("'t', '{}', unique_key => 'k'"), next);
        run(&format!("SELECT nebula.complete_job({next}, 1)"));
        assert_eq!(text("SELECT count(*) FROM nebula.job_key"), "0");
    }

    #[pg_test]
    fn keys_are_pruned_when_job_and_period_are_over() {
        let job = enqueue("'t', '{}', unique_key => 'k', unique_for => '1 ms'");
        run("SELECT pg_sleep(0.01)");
        run("SELECT nebula.prune_jobs()");
        assert_eq!(text("SELECT count(*) FROM nebula.job_key"), "1", "its job lives");
        claim("'{t}'");
        run("UPDATE nebula.job_key SET held_until = clock_timestamp() + interval '1 h'");
        run(&format!("SELECT nebula.complete_job({job}, 1)"));
        run("UPDATE nebula.job_key SET held_until = clock_timestamp()");
        run("SELECT nebula.prune_jobs()");
        assert_eq!(text("SELECT count(*) FROM nebula.job_key"), "0");
    }
}
