//! Tests of the SQL functions, each inside a server and rolled back afterwards.

mod allocation;
mod job;
mod node;
mod pool;

use pgrx::prelude::*;

/// The one value of a query that answers one.
fn one<T: FromDatum + IntoDatum>(sql: &str) -> T {
    Spi::get_one(sql).unwrap_or_else(|e| panic!("{sql}: {e}")).unwrap_or_else(|| panic!("{sql}: null"))
}

/// A query's one value as text; NULL as "null".
fn text(sql: &str) -> String {
    one(&format!("SELECT coalesce(({sql})::text, 'null')"))
}

/// Runs a statement for its effect.
fn run(sql: &str) {
    Spi::run(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
}

/// A statement must fail with this SQLSTATE, name what it is about, and say what to do.
fn refused(sql: &str, sqlstate: &str, words: &[&str]) {
    // A block with an exception clause is a subtransaction: the test goes on in a sound state.
    run("CREATE OR REPLACE FUNCTION pg_temp.attempt(statement text) RETURNS text[] LANGUAGE plpgsql AS $f$
         DECLARE message text; hint text;
         BEGIN
           EXECUTE statement;
           RETURN ARRAY['00000', 'it succeeded', ''];
         EXCEPTION WHEN OTHERS THEN
           GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
           RETURN ARRAY[SQLSTATE, message, hint];
         END $f$");
    let said: Vec<String> = one(&format!("SELECT pg_temp.attempt($sql${sql}$sql$)"));
    assert_eq!(said[0], sqlstate, "{sql}: {}", said[1]);
    for word in words {
        assert!(said[1].contains(word), "{sql}: no \"{word}\" in \"{}\"", said[1]);
    }
    assert!(!said[2].is_empty(), "{sql}: no hint with \"{}\"", said[1]);
}

/// A project with one pool.
fn project(cidr: &str) -> String {
    let project = text("SELECT nebula.create_project('proof')");
    run(&format!("SELECT nebula.populate_pool('{project}', '{cidr}')"));
    project
}

/// An identifier for a device; the same number, the same device.
fn device(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// Allocates for a device and answers the address.
fn allocate(project: &str, number: u32) -> String {
    text(&format!("SELECT nebula.allocate_ip('{project}', '{}')", device(number)))
}
