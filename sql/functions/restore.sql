-- Restoring a dump. CREATE EXTENSION in a session of pg_restore, or in a script of pg_dump, leaves the database in a
-- state in which nothing but the restore adds rows and the background workers do nothing. The last statement of every
-- dump, REFRESH MATERIALIZED VIEW nebula.restored, ends that state.
--
-- pg_restore -j brings the tables of an extension in any order, since an archive does not record dependencies between
-- their rows; so foreign keys, and triggers that read other tables, are off for these statements.

CREATE FUNCTION nebula.dumped_relations() RETURNS SETOF pg_class
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT c.*
    FROM pg_extension e
    JOIN pg_class c ON c.oid = ANY (e.extconfig)
   WHERE e.extname = 'pg_nebula'
     AND c.oid <> 'nebula.restore_progress'::regclass
$$;
COMMENT ON FUNCTION nebula.dumped_relations() IS 'Internal: tables and sequences whose contents pg_dump saves';

-- A restore sets every sequence. Until then each is at three quarters of its range, where no dump has it, and nextval
-- can be called, so that an INSERT ends with the message of the trigger below. The one that starts again at its end
-- (CYCLE) is not called, which in a dump it always is.
CREATE FUNCTION nebula.sequences_to_restore() RETURNS SETOF regclass
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_sequence record;
  v_waits    boolean;
BEGIN
  FOR v_sequence IN
    SELECT s.seqrelid::regclass AS name, s.seqmax, s.seqcycle
      FROM nebula.dumped_relations() r
      JOIN pg_sequence s ON s.seqrelid = r.oid
  LOOP
    EXECUTE format('SELECT CASE WHEN $2 THEN NOT is_called ELSE last_value >= $1 / 4 * 3 END FROM %s', v_sequence.name)
       INTO v_waits USING v_sequence.seqmax, v_sequence.seqcycle;
    IF v_waits THEN
      RETURN NEXT v_sequence.name;
    END IF;
  END LOOP;
END $$;
COMMENT ON FUNCTION nebula.sequences_to_restore() IS 'Internal: sequences that a restore has not set yet';

CREATE FUNCTION nebula.restore_is_over() RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT NOT EXISTS (SELECT FROM nebula.restore_progress p WHERE p.by_copy IS NOT TRUE)
     AND NOT EXISTS (SELECT FROM nebula.sequences_to_restore())
     AND NOT EXISTS (SELECT
                       FROM nebula.restore_progress p
                       JOIN pg_stat_activity a ON (a.pid, a.backend_start) = (p.loaded_by, p.session_start))
$$;
COMMENT ON FUNCTION nebula.restore_is_over() IS
  'Internal: whether all tables and sequences are filled and the sessions that did it have ended, as after '
  'a restore of the sections pre-data and data alone';

CREATE FUNCTION nebula.restored_rows_begin() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_owner oid := (SELECT c.relowner FROM pg_class c WHERE c.oid = TG_RELID);
BEGIN
  -- The header of every dump switches this setting off. session_user is checked, since a service must not get around
  -- foreign keys by the setting.
  IF current_setting('check_function_bodies') = 'off' AND pg_has_role(session_user, v_owner, 'USAGE') THEN
    UPDATE nebula.restore_progress p
       SET loaded_by = a.pid,
           session_start = a.backend_start,
           by_copy = current_query() ~* '^\s*copy\s'
      FROM pg_stat_activity a
     WHERE p.relation = TG_RELID
       AND a.pid = pg_backend_pid();
    PERFORM set_config('pg_nebula.replication_role', current_setting('session_replication_role'), true);
    PERFORM set_config('session_replication_role', 'replica', true);
  ELSIF NOT nebula.restore_is_over() THEN
    RAISE EXCEPTION 'database "%" is being restored and takes no other rows until that is over', current_database()
      USING ERRCODE = '57P03',
        HINT = 'Wait for pg_restore to end. If nothing more is to come: SELECT nebula.finish_restore().';
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION nebula.restored_rows_begin() IS
  'Trigger: before a statement of a restore, switches foreign keys and triggers off and notes that the '
  'rows have come; refuses other sessions';

CREATE FUNCTION nebula.restored_rows_end() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM set_config('session_replication_role', v.role, true)
     FROM nullif(current_setting('pg_nebula.replication_role', true), '') AS v(role)
    WHERE v.role IS NOT NULL;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION nebula.restored_rows_end() IS
  'Trigger: after a statement of a restore, switches foreign keys and triggers on again';

CREATE FUNCTION nebula.tables_with_rows() RETURNS SETOF regclass
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_table regclass;
  v_used  boolean;
BEGIN
  FOR v_table IN
    SELECT r.oid
      FROM nebula.dumped_relations() r
     WHERE r.relkind = 'r'
       -- A background worker fills these in a database that nobody has used yet.
       AND r.relname NOT IN ('job_segment', 'event_segment', 'series')
  LOOP
    EXECUTE format('SELECT EXISTS (SELECT FROM %s)', v_table) INTO v_used;
    IF v_used THEN
      RETURN NEXT v_table;
    END IF;
  END LOOP;
END $$;
COMMENT ON FUNCTION nebula.tables_with_rows() IS 'Internal: tables that hold anything that a dump would save';

CREATE FUNCTION nebula.has_rows() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT EXISTS (SELECT FROM nebula.tables_with_rows())
$$;
COMMENT ON FUNCTION nebula.has_rows() IS 'Internal: whether there is anything that a dump would save';

CREATE FUNCTION nebula.begin_restore() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_table regclass;
BEGIN
  IF nebula.has_rows() OR EXISTS (SELECT FROM nebula.restore_progress) THEN
    RETURN false;
  END IF;
  FOR v_table IN SELECT r.oid FROM nebula.dumped_relations() r WHERE r.relkind = 'r' ORDER BY r.oid LOOP
    EXECUTE format('CREATE TRIGGER restored_rows_begin BEFORE INSERT ON %s FOR EACH STATEMENT
                    EXECUTE FUNCTION nebula.restored_rows_begin()', v_table);
    EXECUTE format('CREATE TRIGGER restored_rows_end AFTER INSERT ON %s FOR EACH STATEMENT
                    EXECUTE FUNCTION nebula.restored_rows_end()', v_table);
    -- ALWAYS, since the first of them, or the session, may have switched other triggers off.
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER restored_rows_begin,
                                   ENABLE ALWAYS TRIGGER restored_rows_end', v_table);
    INSERT INTO nebula.restore_progress (relation) VALUES (v_table);
  END LOOP;
  -- CREATE TRIGGER has locked the tables against writers, so this sees what they wrote before.
  IF nebula.has_rows() THEN
    PERFORM nebula.finish_restore();
    RETURN false;
  END IF;
  DELETE FROM nebula.job_segment;
  DELETE FROM nebula.event_segment;
  DELETE FROM nebula.series;
  PERFORM setval(s.seqrelid::regclass, CASE WHEN s.seqcycle THEN s.seqmax ELSE s.seqmax / 4 * 3 END, NOT s.seqcycle)
     FROM nebula.dumped_relations() r
     JOIN pg_sequence s ON s.seqrelid = r.oid;
  RETURN true;
END $$;
COMMENT ON FUNCTION nebula.begin_restore() IS
  'Prepares for a restore of rows alone (pg_restore --data-only): until it is complete, the background '
  'workers and all other sessions are held. pg_restore without that option needs no call. False: nothing '
  'was done, because the extension has rows already';

CREATE FUNCTION nebula.finish_restore() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_table    regclass;
  v_sequence record;
  v_last     bigint;
BEGIN
  FOR v_table IN SELECT p.relation FROM nebula.restore_progress p ORDER BY p.relation LOOP
    EXECUTE format('DROP TRIGGER IF EXISTS restored_rows_begin ON %s', v_table);
    EXECUTE format('DROP TRIGGER IF EXISTS restored_rows_end ON %s', v_table);
  END LOOP;
  -- Sequences that the restore did not bring go on after the rows that it brought.
  FOR v_sequence IN
    SELECT w.name, s.seqstart, d.refobjid::regclass AS owner, a.attname
      FROM nebula.sequences_to_restore() AS w(name)
      JOIN pg_sequence s ON s.seqrelid = w.name
      LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = w.name AND d.deptype = 'i'
      LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
  LOOP
    IF v_sequence.name = 'nebula.job_id_seq'::regclass THEN
      v_last := greatest((SELECT max(j.job_id) FROM nebula.job_waiting j),
                         (SELECT max(j.job_id) FROM nebula.job_running j),
                         (SELECT max(j.job_id) FROM nebula.job_finished j));
    ELSIF v_sequence.name = 'nebula.job_segment_seq'::regclass THEN
      v_last := coalesce((SELECT g.segment FROM nebula.job_segment g ORDER BY g.opened_at DESC LIMIT 1), 0);
    ELSIF v_sequence.name = 'nebula.event_segment_seq'::regclass THEN
      v_last := coalesce((SELECT g.segment FROM nebula.event_segment g ORDER BY g.opened_at DESC LIMIT 1), 0);
    ELSE
      EXECUTE format('SELECT max(%I) FROM %s', v_sequence.attname, v_sequence.owner) INTO v_last;
    END IF;
    PERFORM setval(v_sequence.name, coalesce(v_last, v_sequence.seqstart), v_last IS NOT NULL);
  END LOOP;
  DELETE FROM nebula.restore_progress;
END $$;
COMMENT ON FUNCTION nebula.finish_restore() IS
  'Says that nothing more of a dump is to come: functions take rows again and the background workers begin. '
  'A complete restore does so itself; this is for one that left something out on purpose, or a dump of '
  'another release. Nothing unless the database is being restored';

CREATE FUNCTION nebula.restore_ends() RETURNS SETOF timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_missing text;
BEGIN
  IF EXISTS (SELECT FROM nebula.restore_progress) THEN
    -- A dump made of INSERT has no statement for an empty table. Tables with rows that no trigger has noted come from
    -- pg_restore --disable-triggers; nothing tells then whether the empty tables have come.
    v_missing := (SELECT string_agg(m.name, ', ' ORDER BY m.name)
                    FROM (SELECT p.relation::text
                            FROM nebula.restore_progress p
                           WHERE p.loaded_by IS NULL
                             AND NOT EXISTS (SELECT FROM nebula.restore_progress i WHERE NOT i.by_copy)
                             AND NOT EXISTS (SELECT
                                               FROM nebula.restore_progress i
                                              WHERE i.loaded_by IS NULL
                                                AND i.relation IN (SELECT * FROM nebula.tables_with_rows()))
                           UNION ALL
                          SELECT s.name::text FROM nebula.sequences_to_restore() AS s(name)) AS m(name));
    IF v_missing IS NOT NULL THEN
      RAISE WARNING 'database "%" is not completely restored: nothing has come for %', current_database(), v_missing
        USING HINT = 'Restore the rest. If nothing more is to come, as after a dump of the schema alone: '
                     'SELECT nebula.finish_restore().';
      RETURN;
    END IF;
    PERFORM nebula.finish_restore();
  END IF;
  RETURN NEXT now();
END $$;
COMMENT ON FUNCTION nebula.restore_ends() IS
  'Internal: query of restored; ends a restore that has brought everything, and warns of one that has not';

-- pg_dump refreshes materialized views after everything else, also with -j, and in the section post-data.
CREATE MATERIALIZED VIEW nebula.restored AS SELECT e.at FROM nebula.restore_ends() AS e(at);
SELECT pg_catalog.pg_extension_config_dump('nebula.restored', '');
COMMENT ON MATERIALIZED VIEW nebula.restored IS
  'Internal: its REFRESH, which pg_dump writes as the last statement of a dump, ends a restore';
COMMENT ON COLUMN nebula.restored.at IS 'When this database was made or its restore ended; no row: not complete';

-- row_security is off in the header of every dump, and in hardly any other session. check_function_bodies is, too, but
-- CREATE EXTENSION changes that itself.
CREATE FUNCTION nebula.in_restore_session() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT current_setting('row_security') = 'off' OR current_setting('application_name') = 'pg_restore'
$$;
COMMENT ON FUNCTION nebula.in_restore_session() IS
  'Internal: whether this is a session of pg_restore, or of psql that runs a dump';

CREATE FUNCTION nebula.extension_wanted() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  -- The command needs no privilege where the extension is already there, so the owner's is asked for.
  IF nebula.in_restore_session()
    AND current_query() ~* '\mpg_nebula\M'
    AND pg_has_role(session_user, (SELECT e.extowner FROM pg_extension e WHERE e.extname = 'pg_nebula'), 'USAGE')
  THEN
    PERFORM nebula.begin_restore();
  END IF;
END $$;
COMMENT ON FUNCTION nebula.extension_wanted() IS
  'Trigger: CREATE EXTENSION IF NOT EXISTS pg_nebula in a restore, where the extension is already';

DO $$
BEGIN
  IF nebula.in_restore_session() THEN
    PERFORM nebula.begin_restore();
  END IF;
  IF NOT EXISTS (SELECT FROM pg_event_trigger t WHERE t.evtname = 'pg_nebula_restore') THEN
    CREATE EVENT TRIGGER pg_nebula_restore ON ddl_command_end WHEN TAG IN ('CREATE EXTENSION')
      EXECUTE FUNCTION nebula.extension_wanted();
  END IF;
END $$;
COMMENT ON EVENT TRIGGER pg_nebula_restore IS 'Begins a restore into a database that has the extension, but no rows';
