-- Personal tokens: made, listed and ended by their account in a session, never by another personal token.

CREATE FUNCTION nebula.scope_actions(p_scopes text[], p_is_operator boolean) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_unknown text := (SELECT s
                       FROM unnest(p_scopes) s
                      WHERE s NOT IN ('read', 'write', 'admin')
                        AND NOT EXISTS (SELECT FROM nebula.permission p WHERE p.action = s)
                      LIMIT 1);
  v_above   text := (SELECT p.action
                       FROM nebula.permission p
                      WHERE p.action = ANY (p_scopes) AND p.least_role = 'operator' AND NOT p_is_operator
                      LIMIT 1);
BEGIN
  IF v_unknown IS NOT NULL OR cardinality(p_scopes) > 0 IS NOT TRUE THEN
    RAISE EXCEPTION 'there is no scope "%"', left(v_unknown, 80)
      USING ERRCODE = '22023', HINT = 'Give read, write, admin, or actions of SELECT action FROM nebula.permission.';
  ELSIF v_above IS NOT NULL THEN
    RAISE EXCEPTION 'only operators may do what the scope "%" allows', v_above
      USING ERRCODE = '42501', HINT = 'Leave it out.';
  END IF;
  RETURN ARRAY(
    SELECT p.action
      FROM nebula.permission p
     WHERE (p.least_role <> 'operator' OR p_is_operator)
       AND (p.action = ANY (p_scopes)
            OR 'admin' = ANY (p_scopes)
            OR 'write' = ANY (p_scopes) AND p.least_role = 'member'
            OR 'write' = ANY (p_scopes) AND p.action LIKE '%.read'
            OR 'read' = ANY (p_scopes) AND p.action LIKE '%.read'
            -- Without them hardly any other call can be made.
            OR p.action = 'project.read'
            OR p.action = 'file.read' AND p_scopes && '{file.write,share.write}')
     ORDER BY p.action);
END $$;
COMMENT ON FUNCTION nebula.scope_actions(text[], boolean) IS
  'Internal: the actions that scopes allow: read, write and admin stand for several, each scope allows to see '
  'projects, and those that write files to read them. Errors: 22023 no such scope, 42501 for operators only';

-- The token is made by the gateway, which shows it once; here is its hash.
CREATE FUNCTION nebula.create_personal_token(
  p_actor nebula.proven_account, p_name text, p_token_hash bytea, p_scopes text[], p_lifetime interval,
  p_client inet DEFAULT NULL
) RETURNS TABLE (token_id uuid, actions text[], made_at timestamptz, expires_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_account CONSTANT nebula.account := nebula.require_session(p_actor);
  v_actions CONSTANT text[] := nebula.scope_actions(p_scopes, v_account.role = 'admin');
  v_limit   CONSTANT integer := nebula.row_limit('tokens');
  v_made    nebula.personal_token;
BEGIN
  IF nebula.is_label(p_name) IS NOT TRUE THEN
    RAISE EXCEPTION '"%" cannot be the name of a token', left(p_name, 80)
      USING ERRCODE = '22023', HINT = '1 to 63 letters, digits, spaces, dots, underscores and dashes.';
  END IF;
  PERFORM nebula.check_span('the lifetime of a token', p_lifetime, interval '1 minute');
  DELETE FROM nebula.personal_token t WHERE t.account_id = p_actor AND t.expires_at < now() - interval '30 days';
  -- Locks the account, so that many at the same time are not more than are allowed.
  PERFORM FROM nebula.account a WHERE a.account_id = p_actor FOR NO KEY UPDATE;
  IF (SELECT count(*) FROM nebula.personal_token t WHERE t.account_id = p_actor) >= v_limit THEN
    RAISE EXCEPTION 'the account has % personal tokens', v_limit
      USING ERRCODE = '53Q00', HINT = 'Remove some: nebulactl token rm.';
  END IF;
  INSERT INTO nebula.personal_token AS t (account_id, token_hash, name, scopes, actions, expires_at)
  VALUES (p_actor, p_token_hash, p_name, ARRAY(SELECT DISTINCT s FROM unnest(p_scopes) s ORDER BY s), v_actions,
          now() + p_lifetime)
  ON CONFLICT ON CONSTRAINT personal_token_name_key DO NOTHING
  RETURNING t.* INTO v_made;
  IF v_made.token_id IS NULL THEN
    RAISE EXCEPTION 'the account has a token named "%"', p_name
      USING ERRCODE = '23505', HINT = 'Choose another name, or remove that one: nebulactl token rm.';
  END IF;
  PERFORM nebula.record_event(NULL, v_account.username, 'create-token', 'account', p_actor::text, p_client,
                              jsonb_build_object('token', p_name, 'scopes', v_made.scopes,
                                                 'expiresAt', v_made.expires_at));
  RETURN QUERY SELECT v_made.token_id, v_made.actions, v_made.made_at, v_made.expires_at;
END $$;
COMMENT ON FUNCTION nebula.create_personal_token(nebula.proven_account, text, bytea, text[], interval, inet) IS
  'For the gateway: makes a token by which a program acts for the account; token_hash is its SHA-256. Errors: 28000, '
  '42501 by a personal token, or a scope for operators only, 22023 name, scopes, lifetime, 23505 name taken, 53Q00 too '
  'many';

CREATE FUNCTION nebula.list_personal_tokens(p_actor nebula.proven_account, p_account_id uuid DEFAULT NULL)
RETURNS TABLE (
  token_id uuid, name text, scopes text[], actions text[], made_at timestamptz, expires_at timestamptz,
  last_used_at timestamptz, last_used_from text
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  IF p_account_id <> p_actor THEN
    PERFORM nebula.require_operator(p_actor, 'account.write');
  ELSE
    PERFORM nebula.require_session(p_actor);
  END IF;
  RETURN QUERY
    SELECT t.token_id, t.name, t.scopes, t.actions, t.made_at, t.expires_at, t.last_used_at, host(t.last_used_from)
      FROM nebula.personal_token t
     WHERE t.account_id = coalesce(p_account_id, p_actor)
     ORDER BY t.made_at DESC, t.token_id;
END $$;
COMMENT ON FUNCTION nebula.list_personal_tokens(nebula.proven_account, uuid) IS
  'For the gateway: tokens of the account or, for administrators, of another one, newest first; nothing from which a '
  'token could be made again. Errors: 28000, 42501';

-- A token that is not in sight does not exist, so that nobody learns whose it is.
CREATE FUNCTION nebula.end_personal_token(
  p_actor nebula.proven_account, p_token_id uuid, p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who   CONSTANT nebula.account := nebula.require_session(p_actor);
  v_ended nebula.personal_token;
BEGIN
  DELETE FROM nebula.personal_token t
   WHERE t.token_id = p_token_id
     AND (t.account_id = p_actor OR v_who.role = 'admin')
  RETURNING t.* INTO v_ended;
  IF v_ended.token_id IS NULL THEN
    RAISE EXCEPTION 'there is no personal token %', p_token_id
      USING ERRCODE = 'P0002', HINT = 'List them: nebulactl token ls.';
  END IF;
  PERFORM nebula.record_event(NULL, v_who.username, 'end-token', 'account', v_ended.account_id::text, p_client,
                              jsonb_build_object('token', v_ended.name));
END $$;
COMMENT ON FUNCTION nebula.end_personal_token(nebula.proven_account, uuid, inet) IS
  'For the gateway: ends a token of the account or, for administrators, of any, at once. Errors: 28000, 42501 by a '
  'personal token, P0002 none in sight';

CREATE FUNCTION nebula.end_personal_tokens(username text) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_account_id CONSTANT uuid := nebula.find_account(username);
  v_ended      integer;
BEGIN
  DELETE FROM nebula.personal_token t WHERE t.account_id = v_account_id;
  GET DIAGNOSTICS v_ended = ROW_COUNT;
  PERFORM nebula.record_event(NULL, session_user::text, 'end-token', 'account', v_account_id::text, NULL,
                              jsonb_build_object('tokens', v_ended));
  RETURN v_ended;
END $$;
COMMENT ON FUNCTION nebula.end_personal_tokens(text) IS
  'Ends all personal tokens of an account at once; answers how many. Errors: P0002 no such account';

-- Skips a row that another session is writing, which notes the same; so requests of a program do not wait for each
-- other.
CREATE FUNCTION nebula.use_personal_token(p_actor nebula.proven_account, p_token_hash bytea, p_client inet)
RETURNS TABLE (token_id uuid, account_id uuid, username text, role text)
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  UPDATE nebula.personal_token t
     SET last_used_at = clock_timestamp(),
         last_used_from = p_client
   WHERE t.token_id = (SELECT o.token_id
                         FROM nebula.personal_token o
                        WHERE o.token_hash = p_token_hash
                          AND o.account_id = p_actor
                          AND coalesce(o.last_used_at < clock_timestamp() - interval '10 minutes', true)
                          FOR NO KEY UPDATE SKIP LOCKED);
  SELECT t.token_id, a.account_id, a.username, a.role
    FROM nebula.personal_token t
    JOIN nebula.account a USING (account_id)
   WHERE t.token_hash = p_token_hash
     AND t.account_id = p_actor
$$;
COMMENT ON FUNCTION nebula.use_personal_token(nebula.proven_account, bytea, inet) IS
  'For the gateway: the account of a token that nebula.actor has accepted, and the use of the token, noted at most '
  'every ten minutes';
