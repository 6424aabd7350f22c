-- Linked tables: tables of an application with a column that follows the address of each device.

-- Functions in Rust.
COMMENT ON FUNCTION nebula.touch_device(uuid) IS
  'Records that a device was seen, in linked tables too; does not extend a lease. Errors: P0002 no such '
  'device';
COMMENT ON FUNCTION nebula.sync_linked_tables(uuid[]) IS
  'Internal: writes the present addresses of these devices into linked tables';

-- Sessions cache the linked tables together with the pools; this trigger invalidates that cache.
CREATE TRIGGER linked_table_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON nebula.linked_table
  FOR EACH STATEMENT EXECUTE FUNCTION nebula.pool_changed();
ALTER TABLE nebula.linked_table ENABLE ALWAYS TRIGGER linked_table_changed;

CREATE FUNCTION nebula.link_device_table(
  target regclass,
  id_column name DEFAULT 'id',
  ip_column name DEFAULT 'nebula_ip'
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp
SET lock_timeout = '5s' AS $$
DECLARE
  v_target    CONSTANT regclass := target;
  v_id_column CONSTANT name := id_column;
  v_ip_column CONSTANT name := ip_column;
  v_wanted    record;
BEGIN
  IF v_target IS NULL
     OR NOT EXISTS (SELECT
                      FROM pg_class c
                     WHERE c.oid = v_target
                       AND c.relkind IN ('r', 'p')
                       AND c.relpersistence <> 't')
     OR EXISTS (SELECT FROM pg_class c WHERE c.oid = v_target AND c.relnamespace = 'nebula'::regnamespace)
  THEN
    RAISE EXCEPTION '% cannot be linked', coalesce(v_target::text, 'null')
      USING ERRCODE = '22023', HINT = 'Link a permanent table of the application, such as user_devices.';
  END IF;
  IF v_id_column IS NULL OR v_ip_column IS NULL THEN
    RAISE EXCEPTION 'names of columns must not be null'
      USING ERRCODE = '22023', HINT = 'Name the column of the device and that of its address.';
  END IF;
  FOR v_wanted IN
    SELECT v.name, v.type, a.atttypid, a.attnotnull
      FROM (VALUES (v_id_column, 'uuid'::regtype), (v_ip_column, 'inet'::regtype)) AS v(name, type)
      LEFT JOIN pg_attribute a ON a.attrelid = v_target AND a.attname = v.name AND NOT a.attisdropped
  LOOP
    IF v_wanted.atttypid IS DISTINCT FROM v_wanted.type::oid THEN
      RAISE EXCEPTION 'table % has no column "%" of type %', v_target, v_wanted.name, v_wanted.type
        USING ERRCODE = '22023',
          HINT = format('ALTER TABLE %s ADD COLUMN %I %s; or name another column.',
                        v_target, v_wanted.name, v_wanted.type);
    END IF;
    IF v_wanted.name = v_ip_column AND v_wanted.attnotnull THEN
      RAISE EXCEPTION 'column "%" of % must allow null: a released device has no address',
          v_wanted.name, v_target
        USING ERRCODE = '22023',
          HINT = format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL.', v_target, v_wanted.name);
    END IF;
  END LOOP;
  IF NOT EXISTS (
    SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
     WHERE i.indrelid = v_target AND i.indisvalid AND i.indpred IS NULL AND a.attname = v_id_column
  ) THEN
    RAISE EXCEPTION 'no index of % begins with column "%"', v_target, v_id_column
      USING ERRCODE = '22023',
        HINT = format('Each allocation looks its row up: CREATE INDEX ON %s (%I).', v_target, v_id_column);
  END IF;
  -- Blocks allocations until commit: the table gets all present addresses here, and every later change by the link.
  PERFORM nebula.hold_allocations();
  INSERT INTO nebula.linked_table AS l (target, id_column, ip_column)
  VALUES (v_target, v_id_column, v_ip_column)
  ON CONFLICT ON CONSTRAINT linked_table_pkey DO UPDATE
     SET id_column = EXCLUDED.id_column,
         ip_column = EXCLUDED.ip_column;
  PERFORM nebula.sync_linked_tables(array_agg(w.device_id)) FROM nebula.link_differences() w HAVING count(*) > 0;
  PERFORM nebula.record_event(NULL, session_user::text, 'link', 'table', v_target::text, inet_client_addr(),
    jsonb_build_object('id', v_id_column, 'ip', v_ip_column));
END $$;
COMMENT ON FUNCTION nebula.link_device_table(regclass, name, name) IS
  'Keeps a column of a table of an application equal to the address of each device, in the same '
  'transaction and with the privileges of the owner of the table. A column nebula_last_seen timestamptz '
  'follows touch_device. Another call changes the columns. For administrators. Errors: 22023 not a table, '
  'column missing, of another type or not null, no index';

CREATE FUNCTION nebula.unlink_device_table(target regclass) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_target CONSTANT regclass := target;
BEGIN
  DELETE FROM nebula.linked_table l WHERE l.target = v_target;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'table % is not linked', v_target
      USING ERRCODE = 'P0002', HINT = 'List linked tables: SELECT * FROM nebula.linked_table.';
  END IF;
  PERFORM nebula.record_event(NULL, session_user::text, 'unlink', 'table', v_target::text,
                              inet_client_addr());
END $$;
COMMENT ON FUNCTION nebula.unlink_device_table(regclass) IS
  'Stops updating a linked table; its contents stay. Errors: P0002 not linked';

-- Dynamic SQL, because the tables are known at run time only. It reads with the privileges of the extension's owner.
CREATE FUNCTION nebula.link_differences()
RETURNS TABLE (target text, device_id uuid, shown inet, held inet)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_link record;
BEGIN
  FOR v_link IN
    SELECT l.*
      FROM nebula.linked_table l
      JOIN pg_class c ON c.oid = l.target
     WHERE (SELECT count(*)
              FROM pg_attribute a
             WHERE a.attrelid = c.oid
               AND NOT a.attisdropped
               AND (a.attname = l.id_column AND a.atttypid = 'uuid'::regtype
                    OR a.attname = l.ip_column AND a.atttypid = 'inet'::regtype)) = 2
  LOOP
    RETURN QUERY EXECUTE format(
      'SELECT %L::text, t.%I, t.%I, h.ip FROM %s t
         LEFT JOIN LATERAL (SELECT a.ip FROM nebula.allocation a WHERE a.device_id = t.%I AND a.released_at IS NULL
                             ORDER BY family(a.ip) LIMIT 1) h ON true
        WHERE t.%I IS DISTINCT FROM h.ip',
      v_link.target, v_link.id_column, v_link.ip_column, v_link.target, v_link.id_column, v_link.ip_column);
  END LOOP;
END $$;
COMMENT ON FUNCTION nebula.link_differences() IS
  'Internal: rows of linked tables that do not show what the device holds';
