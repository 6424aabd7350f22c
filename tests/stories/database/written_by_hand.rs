//! Rows that an owner writes by hand: whatever the tables take comes back from a dump.

use anyhow::{Result, ensure};
use nebula_tests::binary::run;

use super::restore::{assert_equal, cluster, dump, pg_restore, source};

/// Changes the rows of every table, one column after the other in an order that follows from the seed, to values of its
/// type that have a meaning somewhere, those of other rows, and nothing. Answers how many changes the tables took.
const WRITE: &str = "
    CREATE FUNCTION pg_temp.write_by_hand(seed float8) RETURNS integer LANGUAGE plpgsql AS $$
    DECLARE
      v_change text;
      v_taken  integer := 0;
    BEGIN
      PERFORM setseed(seed);
      FOR v_change IN
        SELECT format('UPDATE nebula.%1$I t SET %2$I = %3$s WHERE t.ctid = '
                      '(SELECT o.ctid FROM nebula.%1$I o ORDER BY random() LIMIT 1)',
                      c.relname, a.attname,
                      CASE value
                        WHEN 'another' THEN format('(SELECT o.%I FROM nebula.%I o ORDER BY random() LIMIT 1)',
                                                   a.attname, c.relname)
                        ELSE coalesce(quote_literal(value), 'NULL')
                      END)
          FROM pg_class c
          JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
          JOIN pg_type t ON t.oid = a.atttypid
         CROSS JOIN LATERAL unnest(CASE
                 WHEN t.typcategory = 'S' THEN ARRAY['', 'any', 'a b', U&'\\0075\\0308', '10.90.0.9:1', 'host']
                 WHEN t.typcategory = 'I' THEN ARRAY['10.90.0.0/25', '10.99.0.0/16', '10.90.0.9', 'fd99::/64', '0.0.0.0/0']
                 WHEN t.typcategory = 'N' THEN ARRAY['-1', '0', '1', '65536', '2147483647']
                 WHEN t.typcategory = 'B' THEN ARRAY['true', 'false']
                 WHEN t.typcategory = 'D' THEN ARRAY['0001-01-01', '1999-12-31 23:59:60', '9999-12-31']
                 WHEN t.typcategory = 'T' THEN ARRAY['0', '100 years']
                 WHEN t.typcategory = 'A' THEN ARRAY['{}', '{any}', '{1,2}', '[5:6]={1,2}', '{10.90.0.0/24}']
                 WHEN t.typname = 'jsonb' THEN ARRAY['null', '[]', '{\"x\": 1e400}', '\"\\\\u00e9\"']
                 WHEN t.typname = 'bytea' THEN ARRAY['', '\\x00']
                 WHEN t.typname = 'uuid' THEN ARRAY['00000000-0000-0000-0000-000000000000']
               END || ARRAY['another', NULL]) AS value
         WHERE c.relnamespace = 'nebula'::regnamespace
           AND c.relkind = 'r'
           AND c.relname <> 'restore_progress'
         ORDER BY random()
      LOOP
        DECLARE
          v_rows integer;
        BEGIN
          EXECUTE v_change;
          GET DIAGNOSTICS v_rows = ROW_COUNT;
          v_taken := v_taken + v_rows;
        EXCEPTION WHEN OTHERS THEN
          NULL;
        END;
      END LOOP;
      RETURN v_taken;
    END $$";

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_tables_take_comes_back_from_a_dump() -> Result<()> {
    let cluster = cluster().await?;
    for round in 0..nebula_tests::rounds(2, 100) {
        let source = source("").await?;
        let client = source.connect().await?;
        client.batch_execute(WRITE).await?;
        let seed = round as f64 / 1000.0;
        let taken: i32 = client.query_one("SELECT pg_temp.write_by_hand($1)", &[&seed]).await?.get(0);
        ensure!(taken > 200, "the tables took {taken} changes with seed {seed}");
        let archive = dump(cluster, &source, "by-hand", &["-Fc"])?;
        let restored = cluster.empty_database(&format!("by_hand_{round}")).await?;
        run(pg_restore(cluster, restored.name(), &["-j2"]).arg(&archive))?;
        assert_equal(&source, &restored, &format!("seed {seed}")).await?;
    }
    Ok(())
}
