-- An owner may write any row by hand, and one value that JSON or a calendar cannot write would break every list that
-- it is in. So one constraint of each table keeps its times within the years that RFC 3339 has, its lengths of time
-- within what can be added to them, and its fractions finite. It is made from the catalog, so that no table is
-- forgotten, and again by an update. It compares with constants instead of calling a function, because each SQL
-- statement that writes a row prepares it anew.
DO $$
DECLARE
  v_table record;
BEGIN
  FOR v_table IN
    SELECT c.oid::regclass AS name,
           quote_ident(c.relname || '_value_check') AS check_name,
           string_agg(format(CASE a.atttypid
                               WHEN 'timestamptz'::regtype
                               THEN '%1$I BETWEEN timestamptz ''0001-01-01 00:00:00+00'' '
                                    'AND ''9999-12-31 23:59:59.999999+00'''
                               WHEN 'interval'::regtype
                               THEN '%1$I BETWEEN interval ''0'' AND ''100 years'''
                               ELSE '%1$I > ''-Infinity'' AND %1$I < ''Infinity'''
                             END, a.attname),
                      ' AND ' ORDER BY a.attname) AS rule
      FROM pg_catalog.pg_extension e
      JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
      JOIN pg_catalog.pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid AND c.relkind IN ('r', 'p')
      JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     WHERE e.extname = 'pg_nebula'
       AND NOT c.relispartition
       AND a.atttypid IN ('timestamptz'::regtype, 'interval'::regtype, 'real'::regtype, 'double precision'::regtype)
       AND a.attgenerated = ''
       -- A job for infinity waits until somebody gives it a time; lists show the last one that there is.
       AND NOT (c.relname IN ('job_waiting', 'job_running', 'job_finished') AND a.attname = 'run_at')
     GROUP BY c.oid
  LOOP
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s, ADD CONSTRAINT %2$s CHECK (%3$s)',
                   v_table.name, v_table.check_name, v_table.rule);
  END LOOP;
END $$;

-- Likewise no list has lists or nothing in it: for one such row the gateway could not read any of its table.
DO $$
DECLARE
  v_table record;
BEGIN
  FOR v_table IN
    SELECT c.oid::regclass AS name,
           quote_ident(c.relname || '_list_check') AS check_name,
           string_agg(format('CASE WHEN array_ndims(%1$I) > 1 THEN false '
                             'ELSE array_position(%1$I, NULL::%2$s) IS NULL END', a.attname, t.typelem::regtype),
                      ' AND ' ORDER BY a.attname) AS rule
      FROM pg_catalog.pg_extension e
      JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
      JOIN pg_catalog.pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid AND c.relkind IN ('r', 'p')
      JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
      JOIN pg_catalog.pg_type t ON t.oid = a.atttypid AND t.typcategory = 'A'
     WHERE e.extname = 'pg_nebula'
       AND NOT c.relispartition
     GROUP BY c.oid
  LOOP
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s, ADD CONSTRAINT %2$s CHECK (%3$s)',
                   v_table.name, v_table.check_name, v_table.rule);
  END LOOP;
END $$;
