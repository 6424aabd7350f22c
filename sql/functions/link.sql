-- Linked tables: tables of the application that show each device's address.

-- Sessions remember whether there are any, with their pools.
CREATE TRIGGER linked_table_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON nebula.linked_table
  FOR EACH STATEMENT EXECUTE FUNCTION nebula.pool_changed();
ALTER TABLE nebula.linked_table ENABLE ALWAYS TRIGGER linked_table_changed;

CREATE FUNCTION nebula.link_device_table(target regclass, id_column name DEFAULT 'id', ip_column name DEFAULT 'nebula_ip') RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
  wanted record;
BEGIN
  IF target IS NULL OR NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = target AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't')
     OR EXISTS (SELECT FROM pg_class c WHERE c.oid = target AND c.relnamespace = 'nebula'::regnamespace) THEN
    RAISE EXCEPTION '% cannot be linked', coalesce(target::text, 'null')
      USING ERRCODE = '22023', HINT = 'Link a permanent table of the application, such as user_devices.';
  END IF;
  FOR wanted IN
    SELECT v.name, v.type, a.atttypid, a.attnotnull FROM (VALUES (id_column, 'uuid'::regtype), (ip_column, 'inet'::regtype)) AS v(name, type)
      LEFT JOIN pg_attribute a ON a.attrelid = target AND a.attname = v.name AND NOT a.attisdropped
  LOOP
    IF wanted.atttypid IS DISTINCT FROM wanted.type::oid THEN
      RAISE EXCEPTION 'table % has no column "%" of type %', target, wanted.name, wanted.type
        USING ERRCODE = '22023', HINT = format('ALTER TABLE %s ADD COLUMN %I %s; or name another column.', target, wanted.name, wanted.type);
    END IF;
    IF wanted.name = ip_column AND wanted.attnotnull THEN
      RAISE EXCEPTION 'column "%" of % must allow null: a released device has no address', wanted.name, target
        USING ERRCODE = '22023', HINT = format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL.', target, wanted.name);
    END IF;
  END LOOP;
  IF NOT EXISTS (
    SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
     WHERE i.indrelid = target AND i.indisvalid AND i.indpred IS NULL AND a.attname = id_column
  ) THEN
    RAISE EXCEPTION 'no index of % begins with column "%"', target, id_column
      USING ERRCODE = '22023', HINT = format('Each allocation looks its row up: CREATE INDEX ON %s (%I).', target, id_column);
  END IF;
  -- From here on nobody allocates unseen: first everything as it is, then each change.
  PERFORM nebula.hold_allocations();
  INSERT INTO nebula.linked_table AS l (target, id_column, ip_column)
  VALUES (link_device_table.target, link_device_table.id_column, link_device_table.ip_column)
  ON CONFLICT ON CONSTRAINT linked_table_pkey DO UPDATE SET id_column = EXCLUDED.id_column, ip_column = EXCLUDED.ip_column;
  PERFORM nebula.show_addresses(array_agg(w.device_id)) FROM nebula.link_differences() w HAVING count(*) > 0;
  PERFORM nebula.record_event(NULL, session_user::text, 'link', 'table', target::text, inet_client_addr(),
    jsonb_build_object('id', id_column, 'ip', ip_column));
END $$;
COMMENT ON FUNCTION nebula.link_device_table(regclass, name, name) IS
  'Keeps a column of an application''s table equal to what each device holds, in the same transaction and with the privileges of the '
  'table''s owner; a column nebula_last_seen timestamptz follows touch_device. Again: with other columns. For administrators. '
  'Errors: 22023 not a table, column missing, of another type or not null, no index';

CREATE FUNCTION nebula.unlink_device_table(target regclass) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  DELETE FROM nebula.linked_table l WHERE l.target = unlink_device_table.target;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'table % is not linked', unlink_device_table.target
      USING ERRCODE = 'P0002', HINT = 'List what is: SELECT * FROM nebula.linked_table.';
  END IF;
  PERFORM nebula.record_event(NULL, session_user::text, 'unlink', 'table', target::text, inet_client_addr());
END $$;
COMMENT ON FUNCTION nebula.unlink_device_table(regclass) IS
  'Stops keeping a table in step; what it shows stays. Errors: P0002 not linked';

-- Reads tables whose names are known only now. It reads, so it needs nobody else's privileges.
CREATE FUNCTION nebula.link_differences() RETURNS TABLE (target text, device_id uuid, shown inet, held inet)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  link record;
BEGIN
  FOR link IN
    SELECT l.* FROM nebula.linked_table l JOIN pg_class c ON c.oid = l.target
     WHERE (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped
               AND (a.attname = l.id_column AND a.atttypid = 'uuid'::regtype OR a.attname = l.ip_column AND a.atttypid = 'inet'::regtype)) = 2
  LOOP
    RETURN QUERY EXECUTE format(
      'SELECT %L::text, t.%I, t.%I, h.ip FROM %s t
         LEFT JOIN LATERAL (SELECT a.ip FROM nebula.allocation a WHERE a.device_id = t.%I AND a.released_at IS NULL
                             ORDER BY family(a.ip) LIMIT 1) h ON true
        WHERE t.%I IS DISTINCT FROM h.ip',
      link.target, link.id_column, link.ip_column, link.target, link.id_column, link.ip_column);
  END LOOP;
END $$;
COMMENT ON FUNCTION nebula.link_differences() IS 'Rows of linked tables that do not show what the device holds';
