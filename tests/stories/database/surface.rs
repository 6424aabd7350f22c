//! The public surface of the extension: everything a user of SQL is told of.
//!
//! `sql/release/surface.txt` lists it, one line for each function, view and column. A difference is a promise that
//! changes: `NEBULA_WRITE_SURFACE=1 cargo test -p nebula-tests surface` writes the file anew, for review.

use std::{env, fs};

use anyhow::{Result, ensure};
use nebula_tests::binary::root;
use nebula_tests::cluster::Cluster;

/// Functions whose comment begins so are called by services, by other functions or by triggers: they may change.
const INTERNAL: &str = "^(Internal|For the gateway|For the worker|Trigger): ";

/// Signatures with defaults, results, volatility, security, the roles that may execute or read, comments.
const SURFACE: &str = "
    WITH grantee AS (
      SELECT p.oid, string_agg(a.grantee::regrole::text, ', ' ORDER BY a.grantee::regrole::text) AS roles
        FROM pg_proc p, aclexplode(p.proacl) a
       WHERE a.grantee NOT IN (0, p.proowner)
       GROUP BY p.oid
    )
    SELECT format('function %s(%s) returns %s | %s%s | %s | %s', p.proname, pg_get_function_arguments(p.oid),
                  pg_get_function_result(p.oid),
                  CASE p.provolatile WHEN 'v' THEN 'volatile' WHEN 's' THEN 'stable' ELSE 'immutable' END,
                  CASE WHEN p.prosecdef THEN ' security definer' END, coalesce(g.roles, 'owner only'),
                  obj_description(p.oid, 'pg_proc')) AS line
      FROM pg_proc p LEFT JOIN grantee g USING (oid)
     WHERE p.pronamespace = 'nebula'::regnamespace AND obj_description(p.oid, 'pg_proc') !~ $1
    UNION ALL
    SELECT format('view %s | %s', c.relname, obj_description(c.oid, 'pg_class')) FROM pg_class c
     WHERE c.relnamespace = 'nebula'::regnamespace AND c.relkind = 'v'
    UNION ALL
    SELECT format('view %s, column %s: %s %s | %s', c.relname, to_char(a.attnum, 'FM00'), a.attname,
                  format_type(a.atttypid, a.atttypmod), col_description(c.oid, a.attnum))
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
     WHERE c.relnamespace = 'nebula'::regnamespace AND c.relkind = 'v' AND a.attnum > 0 AND NOT a.attisdropped";

#[tokio::test(flavor = "multi_thread")]
async fn the_public_surface_is_the_recorded_one() -> Result<()> {
    let database = Cluster::shared().await?.database().await?;
    database.grant().await?;
    let rows = database.connect().await?.query(SURFACE, &[&INTERNAL]).await?;
    let mut found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    found.sort_unstable();
    let path = root().join("sql/release/surface.txt");
    if env::var_os("NEBULA_WRITE_SURFACE").is_some() {
        fs::write(&path, found.join("\n") + "\n")?;
    }
    let recorded = fs::read_to_string(&path)?;
    let recorded: Vec<&str> = recorded.lines().collect();
    let gone =
        recorded.iter().filter(|line| !found.iter().any(|now| now == *line)).map(|line| format!("- {line}"));
    let new = found.iter().filter(|line| !recorded.contains(&line.as_str())).map(|line| format!("+ {line}"));
    let differences: Vec<String> = gone.chain(new).collect();
    ensure!(
        differences.is_empty(),
        "differs from sql/release/surface.txt; if that is meant, write it anew with NEBULA_WRITE_SURFACE=1 \
         cargo test -p nebula-tests surface:\n{}",
        differences.join("\n")
    );
    ensure!(recorded.len() > 200, "the query finds what is there: {}", recorded.len());
    Ok(())
}
