//! The direct implementations of stores against those in SQL: both must do the same.
//!
//! A scenario is a list of statements. It runs once with `nebula.direct_writes` on and once with it off, each
//! time from the same state, and must return the same results and errors and leave the same rows.

mod addresses;
mod peers;
mod queue;

use super::{one, run};
use crate::direct::write_count;

/// Statements that a scenario runs, in this order; a statement that fails is rolled back alone.
type Steps = Vec<String>;

/// The outcome of a scenario: results or errors of its steps, then the rows of each query.
type Observation = Vec<String>;

/// Runs `steps` with the setting, then reads the rows of `queries`, then rolls everything back.
fn observe(direct_writes: &str, steps: &Steps, queries: &[&str]) -> Observation {
    run("CREATE OR REPLACE FUNCTION pg_temp.observe(direct_writes text, steps text[], queries text[])
           RETURNS text[] LANGUAGE plpgsql AS $f$
         DECLARE
           step text;
           result text;
           observed text[] := '{}';
         BEGIN
           BEGIN
             PERFORM set_config('nebula.direct_writes', direct_writes, true);
             FOREACH step IN ARRAY steps LOOP
               BEGIN
                 result := 'done';
                 IF step LIKE 'SELECT %' THEN
                   EXECUTE step INTO result;
                 ELSE
                   EXECUTE step;
                 END IF;
                 observed := observed || coalesce(result, 'null');
               EXCEPTION WHEN OTHERS THEN
                 observed := observed || (SQLSTATE || ' ' || SQLERRM);
               END;
             END LOOP;
             FOREACH step IN ARRAY queries LOOP
               EXECUTE format('SELECT string_agg(t::text, E''\\n'' ORDER BY t::text) FROM (%s) AS t', step)
                  INTO result;
               observed := observed || coalesce(result, 'no rows');
             END LOOP;
             RAISE EXCEPTION 'undo' USING ERRCODE = 'ZZ000';
           EXCEPTION WHEN SQLSTATE 'ZZ000' THEN
             NULL;
           END;
           RETURN observed;
         END $f$");
    let array = |texts: &mut dyn Iterator<Item = &str>| {
        let quoted: Vec<String> = texts.map(|text| format!("$step${text}$step$")).collect();
        format!("ARRAY[{}]::text[]", quoted.join(", "))
    };
    let steps = array(&mut steps.iter().map(String::as_str));
    let queries = array(&mut queries.iter().copied());
    one(&format!("SELECT pg_temp.observe('{direct_writes}', {steps}, {queries})"))
}

/// Asserts that a scenario shows the same with direct writes as without, and that it attempts at least
/// `expected_writes` direct writes: without any it would compare SQL with itself.
#[track_caller]
fn assert_same(steps: &Steps, queries: &[&str], expected_writes: u64) -> Observation {
    let before = write_count::get();
    let in_sql = observe("off", steps, queries);
    assert_eq!(write_count::get(), before, "nothing is written directly when the setting is off");
    let direct = observe("on", steps, queries);
    let names = steps.iter().map(String::as_str).chain(queries.iter().copied());
    for ((name, in_sql), direct) in names.zip(&in_sql).zip(&direct) {
        assert_eq!(direct, in_sql, "{name}");
    }
    assert_eq!(in_sql.len(), direct.len());
    let writes = write_count::get() - before;
    assert!(writes >= expected_writes, "{writes} direct writes");
    direct
}
