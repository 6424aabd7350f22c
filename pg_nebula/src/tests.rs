//! Tests of the SQL functions, each inside a server and rolled back afterwards.

mod account;
mod addresses;
mod catalog;
mod conformance;
mod devices;
mod direct;
mod endpoints;
mod events;
mod free_map;
mod invitation;
mod limits;
mod media;
mod network;
mod networks;
mod node_rules;
mod nodes;
mod peers;
mod permission;
mod personal_token;
mod proof;
mod queue;
mod rate_window;
mod second_factor;
mod session;
mod sign_in;
mod values;

use pgrx::prelude::*;

/// The value of a query with one row and one column.
fn one<T: FromDatum + IntoDatum>(sql: &str) -> T {
    Spi::get_one(sql).unwrap_or_else(|e| panic!("{sql}: {e}")).unwrap_or_else(|| panic!("{sql}: null"))
}

/// The same as text; NULL as "null".
fn text(sql: &str) -> String {
    one(&format!("SELECT coalesce(({sql})::text, 'null')"))
}

/// Runs a statement for its effect.
fn run(sql: &str) {
    Spi::run(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
}

/// Asserts that a statement fails with this SQLSTATE, that its message contains `words`, and that it has a
/// hint.
#[track_caller]
fn assert_error(sql: &str, sqlstate: &str, words: &[&str]) {
    let [code, message, hint] = attempt(sql);
    assert_eq!(code, sqlstate, "{sql}: {message}");
    for word in words {
        assert!(message.contains(word), "{sql}: no \"{word}\" in \"{message}\"");
    }
    assert!(!hint.is_empty(), "{sql}: no hint with \"{message}\"");
}

/// SQLSTATE and message of a statement that fails; for errors of the server itself, which may have no hint.
fn error_of(sql: &str) -> String {
    let [code, message, _] = attempt(sql);
    format!("{code} {message}")
}

/// SQLSTATE, message and hint of a statement. It runs in a subtransaction, so that the test can go on after
/// an error.
fn attempt(sql: &str) -> [String; 3] {
    run("CREATE OR REPLACE FUNCTION pg_temp.attempt(statement text) RETURNS text[] LANGUAGE plpgsql AS $f$
         DECLARE message text; hint text;
         BEGIN
           EXECUTE statement;
           RETURN ARRAY['00000', 'it succeeded', ''];
         EXCEPTION WHEN OTHERS THEN
           GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
           RETURN ARRAY[SQLSTATE, message, hint];
         END $f$");
    let answer: Vec<String> = one(&format!("SELECT pg_temp.attempt($sql${sql}$sql$)"));
    answer.try_into().expect("three texts")
}

/// A project with one pool.
fn project(cidr: &str) -> String {
    let project = text("SELECT nebula.create_project('proof')");
    run(&format!("SELECT nebula.populate_pool('{project}', '{cidr}')"));
    project
}

/// Identifier of the device with this number.
fn device(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// Allocates an address to a device and returns it.
fn allocate(project: &str, number: u32) -> String {
    text(&format!("SELECT nebula.allocate_ip('{project}', '{}')", device(number)))
}

/// Inserts a device and a certificate of it for an address, valid for a day.
fn certify(project: &str, number: u32, address: &str) {
    let device = device(number);
    register(project, number, "host");
    run(&format!(
        "INSERT INTO nebula.certificate (fingerprint, project_id, device_id, version, curve, networks,
                                         groups, public_key, issuer, not_before, not_after, pem)
         VALUES (sha256(random()::text::bytea), '{project}', '{device}', 1, '25519', '{{{address}/24}}',
                 '{{}}', '\\x00', sha256(''), now(), now() + interval '1 day', '')"
    ));
}

/// Inserts a device.
fn register(project: &str, number: u32, role: &str) {
    run(&format!(
        "INSERT INTO nebula.device (device_id, project_id, name, role, endpoints, curve, public_key)
         VALUES ('{}', '{project}', 'd{number}', '{role}', '{{d{number}.test:4242}}', '25519',
                 sha256('d{number}'))
         ON CONFLICT DO NOTHING",
        device(number)
    ));
}

/// The invariants after every test: free + reserved + allocated + quarantined = size, by the totals of
/// `pool_usage` and by counting the addresses one by one; and no row lies outside the assignable part of its
/// pool.
fn assert_invariants() {
    let broken = text(
        "SELECT string_agg(format('%s: %s free, %s reserved, %s allocated, %s quarantined of %s; '
                                  || 'one by one %s free, %s not',
                                  u.name, u.free, u.reserved, u.allocated, u.quarantined, u.size,
                                  v.free, v.taken), '; ')
           FROM nebula.pool_usage() u
          CROSS JOIN LATERAL (
            SELECT count(*) FILTER (WHERE NOT v.is_allocated) AS free,
                   count(*) FILTER (WHERE v.is_allocated) AS taken
              FROM nebula.nebula_ip_pool v
             WHERE u.size <= 65536 AND v.project_id = u.project_id AND v.pool = u.name) v
          WHERE u.free + u.reserved + u.allocated + u.quarantined <> u.size OR u.free < 0
             OR u.size <= 65536 AND (v.free <> u.free OR v.taken <> u.allocated + u.quarantined)",
    );
    assert_eq!(broken, "null");
    assert_eq!(text("SELECT count(*) FROM nebula.check_pool() WHERE problem = 'misplaced'"), "0");
}
