//! Jobs that wait for other jobs.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::queue::{claim, enqueue, state};
    use crate::tests::{assert_error, run, text};
    use pgrx::prelude::*;

    #[pg_test]
    fn children_wait_for_all_parents() {
        let (a, b) = (enqueue("'t', '{}'"), enqueue("'t', '{}'"));
        let child = enqueue(&format!("'c', '{{}}', depends_on => '{{{b},{a},{a}}}'"));
        assert_eq!(state(&child), "blocked");
        assert_eq!(claim("'{t}', 2"), format!("{a} {b}"));
        run(&format!("SELECT nebula.complete_job({a}, 1)"));
        assert_eq!(claim("'{c}'"), "null");
        run(&format!("SELECT nebula.complete_job({b}, 1)"));
        assert_eq!(state(&child), "available");
        assert_eq!(claim("'{c}'"), child);
        assert_eq!(text("SELECT count(*) FROM nebula.job_dependency"), "0");
        // After all parents have succeeded, a new child is available at once.
        assert_eq!(state(&enqueue(&format!("'c', '{{}}', depends_on => '{{{a},{b}}}'"))), "available");
    }

    #[pg_test]
    fn descendants_of_a_dead_job_are_cancelled() {
        let parent = enqueue("'t', '{}'");
        let child = enqueue(&format!("'c', '{{}}', depends_on => '{{{parent}}}', unique_key => 'k'"));
        let other = enqueue("'o', '{}'");
        let grandchild = enqueue(&format!("'c', '{{}}', depends_on => '{{{child},{other}}}'"));
        claim("'{t}'");
        assert_eq!(text(&format!("SELECT nebula.fail_job({parent}, 1, 'broken', false)")), "dead");
        assert_eq!((state(&child).as_str(), state(&grandchild).as_str()), ("cancelled", "cancelled"));
        assert_eq!(state(&other), "available");
        let why =
            text(&format!("SELECT errors -> 0 ->> 'error' FROM nebula.job_status WHERE job_id = {child}"));
        assert!(why.contains(&parent) && why.contains("dead"), "{why}");
        assert_eq!(text("SELECT count(*) FROM nebula.job_key"), "0");
        assert_error(
            &format!("SELECT nebula.enqueue_job('c', '{{}}', depends_on => '{{{parent}}}')"),
            "55000",
            &["dead"],
        );
    }

    #[pg_test]
    fn children_cancelled_with_a_parent_are_restored_with_it() {
        let after = |parents: &[&String]| {
            let parents: Vec<&str> = parents.iter().map(|parent| parent.as_str()).collect();
            enqueue(&format!("'c', '{{}}', depends_on => '{{{}}}'", parents.join(",")))
        };
        let (a, b) = (enqueue("'t', '{}', max_attempts => 1"), enqueue("'t', '{}', max_attempts => 1"));
        let (one, middle) = (after(&[&a]), after(&[&a]));
        let long = after(&[&middle]);
        // `end` can be reached on a short way and on a long one; `both` has two parents that die.
        let (end, both) = (after(&[&one, &long]), after(&[&a, &b]));
        let (dropped, replaced) =
            (after(&[&a]), enqueue(&format!("'c', '{{}}', depends_on => '{{{a}}}', unique_key => 'k'")));
        run(&format!("SELECT nebula.cancel_job({dropped})"));
        claim("'{t}', 2");
        run(&format!("SELECT nebula.fail_job({a}, 1, 'x'), nebula.fail_job({b}, 1, 'x')"));
        let all = [&one, &middle, &long, &end, &both, &dropped, &replaced];
        assert!(all.iter().all(|job| state(job) == "cancelled"));
        let heir = enqueue("'other', '{}', unique_key => 'k'");
        run(&format!("SELECT nebula.retry_job({a})"));
        let states = || all.map(|job| state(job)).join(" ");
        assert_eq!(states(), "blocked blocked blocked blocked cancelled cancelled cancelled");
        run(&format!("SELECT nebula.retry_job({b})"));
        assert_eq!(states(), "blocked blocked blocked blocked blocked cancelled cancelled");
        claim("'{t}', 2");
        run(&format!("SELECT nebula.complete_jobs('{{{a},{b}}}', '{{2,2}}')"));
        assert_eq!(claim("'{c}', 9"), format!("{one} {middle} {both}"));
        run(&format!("SELECT nebula.complete_jobs('{{{one},{middle}}}', '{{1,1}}')"));
        assert_eq!(claim("'{c}', 9"), long);
        run(&format!("SELECT nebula.complete_job({long}, 1)"));
        assert_eq!(claim("'{c}', 9"), end);
        // A child that is retried itself waits for no parent any more.
        run(&format!("SELECT nebula.cancel_job({heir}); SELECT nebula.retry_job({replaced})"));
        assert_eq!(claim("'{c}', 9"), replaced);
        let left = "SELECT count(*) FROM nebula.job_dependency";
        assert_eq!(text(left), "0");
        // Pruning a job prunes its dependencies.
        let gone = enqueue("'t', '{}'");
        after(&[&gone]);
        run(&format!("SELECT nebula.cancel_job({gone})"));
        assert_eq!(text(left), "1");
        run("SELECT nebula.prune_jobs('0 s')");
        assert_eq!(text(left), "0");
    }

    #[pg_test]
    fn with_on_dead_block_a_job_waits_for_a_dead_parent() {
        let parent = enqueue("'t', '{}', max_attempts => 1");
        let early = enqueue(&format!("'c', '{{}}', depends_on => '{{{parent}}}', on_dead => 'block'"));
        claim("'{t}'");
        run(&format!("SELECT nebula.fail_job({parent}, 1, 'x')"));
        let late = enqueue(&format!("'c', '{{}}', depends_on => '{{{parent}}}', on_dead => 'block'"));
        assert_eq!((state(&early).as_str(), state(&late).as_str()), ("blocked", "blocked"));
        run(&format!("SELECT nebula.retry_job({parent})"));
        assert_eq!(claim("'{c,t}', 9"), parent);
        run(&format!("SELECT nebula.complete_job({parent}, 2)"));
        assert_eq!(claim("'{c,t}', 9"), format!("{early} {late}"));
        // A parent that was pruned cannot be retried, so its children are cancelled.
        let gone = enqueue("'t', '{}', max_attempts => 1");
        let child = enqueue(&format!("'c', '{{}}', depends_on => '{{{gone}}}', on_dead => 'block'"));
        run(&format!("SELECT nebula.cancel_job({gone})"));
        run("SELECT nebula.prune_jobs('0 s')");
        assert_eq!(state(&child), "cancelled");
    }

    #[pg_test]
    fn a_child_waits_for_its_parents_and_for_its_time() {
        let parent = enqueue("'t', '{}'");
        let child =
            enqueue(&format!("'c', '{{}}', run_at => now() + interval '1 h', depends_on => '{{{parent}}}'"));
        claim("'{t}'");
        run(&format!("SELECT nebula.complete_job({parent}, 1)"));
        assert_eq!((state(&child).as_str(), claim("'{c}'").as_str()), ("available", "null"));
        crate::tests::queue::due_now();
        assert_eq!(claim("'{c}'"), child);
    }

    #[pg_test]
    fn depend_job_adds_parents_but_refuses_circles() {
        let (a, b, c) = (enqueue("'t', '{}'"), enqueue("'t', '{}'"), enqueue("'t', '{}'"));
        let depend = |child: &str, parent: &str| format!("SELECT nebula.depend_job({child}, '{{{parent}}}')");
        run(&depend(&b, &a));
        run(&depend(&b, &a));
        run(&depend(&c, &b));
        assert_error(&depend(&a, &c), "22023", &[&a, "wait"]);
        assert_error(&depend(&a, &a), "22023", &[&a]);
        assert_error(&depend(&a, "999"), "P0002", &["999"]);
        assert_error(&depend("999", &a), "P0002", &["999"]);
        assert_eq!(claim("'{t}', 9"), a);
        assert_error(&depend(&a, &c), "55000", &["running"]);
        run(&format!("SELECT nebula.complete_job({a}, 1)"));
        assert_error(&depend(&a, &c), "55000", &["succeeded"]);
        run(&depend(&b, &a));
        assert_eq!(claim("'{t}', 9"), b);
        run(&format!("SELECT nebula.complete_job({b}, 1)"));
        assert_eq!(claim("'{t}', 9"), c);
    }

    #[pg_test]
    fn a_generation_of_children_is_cancelled_by_one_statement() {
        let parent = enqueue("'t', '{}'");
        run(&format!(
            "SELECT nebula.enqueue_job('c', '{{}}', depends_on => ARRAY[{parent}], unique_key => n::text)
               FROM generate_series(1, 50) n;
             SELECT nebula.enqueue_job('g', '{{}}', depends_on => ARRAY[job_id])
               FROM nebula.job_waiting WHERE kind = 'c'"
        ));
        assert_eq!(text(&format!("SELECT nebula.cancel_job({parent})")), "cancelled");
        // Rows that one statement has written have the same number of a command.
        assert_eq!(
            text(
                "SELECT string_agg(concat_ws(' ', kind, jobs, statements), ', ' ORDER BY kind)
                   FROM (SELECT kind, count(*) AS jobs, count(DISTINCT cmin::text) AS statements
                           FROM nebula.job_finished WHERE state = 'cancelled' GROUP BY kind) f"
            ),
            "c 50 1, g 50 1, t 1 1"
        );
        let named = "SELECT count(*) FROM nebula.job_status j
                       JOIN nebula.job_dependency d ON d.child_id = j.job_id
                      WHERE j.errors -> 0 ->> 'error' LIKE format('job %s, %% is cancelled', d.parent_id)";
        assert_eq!(text(named), "100");
        assert_eq!(text("SELECT count(*) FROM nebula.job_key"), "0");
    }
}
