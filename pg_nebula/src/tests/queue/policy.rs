//! Claims of restricted jobs, pauses and limits.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::queue::{claim, enqueue};
    use crate::tests::{assert_error, device, run, text};
    use pgrx::prelude::*;

    #[pg_test]
    fn jobs_of_a_node_are_claimed_only_there() {
        let (here, there) = (device(1), device(2));
        let restricted = enqueue(&format!("'t', '{{}}', node_id => '{here}'"));
        assert_eq!(claim("'{t}'"), "null");
        assert_eq!(claim(&format!("'{{t}}', node_id => '{there}'")), "null");
        assert_eq!(claim(&format!("'{{t}}', node_id => '{here}'")), restricted);
    }

    #[pg_test]
    fn jobs_with_a_capability_are_claimed_only_by_workers_that_have_it() {
        let plain = enqueue("'t', '{}'");
        let graphics = enqueue("'t', '{}', 5, capability => 'gpu'");
        let both = enqueue(&format!("'t', '{{}}', 4, capability => 'gpu', node_id => '{}'", device(1)));
        assert_eq!(claim("'{t}', 9"), plain);
        assert_eq!(claim("'{t}', 9, capabilities => '{tape}'"), "null");
        let next = enqueue("'t', '{}', 4");
        assert_eq!(claim("'{t}', 2, capabilities => '{tape,gpu}'"), format!("{graphics} {next}"));
        assert_eq!(
            claim(&format!("'{{t}}', 9, node_id => '{}', capabilities => '{{gpu}}'", device(2))),
            "null"
        );
        assert_eq!(
            claim(&format!("'{{t}}', 9, node_id => '{}', capabilities => '{{gpu}}'", device(1))),
            both
        );
    }

    #[pg_test]
    fn priorities_hold_across_kinds() {
        let jobs: Vec<String> = [("a", 5), ("b", 4), ("a", 0), ("b", 3), ("c", 9)]
            .map(|(k, p)| enqueue(&format!("'{k}', '{{}}', {p}")))
            .into();
        assert_eq!(claim("'{b,a,a}', 3"), format!("{} {} {}", jobs[0], jobs[1], jobs[3]));
        assert_eq!(claim("'{b,a,c}', 3"), format!("{} {}", jobs[4], jobs[2]));
    }

    #[pg_test]
    fn a_paused_kind_is_not_claimed() {
        let job = enqueue("'t', '{}'");
        run("SELECT nebula.pause_jobs('t')");
        run("SELECT nebula.pause_jobs('t')");
        assert_eq!(claim("'{t}'"), "null");
        assert_eq!(text("SELECT available || ' ' || (paused_at IS NOT NULL) FROM nebula.job_kind"), "1 true");
        let other = enqueue("'o', '{}'");
        assert_eq!(claim("'{t,o}', 9"), other);
        run("SELECT nebula.resume_jobs('t')");
        assert_eq!(claim("'{t}'"), job);
        assert_error("SELECT nebula.pause_jobs('T')", "22023", &["T"]);
        assert_error("SELECT nebula.resume_jobs(NULL)", "22023", &["kind"]);
    }

    #[pg_test]
    fn the_policy_cache_is_invalidated_by_every_change_of_a_policy() {
        for _ in 0..9 {
            enqueue("'t', '{}'");
        }
        let gets = |wanted: bool, why: &str| assert_eq!(claim("'{t}'") != "null", wanted, "{why}");
        gets(true, "nothing is known yet");
        run("INSERT INTO nebula.job_policy (kind, paused_at) VALUES ('t', now())");
        gets(false, "a pause by hand");
        run("UPDATE nebula.job_policy SET paused_at = NULL");
        gets(true, "no longer");
        run("UPDATE nebula.job_policy SET max_running = 0");
        gets(false, "a limit");
        run("TRUNCATE nebula.job_policy");
        gets(true, "nothing is left");
        // Also by a change that is rolled back to a savepoint.
        run("DO $$ BEGIN PERFORM nebula.pause_jobs('t');
                   IF EXISTS (SELECT FROM nebula.claim_jobs('w', '{t}')) THEN RAISE 'not paused'; END IF;
                   RAISE division_by_zero;
             EXCEPTION WHEN division_by_zero THEN NULL; END $$");
        gets(true, "the pause did not happen");
        run("SET LOCAL session_replication_role = replica; SELECT nebula.pause_jobs('t')");
        gets(false, "a pause that was replicated");
        run("DELETE FROM nebula.job_policy; SET LOCAL session_replication_role = origin");
        gets(true, "so was its end");
    }

    #[pg_test]
    fn a_limit_of_a_kind_is_not_exceeded() {
        run("SELECT nebula.limit_jobs('t', 2)");
        let jobs: Vec<String> = (0..4).map(|_| enqueue("'t', '{}'")).collect();
        assert_eq!(claim("'{t}', 9"), format!("{} {}", jobs[0], jobs[1]));
        assert_eq!(claim("'{t}', 9"), "null");
        run(&format!("SELECT nebula.complete_job({}, 1)", jobs[0]));
        assert_eq!(claim("'{t,u}', 9"), jobs[2]);
        run("SELECT nebula.limit_jobs('t')");
        assert_eq!(claim("'{t}', 9"), jobs[3]);
        // A new limit counts the jobs that run already.
        enqueue("'t', '{}'");
        run("SELECT nebula.limit_jobs('t', 3)");
        assert_eq!(claim("'{t}', 9"), "null");
        assert_error("SELECT nebula.limit_jobs('t', -1)", "22023", &["-1"]);
    }

    #[pg_test]
    fn a_limit_per_project_is_not_exceeded() {
        run("SELECT nebula.limit_jobs('t', 4, 1)");
        let of = |project: u32| enqueue(&format!("'t', '{{}}', project_id => '{}'", device(project)));
        let (a, b, c) = (of(1), of(1), of(2));
        let free = enqueue("'t', '{}'");
        assert_eq!(claim("'{t}', 9"), format!("{a} {c} {free}"));
        assert_eq!(claim("'{t}', 9"), "null");
        run(&format!("SELECT nebula.complete_job({a}, 1)"));
        assert_eq!(claim("'{t}', 9"), b);
        run("SELECT nebula.limit_jobs('t', NULL, 0)");
        of(3);
        assert_eq!(claim("'{t}', 9"), "null");
    }

    #[pg_test]
    fn a_quota_of_a_project_holds_across_kinds() {
        let limited = text("SELECT nebula.create_project('limited')");
        let of = |kind: &str, project: &str| enqueue(&format!("'{kind}', '{{}}', project_id => '{project}'"));
        let before = of("t", &limited);
        assert_eq!(claim("'{t}'"), before);
        run(&format!("SELECT nebula.limit_project_jobs('{limited}', 2)"));
        let (a, b) = (of("t", &limited), of("u", &limited));
        let other = of("t", &device(7).to_string());
        let restricted = enqueue(&format!("'u', '{{}}', project_id => '{limited}', capability => 'gpu'"));
        assert_eq!(claim("'{t,u}', 9"), format!("{a} {other}"), "one of it runs already");
        assert_eq!(claim("'{u}', 9, capabilities => '{gpu}'"), "null");
        run(&format!("SELECT nebula.complete_job({before}, 1)"));
        assert_eq!(claim("'{t,u}', 9, capabilities => '{gpu}'"), b);
        run(&format!("SELECT nebula.fail_job({a}, 1, 'x', false)"));
        assert_eq!(claim("'{u}', 9, capabilities => '{gpu}'"), restricted);
        let last = of("t", &limited);
        assert_eq!(claim("'{t}'"), "null");
        run(&format!("SELECT nebula.limit_project_jobs('{limited}', 3)"));
        run("SELECT nebula.limit_jobs('t', 1)");
        assert_eq!(claim("'{t}'"), "null", "its kind has a limit, too");
        run("SELECT nebula.limit_jobs('t')");
        assert_eq!(claim("'{t}'"), last);
        of("t", &limited);
        run(&format!("SELECT nebula.limit_project_jobs('{limited}', 0)"));
        assert_eq!(claim("'{t}'"), "null");
        run(&format!("SELECT nebula.limit_project_jobs('{limited}')"));
        assert_ne!(claim("'{t}'"), "null");
        assert_error(&format!("SELECT nebula.limit_project_jobs('{limited}', -1)"), "22023", &["-1"]);
        assert_error(&format!("SELECT nebula.limit_project_jobs('{}', 1)", device(9)), "P0002", &["project"]);
    }
}
