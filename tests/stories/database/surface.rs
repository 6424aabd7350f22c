//! The public surface of the extension: every function and view that is an interface, and every table that the
//! documentation names.
//!
//! `sql/release/surface.txt` lists it, one line for each function, relation and column. A difference is a promise
//! that changes: `NEBULA_WRITE_SURFACE=1 make test-stories T=surface` writes the file anew, for review.

use std::{env, fs};

use anyhow::{Result, ensure};
use nebula_tests::binary::root;
use nebula_tests::cluster::Cluster;

/// Documentation for users of SQL. The tables that it names with their schema belong to the surface.
const DOCUMENTATION: [&str; 3] = ["README.md", "sql/README.md", "docker/README.md"];

/// Functions whose comment begins so are called by services, by other functions or by triggers: they may change.
const INTERNAL: &str = "^(Internal|For the gateway|For the worker|Trigger): ";

/// Signatures with defaults, results, volatility, security, the roles that may execute or read, comments. `$2` is
/// the text of the documentation.
const SURFACE: &str = r"
    WITH grantee AS (
      SELECT o.class, o.oid, string_agg(DISTINCT a.grantee::regrole::text, ', ') AS roles
        FROM (SELECT tableoid AS class, oid, proacl AS acl, proowner AS owner FROM pg_proc
              UNION ALL SELECT tableoid, oid, relacl, relowner FROM pg_class) o, aclexplode(o.acl) a
       WHERE a.grantee NOT IN (0, o.owner)
       GROUP BY o.class, o.oid
    ), relation AS (
      SELECT c.oid, c.relname, CASE c.relkind WHEN 'v' THEN 'view' ELSE 'table' END AS kind
        FROM pg_class c
       WHERE c.relnamespace = 'nebula'::regnamespace
         AND (c.relkind = 'v'
              OR c.relkind IN ('r', 'p')
                 AND c.relname IN (SELECT m[1] FROM regexp_matches($2, '\mnebula\.(\w+)\M(?!\()', 'g') m))
    )
    SELECT format('function %s(%s) returns %s | %s%s | %s | %s', p.proname, pg_get_function_arguments(p.oid),
                  pg_get_function_result(p.oid),
                  CASE p.provolatile WHEN 'v' THEN 'volatile' WHEN 's' THEN 'stable' ELSE 'immutable' END,
                  CASE WHEN p.prosecdef THEN ' security definer' END, coalesce(g.roles, 'owner only'),
                  obj_description(p.oid, 'pg_proc')) AS line
      FROM pg_proc p LEFT JOIN grantee g ON g.class = p.tableoid AND g.oid = p.oid
     WHERE p.pronamespace = 'nebula'::regnamespace AND obj_description(p.oid, 'pg_proc') !~ $1
    UNION ALL
    SELECT format('%s %s | %s | %s', r.kind, r.relname, coalesce(g.roles, 'owner only'),
                  obj_description(r.oid, 'pg_class'))
      FROM relation r LEFT JOIN grantee g ON g.class = 'pg_class'::regclass AND g.oid = r.oid
    UNION ALL
    SELECT format('%s %s, column %s: %s %s | %s', r.kind, r.relname, to_char(a.attnum, 'FM00'), a.attname,
                  format_type(a.atttypid, a.atttypmod), col_description(r.oid, a.attnum))
      FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid
     WHERE a.attnum > 0 AND NOT a.attisdropped";

/// The lines of one list that the other one has less often, marked.
fn missing<'a>(mark: &str, lines: &'a [String], other: &'a [String]) -> Vec<String> {
    let mut left: Vec<&String> = other.iter().collect();
    let mut found = Vec::new();
    for line in lines {
        match left.iter().position(|candidate| *candidate == line) {
            Some(at) => drop(left.swap_remove(at)),
            None => found.push(format!("{mark} {line}")),
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_surface_is_the_recorded_one() -> Result<()> {
    let database = Cluster::shared().await?.database().await?;
    database.grant().await?;
    let documents: Vec<String> =
        DOCUMENTATION.iter().map(|path| fs::read_to_string(root().join(path))).collect::<Result<_, _>>()?;
    let rows = database.connect().await?.query(SURFACE, &[&INTERNAL, &documents.concat()]).await?;
    let mut found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    found.sort_unstable();
    let path = root().join("sql/release/surface.txt");
    if env::var_os("NEBULA_WRITE_SURFACE").is_some() {
        fs::write(&path, found.join("\n") + "\n")?;
    }
    let recorded: Vec<String> = fs::read_to_string(&path)?.lines().map(str::to_owned).collect();
    let differences = [missing("-", &recorded, &found), missing("+", &found, &recorded)].concat();
    ensure!(
        differences.is_empty(),
        "differs from sql/release/surface.txt; if that is meant, write it anew with NEBULA_WRITE_SURFACE=1 \
         make test-stories T=surface:\n{}",
        differences.join("\n")
    );
    ensure!(recorded.len() > 200, "the query finds what is there: {}", recorded.len());
    Ok(())
}
