-- How many files projects have. To count the rows themselves would take a tenth of a second where there are many.

CREATE FUNCTION nebula.file_counted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_project_id CONSTANT uuid := CASE TG_OP WHEN 'INSERT' THEN NEW.project_id ELSE OLD.project_id END;
  v_change     CONSTANT integer := CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END;
BEGIN
  UPDATE nebula.file_count c
     SET files = c.files + v_change
   WHERE c.count_id = (SELECT o.count_id
                         FROM nebula.file_count o
                        WHERE o.project_id = v_project_id
                        LIMIT 1
                          FOR UPDATE SKIP LOCKED);
  IF NOT FOUND THEN
    INSERT INTO nebula.file_count (project_id, files) VALUES (v_project_id, v_change);
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION nebula.file_counted() IS 'Trigger: counts files that came or went, without waiting for others';
CREATE TRIGGER file_counted AFTER INSERT OR DELETE ON nebula.file
  FOR EACH ROW EXECUTE FUNCTION nebula.file_counted();

CREATE FUNCTION nebula.limit_files(p_project_id uuid, p_new integer) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_limit CONSTANT integer := nebula.row_limit('files');
BEGIN
  IF (SELECT sum(c.files) FROM nebula.file_count c WHERE c.project_id = p_project_id) + p_new > v_limit THEN
    RAISE EXCEPTION 'the project has % files', v_limit
      USING ERRCODE = '53Q00', HINT = 'Delete some for good, or put many small ones into an archive.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.limit_files(uuid, integer) IS
  'Internal: refuses so many files beside those that are counted, if their project would have too many. Errors: 53Q00';
