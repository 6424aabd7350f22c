-- Share links. A link has the rights of the account that made it, which are checked at each use, so it ends with them.
-- One to a folder opens the files that are in it and below it at that moment.

CREATE FUNCTION nebula.is_shared(p_share nebula.share, p_file nebula.file) RETURNS boolean
LANGUAGE sql STABLE AS $$
  SELECT p_file.deleted_at IS NULL
         AND (p_file.file_id = p_share.file_id
              OR p_file.project_id = p_share.project_id
                 AND (p_file.folder = p_share.folder OR nebula.is_below(p_file.folder, p_share.folder)))
$$;
COMMENT ON FUNCTION nebula.is_shared(nebula.share, nebula.file) IS
  'Internal: whether a link leads to a file; whether the link is open is another question';

CREATE FUNCTION nebula.share_state(p_share nebula.share) RETURNS text
LANGUAGE sql STABLE AS $$
  SELECT CASE
           WHEN p_share.revoked_at IS NOT NULL THEN 'revoked'
           WHEN p_share.expires_at <= clock_timestamp() THEN 'expired'
           WHEN p_share.folder IS NULL
                AND NOT EXISTS (SELECT
                                  FROM nebula.file f
                                 WHERE f.file_id = p_share.file_id
                                   AND f.deleted_at IS NULL) THEN 'deleted'
           WHEN p_share.folder IS NOT NULL
                AND NOT EXISTS (SELECT
                                  FROM nebula.file f
                                 WHERE f.project_id = p_share.project_id
                                   AND f.deleted_at IS NULL
                                   AND (f.folder = p_share.folder OR nebula.is_below(f.folder, p_share.folder)))
           THEN 'deleted'
           WHEN NOT p_share.project_id IN (SELECT nebula.projects_of(p_share.made_by)) THEN 'withdrawn'
           ELSE 'open'
         END
$$;
COMMENT ON FUNCTION nebula.share_state(nebula.share) IS
  'Internal: open, or why a link opens nothing any more: revoked, expired, deleted (its file, or all that was in its '
  'folder), withdrawn (its maker may not see the project any more)';

CREATE FUNCTION nebula.insert_share(p_share nebula.share) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
  v_made uuid;
BEGIN
  PERFORM nebula.check_text('note', p_share.note, 'note');
  PERFORM nebula.check_time('the end of a link', p_share.expires_at) WHERE p_share.expires_at IS NOT NULL;
  IF p_share.expires_at <= clock_timestamp() THEN
    RAISE EXCEPTION 'the link would have ended before it began'
      USING ERRCODE = '22023', HINT = 'Give an end that is to come, or none.';
  END IF;
  PERFORM nebula.limit_shares(p_share.made_by);
  INSERT INTO nebula.share AS s (token_hash, project_id, file_id, folder, made_by, note, password_hash,
                                 allows_download, expires_at)
  VALUES (p_share.token_hash, p_share.project_id, p_share.file_id, p_share.folder, p_share.made_by, p_share.note,
          p_share.password_hash, p_share.allows_download, p_share.expires_at)
  RETURNING s.share_id INTO v_made;
  RETURN v_made;
END $$;
COMMENT ON FUNCTION nebula.insert_share(nebula.share) IS
  'Internal: checks and adds a link; returns its identifier. Errors: 22023 end in the past, note too long, 53Q00 '
  'the account has too many';

CREATE FUNCTION nebula.limit_shares(p_account_id uuid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_limit CONSTANT integer := nebula.row_limit('links');
BEGIN
  -- Those that have ended are shown for a while, with when and why.
  DELETE FROM nebula.share s
   WHERE s.made_by = p_account_id
     AND least(s.revoked_at, s.expires_at) < now() - interval '90 days';
  IF (SELECT count(*) FROM nebula.share s WHERE s.made_by = p_account_id) >= v_limit THEN
    RAISE EXCEPTION 'the account has % share links', v_limit
      USING ERRCODE = '53Q00', HINT = 'Those that have ended are deleted after 90 days: nebulactl share revoke.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.limit_shares(uuid) IS
  'Internal: refuses another link of an account that has as many as it may, after those were deleted that ended 90 '
  'days ago. Errors: 53Q00';

CREATE FUNCTION nebula.create_share(
  p_actor nebula.proven_account, p_file_id uuid, p_token_hash bytea, p_password_hash text DEFAULT NULL,
  p_expires_at timestamptz DEFAULT NULL, p_allows_download boolean DEFAULT true, p_note text DEFAULT NULL,
  p_client inet DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_file  nebula.file := nebula.require_file(p_actor, p_file_id);
  v_who   text := nebula.require_permission(p_actor, v_file.project_id, 'share.write');
  v_share nebula.share;
  v_made  uuid;
BEGIN
  v_share.token_hash := p_token_hash;
  v_share.project_id := v_file.project_id;
  v_share.file_id := v_file.file_id;
  v_share.made_by := p_actor;
  v_share.note := p_note;
  v_share.password_hash := p_password_hash;
  v_share.allows_download := p_allows_download;
  v_share.expires_at := p_expires_at;
  v_made := nebula.insert_share(v_share);
  PERFORM nebula.record_event(v_file.project_id, v_who, 'share', 'file', v_file.file_id::text, p_client,
    jsonb_build_object('name', v_file.name, 'shareId', v_made, 'expiresAt', p_expires_at));
  RETURN v_made;
END $$;
COMMENT ON FUNCTION nebula.create_share(nebula.proven_account, uuid, bytea, text, timestamptz, boolean, text, inet) IS
  'For the gateway: a link by which people without an account open a file; token_hash is the SHA-256 of its token. '
  'Errors: P0002 no such file, 22023 end in the past, note too long, 53Q00 the account has too many';

CREATE FUNCTION nebula.share_folder(
  p_actor nebula.proven_account, p_project_id uuid, p_folder text, p_token_hash bytea,
  p_password_hash text DEFAULT NULL, p_expires_at timestamptz DEFAULT NULL, p_allows_download boolean DEFAULT true,
  p_note text DEFAULT NULL, p_client inet DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who   text := nebula.require_permission(p_actor, p_project_id, 'share.write');
  v_share nebula.share;
  v_made  uuid;
BEGIN
  PERFORM nebula.check_folder(p_folder);
  IF p_folder = '' THEN
    RAISE EXCEPTION 'a link cannot open all files of a project'
      USING ERRCODE = '22023', HINT = 'Name a folder, or make a link for each file.';
  END IF;
  IF NOT EXISTS (SELECT
                   FROM nebula.file f
                  WHERE f.project_id = p_project_id
                    AND f.deleted_at IS NULL
                    AND (f.folder = p_folder OR nebula.is_below(f.folder, p_folder))) THEN
    RAISE EXCEPTION 'there is no folder "%"', p_folder
      USING ERRCODE = 'P0002', HINT = 'List folders: nebulactl ls.';
  END IF;
  v_share.token_hash := p_token_hash;
  v_share.project_id := p_project_id;
  v_share.folder := p_folder;
  v_share.made_by := p_actor;
  v_share.note := p_note;
  v_share.password_hash := p_password_hash;
  v_share.allows_download := p_allows_download;
  v_share.expires_at := p_expires_at;
  v_made := nebula.insert_share(v_share);
  PERFORM nebula.record_event(p_project_id, v_who, 'share', 'folder', p_project_id::text, p_client,
    jsonb_build_object('folder', p_folder, 'shareId', v_made, 'expiresAt', p_expires_at));
  RETURN v_made;
END $$;
COMMENT ON FUNCTION nebula.share_folder(
  nebula.proven_account, uuid, text, bytea, text, timestamptz, boolean, text, inet
) IS
  'For the gateway: a link by which people without an account open the files of a folder and below it, also those that '
  'come later. Errors: P0002, 42501 as require_permission, P0002 no such folder, 22023 the top, end in the past, note '
  'too long, 53Q00 the account has too many';

CREATE FUNCTION nebula.move_shares(p_project_id uuid, p_folder text, p_to text) RETURNS void
LANGUAGE sql AS $$
  UPDATE nebula.share s
     SET folder = p_to || substr(s.folder, length(p_folder) + 1)
   WHERE s.project_id = p_project_id
     AND (s.folder = p_folder OR nebula.is_below(s.folder, p_folder))
$$;
COMMENT ON FUNCTION nebula.move_shares(uuid, text, text) IS
  'Internal: lets the links to a folder, and to those below it, follow when it gets another name';

CREATE FUNCTION nebula.list_shares(
  p_actor nebula.proven_account, p_project_id uuid DEFAULT NULL, p_file_id uuid DEFAULT NULL
) RETURNS TABLE (
  share_id uuid, project_id uuid, file_id uuid, file_name text, folder text, made_by text, note text,
  has_password boolean, allows_download boolean, made_at timestamptz, expires_at timestamptz, revoked_at timestamptz,
  last_used_at timestamptz, uses bigint, state text
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT s.share_id, s.project_id, s.file_id, f.name, s.folder, a.username, s.note,
         s.password_hash IS NOT NULL, s.allows_download, s.made_at, s.expires_at, s.revoked_at, s.last_used_at, s.uses,
         nebula.share_state(s)
    FROM nebula.share s
    JOIN nebula.account a ON a.account_id = s.made_by
    LEFT JOIN nebula.file f ON f.file_id = s.file_id
   WHERE s.project_id IN (SELECT nebula.projects_with_files(p_actor))
     AND (p_project_id IS NULL OR s.project_id = p_project_id)
     AND (p_file_id IS NULL OR s.file_id = p_file_id)
   ORDER BY s.made_at DESC, s.share_id
$$;
COMMENT ON FUNCTION nebula.list_shares(nebula.proven_account, uuid, uuid) IS
  'For the gateway: links of the projects that the account sees, newest first; nothing from which a link could be made '
  'again';

CREATE FUNCTION nebula.revoke_share(
  p_actor nebula.proven_account, p_share_id uuid, p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_share nebula.share;
  v_who   text;
BEGIN
  SELECT s.*
    INTO v_share
    FROM nebula.share s
   WHERE s.share_id = p_share_id
     AND s.project_id IN (SELECT nebula.visible_projects(p_actor))
     FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no share %', p_share_id
      USING ERRCODE = 'P0002', HINT = 'List them: nebulactl share ls.';
  END IF;
  v_who := nebula.require_permission(p_actor, v_share.project_id, 'share.write');
  IF v_share.revoked_at IS NULL THEN
    UPDATE nebula.share s
       SET revoked_at = clock_timestamp()
     WHERE s.share_id = p_share_id;
    PERFORM nebula.record_event(
      v_share.project_id, v_who, 'revoke-share', CASE WHEN v_share.folder IS NULL THEN 'file' ELSE 'folder' END,
      CASE WHEN v_share.folder IS NULL THEN v_share.file_id ELSE v_share.project_id END::text, p_client,
      jsonb_strip_nulls(jsonb_build_object('shareId', p_share_id, 'folder', v_share.folder)));
  END IF;
END $$;
COMMENT ON FUNCTION nebula.revoke_share(nebula.proven_account, uuid, inet) IS
  'For the gateway: ends a link; its next request is refused. Every member of the project may. Ending it twice is no '
  'error. Errors: P0002 no such share';

-- Outcomes instead of errors: the gateway counts those that may be guesses.
CREATE FUNCTION nebula.find_share(p_gateway nebula.proven_gateway, p_token_hash bytea)
RETURNS TABLE (
  share_id uuid, state text, ended_at timestamptz, project_id uuid, file_id uuid, folder text, made_by uuid,
  password_hash text, allows_download boolean, expires_at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT s.share_id, nebula.share_state(s), coalesce(s.revoked_at, s.expires_at), s.project_id,
         s.file_id, s.folder, s.made_by, s.password_hash, s.allows_download, s.expires_at
    FROM nebula.share s
   WHERE s.token_hash = p_token_hash
$$;
COMMENT ON FUNCTION nebula.find_share(nebula.proven_gateway, bytea) IS
  'For the gateway: the link with a token; no row: there is none';

CREATE FUNCTION nebula.use_share(p_gateway nebula.proven_gateway, p_share_id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  UPDATE nebula.share s
     SET last_used_at = now(), uses = s.uses + 1
   WHERE s.share_id = p_share_id
$$;
COMMENT ON FUNCTION nebula.use_share(nebula.proven_gateway, uuid) IS 'For the gateway: counts that a link was opened';

CREATE FUNCTION nebula.is_share_open(p_gateway nebula.proven_gateway, p_share_id uuid, p_file_id uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT EXISTS (SELECT
                   FROM nebula.share s
                   JOIN nebula.file f ON f.file_id = p_file_id
                  WHERE s.share_id = p_share_id
                    AND nebula.is_shared(s, f)
                    AND nebula.share_state(s) = 'open')
$$;
COMMENT ON FUNCTION nebula.is_share_open(nebula.proven_gateway, uuid, uuid) IS
  'For the gateway: whether a link still opens the file, asked at each request of a player that it let in';
