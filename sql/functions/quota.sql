-- Quotas. Bytes of an upload and of all that is made from it count once to its project, however many files have them,
-- and to one account: the first that stored them, and when it has no file of them any more, the one that has had them
-- longest. What is made from an upload is counted and never refused: half a film would help nobody. Uploads that have
-- begun count with the size that they will have (functions/upload.sql).

CREATE FUNCTION nebula.count_bytes(p_project_id uuid, p_account_id uuid, p_bytes bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  IF p_bytes = 0 THEN
    RETURN;
  END IF;
  UPDATE nebula.storage_use u
     SET bytes = u.bytes + p_bytes
   WHERE u.use_id = (SELECT o.use_id
                       FROM nebula.storage_use o
                      WHERE o.project_id = p_project_id
                        AND o.account_id IS NOT DISTINCT FROM p_account_id
                      LIMIT 1
                        FOR UPDATE SKIP LOCKED);
  IF NOT FOUND THEN
    INSERT INTO nebula.storage_use (project_id, account_id, bytes) VALUES (p_project_id, p_account_id, p_bytes);
  END IF;
END $$;
COMMENT ON FUNCTION nebula.count_bytes(uuid, uuid, bigint) IS
  'Internal: adds to what an account stores in a project, without waiting for others that do';

CREATE FUNCTION nebula.made_bytes(p_content_id uuid) RETURNS bigint
LANGUAGE sql STABLE AS $$
  SELECT coalesce((SELECT sum(r.size) FROM nebula.rendition r WHERE r.content_id = p_content_id), 0)::bigint
         + coalesce((SELECT sum(k.size) FROM nebula.chunk k WHERE k.content_id = p_content_id), 0)::bigint
$$;
COMMENT ON FUNCTION nebula.made_bytes(uuid) IS 'Internal: bytes of all that was made from a content';

CREATE FUNCTION nebula.made_counted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  -- Before it is read to whom the content counts: one that is handed on now is waited for.
  LOCK TABLE nebula.storage_use IN ROW EXCLUSIVE MODE;
  IF TG_OP = 'INSERT' THEN
    PERFORM nebula.count_bytes(c.project_id, c.owner_id, n.bytes)
       FROM (SELECT r.content_id, sum(r.size)::bigint AS bytes FROM new_rows r GROUP BY r.content_id) n
       JOIN nebula.content c USING (content_id);
  ELSIF TG_OP = 'DELETE' THEN
    PERFORM nebula.count_bytes(c.project_id, c.owner_id, -o.bytes)
       FROM (SELECT r.content_id, sum(r.size)::bigint AS bytes FROM old_rows r GROUP BY r.content_id) o
       JOIN nebula.content c USING (content_id);
  ELSE
    PERFORM nebula.count_bytes(c.project_id, c.owner_id, d.bytes)
       FROM (SELECT r.content_id, sum(r.size)::bigint AS bytes
               FROM (SELECT n.content_id, n.size FROM new_rows n
                      UNION ALL
                     SELECT o.content_id, -o.size FROM old_rows o) r
              GROUP BY r.content_id) d
       JOIN nebula.content c USING (content_id);
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION nebula.made_counted() IS 'Trigger: counts renditions and chunks that came or went';
CREATE TRIGGER rendition_added AFTER INSERT ON nebula.rendition
  REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION nebula.made_counted();
CREATE TRIGGER rendition_replaced AFTER UPDATE ON nebula.rendition
  REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION nebula.made_counted();
CREATE TRIGGER rendition_removed AFTER DELETE ON nebula.rendition
  REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION nebula.made_counted();
CREATE TRIGGER chunk_added AFTER INSERT ON nebula.chunk
  REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION nebula.made_counted();
CREATE TRIGGER chunk_replaced AFTER UPDATE ON nebula.chunk
  REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION nebula.made_counted();
CREATE TRIGGER chunk_removed AFTER DELETE ON nebula.chunk
  REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION nebula.made_counted();

CREATE FUNCTION nebula.content_counted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM nebula.count_bytes(NEW.project_id, NEW.owner_id, NEW.size);
  ELSIF TG_OP = 'UPDATE' THEN
    -- Waits for those who have counted something for the account before, and lets others wait until they see this.
    LOCK TABLE nebula.storage_use IN SHARE ROW EXCLUSIVE MODE;
    PERFORM nebula.count_bytes(OLD.project_id, OLD.owner_id, -(OLD.size + nebula.made_bytes(OLD.content_id)));
    PERFORM nebula.count_bytes(NEW.project_id, NEW.owner_id, NEW.size + nebula.made_bytes(NEW.content_id));
  ELSE
    -- While the content is there: the triggers on what was made from it find out through it to whom that counts.
    DELETE FROM nebula.variant v WHERE v.content_id = OLD.content_id;
    DELETE FROM nebula.rendition r WHERE r.content_id = OLD.content_id;
    PERFORM nebula.count_bytes(OLD.project_id, OLD.owner_id, -OLD.size);
    RETURN OLD;
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION nebula.content_counted() IS 'Trigger: counts contents that came, went, or count to another account';
CREATE TRIGGER content_added AFTER INSERT ON nebula.content
  FOR EACH ROW EXECUTE FUNCTION nebula.content_counted();
CREATE TRIGGER content_handed_on AFTER UPDATE OF project_id, owner_id, size ON nebula.content
  FOR EACH ROW EXECUTE FUNCTION nebula.content_counted();
CREATE TRIGGER content_removed BEFORE DELETE ON nebula.content
  FOR EACH ROW EXECUTE FUNCTION nebula.content_counted();

CREATE FUNCTION nebula.hand_on_content(p_content_id uuid) RETURNS void
LANGUAGE sql AS $$
  UPDATE nebula.content c
     SET owner_id = (SELECT f.owner_id
                       FROM nebula.file f
                      WHERE f.content_id = p_content_id
                      ORDER BY f.uploaded_at, f.file_id
                      LIMIT 1)
   WHERE c.content_id = p_content_id
     AND NOT EXISTS (SELECT
                       FROM nebula.file f
                      WHERE f.content_id = p_content_id
                        AND f.owner_id IS NOT DISTINCT FROM c.owner_id)
$$;
COMMENT ON FUNCTION nebula.hand_on_content(uuid) IS
  'Internal: lets a content count to the account that has had a file of it longest, if the one that it counts to has '
  'none any more';

-- Read at each upload, so it reads only sums.
CREATE FUNCTION nebula.quotas_of(p_account_id uuid, p_project_id uuid, p_except uuid[] DEFAULT '{}')
RETURNS TABLE (subject text, name text, used_bytes bigint, unfinished_bytes bigint, max_bytes bigint)
LANGUAGE sql STABLE AS $$
  SELECT 'project', p.name, nebula.used_bytes(p.project_id, NULL, p_except),
         nebula.unfinished_bytes(p.project_id, NULL, p_except), q.max_bytes
    FROM nebula.quota q
    JOIN nebula.project p USING (project_id)
   WHERE q.project_id = p_project_id
   UNION ALL
  SELECT 'account', a.username, nebula.used_bytes(NULL, a.account_id, p_except),
         nebula.unfinished_bytes(NULL, a.account_id, p_except), q.max_bytes
    FROM nebula.quota q
    JOIN nebula.account a USING (account_id)
   WHERE q.account_id = p_account_id
$$;
COMMENT ON FUNCTION nebula.quotas_of(uuid, uuid, uuid[]) IS
  'Internal: the quotas that an upload of the account into the project is under, and how much of each is used, without '
  'some uploads that have not ended';

CREATE FUNCTION nebula.refuse_over_quota(
  p_account_id uuid, p_project_id uuid, p_new bigint, p_counted boolean, p_except uuid[] DEFAULT '{}'
) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_quota  record;
  v_before bigint;
  v_left   bigint;
BEGIN
  FOR v_quota IN SELECT * FROM nebula.quotas_of(p_account_id, p_project_id, p_except) LOOP
    v_before := v_quota.used_bytes - CASE WHEN p_counted THEN p_new ELSE 0 END;
    IF v_before + p_new > v_quota.max_bytes THEN
      RAISE EXCEPTION 'the quota of % "%" is %: % are used%, and % more do not fit', v_quota.subject, v_quota.name,
          pg_size_pretty(v_quota.max_bytes), pg_size_pretty(v_before),
          CASE
            WHEN v_quota.unfinished_bytes > 0
            THEN format(', %s of them by unfinished uploads', pg_size_pretty(v_quota.unfinished_bytes))
            ELSE ''
          END,
          pg_size_pretty(p_new)
        USING ERRCODE = CASE WHEN p_new > v_quota.max_bytes THEN '53Q01' ELSE '53Q00' END,
          HINT = CASE
                   WHEN p_new > v_quota.max_bytes
                   THEN 'The file alone is larger than that: an administrator can raise it with nebulactl quota set.'
                   ELSE 'Delete files for good, or have an administrator raise it with nebulactl quota set.'
                 END;
    END IF;
    v_left := least(v_left, greatest(v_quota.max_bytes - v_before, 0));
  END LOOP;
  RETURN v_left;
END $$;
COMMENT ON FUNCTION nebula.refuse_over_quota(uuid, uuid, bigint, boolean, uuid[]) IS
  'Internal: the bytes that quotas leave to an upload, without some that have not ended; null: no quota. Counted: '
  'these bytes are in the sums already. Errors: 53Q00 they do not fit, 53Q01 they are more than the quota';

CREATE FUNCTION nebula.upload_room(
  p_actor nebula.proven_account, p_project_id uuid, p_size bigint, p_sha256 bytea DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_known bigint;
BEGIN
  PERFORM nebula.require_permission(p_actor, p_project_id, 'file.write');
  PERFORM nebula.limit_files(p_project_id, 1);
  -- Bytes that the project has already cost nothing.
  SELECT c.size
    INTO v_known
    FROM nebula.content c
   WHERE c.project_id = p_project_id
     AND c.sha256 = p_sha256;
  IF v_known = coalesce(p_size, v_known) THEN
    RETURN v_known;
  END IF;
  RETURN nebula.refuse_over_quota(p_actor, p_project_id, coalesce(p_size, 1), false);
END $$;
COMMENT ON FUNCTION nebula.upload_room(nebula.proven_account, uuid, bigint, bytea) IS
  'For the gateway: the bytes that quotas leave to an upload of this size, or of one that is not known, asked before '
  'it is sent; null: any number. Bytes of this SHA-256 that the project has already need no room. Errors: P0002, 42501 '
  'as require_permission, 53Q00 they do not fit, or the project has too many files, 53Q01 they are more than the quota';

CREATE FUNCTION nebula.require_room(
  p_account_id uuid, p_project_id uuid, p_new bigint, p_except uuid[] DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql AS $$
BEGIN
  -- One upload after the other, the quota of the project before that of the account: two that fit alone do not both
  -- pass. The sums are read by the next statement, which sees what the upload before has stored.
  PERFORM FROM nebula.quota q WHERE q.project_id = p_project_id FOR NO KEY UPDATE;
  PERFORM FROM nebula.quota q WHERE q.account_id = p_account_id FOR NO KEY UPDATE;
  RETURN nebula.refuse_over_quota(p_account_id, p_project_id, greatest(p_new, 1), p_except IS NULL,
                                  coalesce(p_except, '{}'));
END $$;
COMMENT ON FUNCTION nebula.require_room(uuid, uuid, bigint, uuid[]) IS
  'Internal: refuses new bytes if they do not fit, and answers how many would; null: any number. They are in the sums '
  'already, of stored bytes or of these uploads that have not ended. Errors: 53Q00, 53Q01';

CREATE FUNCTION nebula.write_quota(
  p_who text, p_project_id uuid, p_account_id uuid, p_max_bytes bigint, p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_before CONSTANT bigint := (SELECT q.max_bytes
                                 FROM nebula.quota q
                                WHERE q.project_id = p_project_id OR q.account_id = p_account_id);
BEGIN
  IF p_max_bytes < 0 THEN
    RAISE EXCEPTION 'a quota cannot be % bytes', p_max_bytes
      USING ERRCODE = '22023', HINT = 'Give a number of bytes from 0 on, or null for no quota.';
  END IF;
  IF p_max_bytes IS NULL THEN
    DELETE FROM nebula.quota q WHERE q.project_id = p_project_id OR q.account_id = p_account_id;
  ELSIF p_project_id IS NOT NULL THEN
    INSERT INTO nebula.quota (project_id, max_bytes, set_by) VALUES (p_project_id, p_max_bytes, p_who)
    ON CONFLICT ON CONSTRAINT quota_project_key DO UPDATE
       SET max_bytes = EXCLUDED.max_bytes, set_by = EXCLUDED.set_by, set_at = now();
  ELSE
    INSERT INTO nebula.quota (account_id, max_bytes, set_by) VALUES (p_account_id, p_max_bytes, p_who)
    ON CONFLICT ON CONSTRAINT quota_account_key DO UPDATE
       SET max_bytes = EXCLUDED.max_bytes, set_by = EXCLUDED.set_by, set_at = now();
  END IF;
  PERFORM nebula.record_event(p_project_id, p_who, 'set-quota',
    CASE WHEN p_project_id IS NULL THEN 'account' ELSE 'project' END,
    coalesce(p_project_id, p_account_id)::text, p_client,
    jsonb_build_object('before', jsonb_build_object('maxBytes', v_before),
                       'after', jsonb_build_object('maxBytes', p_max_bytes)));
END $$;
COMMENT ON FUNCTION nebula.write_quota(text, uuid, uuid, bigint, inet) IS
  'Internal: sets the quota of a project or an account, or removes it. Errors: 22023 negative';

CREATE FUNCTION nebula.set_project_quota(project_id uuid, max_bytes bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_project(project_id);
  PERFORM nebula.write_quota(session_user::text, project_id, NULL, max_bytes);
END $$;
COMMENT ON FUNCTION nebula.set_project_quota(uuid, bigint) IS
  'Sets how many bytes a project may store: uploads, and all that is made from them; null: any number. What is stored '
  'already stays. Errors: P0002 no such project, 22023 negative';

CREATE FUNCTION nebula.set_account_quota(username text, max_bytes bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_account_id uuid := nebula.find_account(username);
BEGIN
  PERFORM nebula.write_quota(session_user::text, NULL, v_account_id, max_bytes);
END $$;
COMMENT ON FUNCTION nebula.set_account_quota(text, bigint) IS
  'Sets how many bytes an account may store in all projects together; null: any number. Bytes that several accounts '
  'uploaded into a project count to the first of them that still has a file of them. Errors: P0002 no such account, '
  '22023 negative';

CREATE FUNCTION nebula.set_quota_for(
  p_actor nebula.proven_account, p_subject text, p_id uuid, p_max_bytes bigint, p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who text := nebula.require_operator(p_actor, 'quota.write');
BEGIN
  IF p_subject = 'project' THEN
    PERFORM nebula.require_project(p_id);
    PERFORM nebula.write_quota(v_who, p_id, NULL, p_max_bytes, p_client);
  ELSIF p_subject = 'account' THEN
    IF NOT EXISTS (SELECT FROM nebula.account a WHERE a.account_id = p_id) THEN
      RAISE EXCEPTION 'there is no account %', p_id
        USING ERRCODE = 'P0002', HINT = 'GET /api/quotas lists accounts and projects.';
    END IF;
    PERFORM nebula.write_quota(v_who, NULL, p_id, p_max_bytes, p_client);
  ELSE
    RAISE EXCEPTION '"%" has no quota', left(p_subject, 80)
      USING ERRCODE = '22023', HINT = 'Quotas are of a project or an account.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.set_quota_for(nebula.proven_account, text, uuid, bigint, inet) IS
  'For the gateway: sets the quota of a project or account, for administrators. Errors: 42501, P0002, 22023';

CREATE FUNCTION nebula.list_quotas(p_actor nebula.proven_account)
RETURNS TABLE (subject text, id uuid, name text, used_bytes bigint, max_bytes bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT 'project', p.project_id, p.name,
         nebula.used_bytes(p.project_id, NULL),
         (SELECT q.max_bytes FROM nebula.quota q WHERE q.project_id = p.project_id)
    FROM nebula.project p
   WHERE p.project_id IN (SELECT nebula.visible_projects(p_actor))
   UNION ALL
  SELECT 'account', a.account_id, a.username,
         nebula.used_bytes(NULL, a.account_id),
         (SELECT q.max_bytes FROM nebula.quota q WHERE q.account_id = a.account_id)
    FROM nebula.account a
    JOIN nebula.account s ON s.account_id = p_actor AND s.disabled_at IS NULL
   WHERE a.account_id = p_actor
      OR s.role = 'admin'
   ORDER BY 1 DESC, 3
$$;
COMMENT ON FUNCTION nebula.list_quotas(nebula.proven_account) IS
  'For the gateway: what the projects that the account sees, and the account itself, store and may store, with what '
  'unfinished uploads will; administrators see all accounts';

CREATE FUNCTION nebula.check_storage(repair boolean DEFAULT false)
RETURNS TABLE (project_id uuid, account_id uuid, counted bigint, stored bigint, repaired boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_repair CONSTANT boolean := coalesce(repair, false);
  v_wrong  record;
BEGIN
  IF v_repair THEN
    -- A change that is not committed has been counted, and is waited for, or waits to be counted until this ends.
    LOCK TABLE nebula.storage_use IN SHARE ROW EXCLUSIVE MODE;
  END IF;
  FOR v_wrong IN
    SELECT d.project_id, d.account_id, sum(d.counted)::bigint AS counted, sum(d.stored)::bigint AS stored
      FROM (SELECT u.project_id, u.account_id, u.bytes AS counted, 0 AS stored
              FROM nebula.storage_use u
             UNION ALL
            SELECT c.project_id, c.owner_id, 0, c.size + nebula.made_bytes(c.content_id)
              FROM nebula.content c) d
     GROUP BY d.project_id, d.account_id
    HAVING sum(d.counted) <> sum(d.stored)
  LOOP
    PERFORM nebula.count_bytes(v_wrong.project_id, v_wrong.account_id, v_wrong.stored - v_wrong.counted)
      WHERE v_repair;
    RETURN QUERY SELECT v_wrong.project_id, v_wrong.account_id, v_wrong.counted, v_wrong.stored, v_repair;
  END LOOP;
END $$;
COMMENT ON FUNCTION nebula.check_storage(boolean) IS
  'Compares what is counted for quotas with what is stored; a row for each difference. repair: corrects the counts';
