-- Bytes that count to the quotas of projects and accounts.

CREATE FUNCTION nebula.unfinished_bytes(p_project_id uuid, p_account_id uuid, p_except uuid[] DEFAULT '{}')
RETURNS bigint
LANGUAGE sql STABLE AS $$
  SELECT least(coalesce(sum(u.size), 0), 4611686018427387904)::bigint
    FROM nebula.upload u
   WHERE (u.project_id = p_project_id OR u.account_id = p_account_id)
     AND u.expires_at > now()
     AND u.upload_id <> ALL (p_except)
$$;
COMMENT ON FUNCTION nebula.unfinished_bytes(uuid, uuid, uuid[]) IS
  'Internal: the bytes that uploads of a project, or of an account, will have which have not ended, but for some';

CREATE FUNCTION nebula.used_bytes(p_project_id uuid, p_account_id uuid, p_except uuid[] DEFAULT '{}') RETURNS bigint
LANGUAGE sql STABLE AS $$
  SELECT coalesce(sum(s.bytes), 0)::bigint + nebula.unfinished_bytes(p_project_id, p_account_id, p_except)
    FROM nebula.storage_use s
   WHERE s.project_id = p_project_id
      OR s.account_id = p_account_id
$$;
COMMENT ON FUNCTION nebula.used_bytes(uuid, uuid, uuid[]) IS
  'Internal: what counts to the quota of a project, or of an account (the other is null): what is stored, and what '
  'uploads will have that have not ended, but for some';
