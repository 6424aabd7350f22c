-- Uploads that have begun and not ended: counted to quotas before their bytes come, and limited in number.

CREATE FUNCTION nebula.upload_project(p_actor uuid) RETURNS uuid
LANGUAGE sql STABLE AS $$
  SELECT p.project_id
    FROM nebula.permitted_projects(p_actor, 'file.write') AS p(project_id)
    LEFT JOIN nebula.quota q ON q.project_id = p.project_id
   ORDER BY q.max_bytes - nebula.used_bytes(p.project_id, NULL) DESC NULLS FIRST, p.project_id
   LIMIT 1
$$;
COMMENT ON FUNCTION nebula.upload_project(uuid) IS
  'Internal: the project that an upload counts to which names none: that of the account with most room; null: it '
  'may upload into none';

CREATE FUNCTION nebula.admit_upload(
  p_actor nebula.proven_account, p_upload_id uuid, p_project_id uuid, p_size bigint, p_sha256 bytea,
  p_lifetime interval, p_parts uuid[] DEFAULT '{}'
) RETURNS TABLE (project_id uuid, room bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_project_id CONSTANT uuid := coalesce(p_project_id, nebula.upload_project(p_actor));
  v_is_new     CONSTANT boolean := NOT EXISTS (SELECT FROM nebula.upload u WHERE u.upload_id = p_upload_id);
  v_limit      CONSTANT integer := nebula.row_limit('uploads');
  v_sha256     bytea;
  v_known      boolean;
BEGIN
  IF v_project_id IS NULL THEN
    RAISE EXCEPTION 'the account may upload into no project'
      USING ERRCODE = '42501', HINT = 'Ask the owner of one to add it as a member.';
  END IF;
  PERFORM nebula.require_permission(p_actor, v_project_id, 'file.write');
  PERFORM nebula.limit_files(v_project_id, 1);
  DELETE FROM nebula.upload u WHERE u.account_id = p_actor AND u.expires_at <= now() AND u.upload_id <> p_upload_id;
  IF v_is_new AND (SELECT count(*) FROM nebula.upload u WHERE u.account_id = p_actor) >= v_limit THEN
    RAISE EXCEPTION 'the account has % unfinished uploads', v_limit
      USING ERRCODE = '53Q00',
        HINT = 'Finish or end some of them; they end by themselves some days after their last byte.';
  END IF;
  INSERT INTO nebula.upload AS u (upload_id, project_id, account_id, size, sha256, expires_at)
  VALUES (p_upload_id, v_project_id, p_actor, p_size, p_sha256, now() + p_lifetime)
  ON CONFLICT ON CONSTRAINT upload_pkey DO UPDATE
     SET size = EXCLUDED.size,
         expires_at = EXCLUDED.expires_at
  RETURNING u.sha256 INTO v_sha256;
  -- Bytes that the project has already will be stored once, so that quotas need no room for them. Until they are
  -- compared they take some, and what is announced may be wrong: therefore one upload of them at a time.
  v_known := EXISTS (SELECT
                       FROM nebula.content c
                      WHERE c.project_id = v_project_id
                        AND c.sha256 = v_sha256
                        AND c.size = p_size)
             AND NOT EXISTS (SELECT
                               FROM nebula.upload u
                              WHERE u.account_id = p_actor
                                AND u.sha256 = v_sha256
                                AND u.upload_id <> p_upload_id);
  IF v_known THEN
    RETURN QUERY SELECT v_project_id, NULL::bigint;
  ELSE
    RETURN QUERY SELECT v_project_id, nebula.require_room(p_actor, v_project_id, p_size, p_upload_id || p_parts);
  END IF;
END $$;
COMMENT ON FUNCTION nebula.admit_upload(nebula.proven_account, uuid, uuid, bigint, bytea, interval, uuid[]) IS
  'For the gateway: counts an upload that begins or goes on, with the bytes that it will have at least; project_id '
  'null: that of the account with most room. p_sha256: the bytes that are expected, as it begins. p_parts: uploads '
  'that it is joined from, which end with it. Answers the size that quotas allow it; null: any. Errors: P0002, 42501 '
  'as require_permission, 53Q00 it does not fit, or there are too many unfinished ones or files, 53Q01 it is larger '
  'than the quota';

CREATE FUNCTION nebula.count_upload(
  p_gateway nebula.proven_gateway, p_upload_id uuid, p_size bigint
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  UPDATE nebula.upload u
     SET size = p_size
   WHERE u.upload_id = p_upload_id
$$;
COMMENT ON FUNCTION nebula.count_upload(nebula.proven_gateway, uuid, bigint) IS
  'For the gateway: notes how much has arrived of an upload whose size is not known';

CREATE FUNCTION nebula.forget_uploads(p_upload_ids uuid[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  DELETE FROM nebula.upload u
   WHERE u.upload_id = ANY (p_upload_ids)
$$;
COMMENT ON FUNCTION nebula.forget_uploads(uuid[]) IS 'Internal: these uploads count no longer';

CREATE FUNCTION nebula.end_uploads(p_gateway nebula.proven_gateway, p_upload_ids uuid[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.forget_uploads(p_upload_ids)
$$;
COMMENT ON FUNCTION nebula.end_uploads(nebula.proven_gateway, uuid[]) IS
  'For the gateway: uploads whose bytes are deleted no longer count. Idempotent';

CREATE FUNCTION nebula.end_expired_uploads(p_gateway nebula.proven_gateway) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  WITH ended AS (
    DELETE FROM nebula.upload u
     WHERE u.expires_at <= now()
    RETURNING 1)
  SELECT count(*) FROM ended
$$;
COMMENT ON FUNCTION nebula.end_expired_uploads(nebula.proven_gateway) IS
  'For the gateway: deletes the rows of uploads that were given up; answers how many';
