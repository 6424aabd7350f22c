-- Sessions: each refresh token can be exchanged once. Reuse of an old token ends its whole family.

CREATE FUNCTION nebula.open_session(
  p_account_id uuid, p_token_hash bytea, p_lifetime interval,
  p_client inet DEFAULT NULL, p_user_agent text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_opened uuid;
BEGIN
  PERFORM nebula.check_span('the lifetime of a session', p_lifetime);
  -- Purge expired sessions of the account.
  DELETE FROM nebula.session s WHERE s.account_id = p_account_id AND s.expires_at < now();
  INSERT INTO nebula.session AS s (account_id, client, user_agent, expires_at)
  VALUES (p_account_id, p_client, left(p_user_agent, 200), now() + p_lifetime)
  RETURNING s.session_id INTO v_opened;
  INSERT INTO nebula.session_token (token_hash, session_id) VALUES (p_token_hash, v_opened);
  PERFORM nebula.record_event(NULL, a.username, 'login', 'account', a.account_id::text, p_client)
    FROM nebula.account a
   WHERE a.account_id = p_account_id;
  RETURN v_opened;
END $$;
COMMENT ON FUNCTION nebula.open_session(uuid, bytea, interval, inet, text) IS
  'Internal: begins a refresh-token family; token_hash is the SHA-256 of the first token. Errors: 22023 '
  'lifetime';

-- A client whose answer was lost repeats the exchange within seconds, with the key that it gave before. It gets another
-- token, and the one that was lost is withdrawn, so that a session never has two: a client that uses the lost one later
-- is another. Clients that give no key at all are believed to be the same.
CREATE FUNCTION nebula.is_retry(p_token nebula.session_token, p_grace interval, p_retry_hash bytea) RETURNS boolean
LANGUAGE sql AS $$
  SELECT p_token.replaced_at + least(p_grace, interval '10 s') >= clock_timestamp()
         AND p_token.retry_hash IS NOT DISTINCT FROM p_retry_hash
         AND EXISTS (SELECT FROM nebula.session_token t
                      WHERE t.token_hash = p_token.next_hash AND t.replaced_at IS NULL)
$$;
COMMENT ON FUNCTION nebula.is_retry(nebula.session_token, interval, bytea) IS
  'Internal: whether the client that exchanged a token is repeating that';

-- Returns an outcome instead of raising an error, because an error would roll back the end of a stolen family.
CREATE FUNCTION nebula.rotate_session(
  p_gateway nebula.proven_gateway, p_token_hash bytea, p_next_hash bytea, p_grace interval DEFAULT '10 s',
  p_retry_hash bytea DEFAULT NULL
) RETURNS TABLE (outcome text, session_id uuid, account_id uuid, username text, role text, end_reason text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_token  nebula.session_token;
  v_family nebula.session;
  v_holder nebula.account;
BEGIN
  -- The family first: two clients that exchange tokens of one at the same time take turns.
  SELECT s.*
    INTO v_family
    FROM nebula.session s
   WHERE s.session_id = (SELECT t.session_id FROM nebula.session_token t WHERE t.token_hash = p_token_hash)
     FOR UPDATE;
  IF NOT FOUND THEN
    outcome := 'unknown';
    RETURN NEXT;
    RETURN;
  END IF;
  SELECT * INTO v_token FROM nebula.session_token t WHERE t.token_hash = p_token_hash;
  SELECT * INTO v_holder FROM nebula.account a WHERE a.account_id = v_family.account_id;
  IF v_family.ended_at IS NOT NULL OR v_holder.disabled_at IS NOT NULL THEN
    outcome := 'ended';
    end_reason := CASE WHEN v_holder.disabled_at IS NOT NULL THEN 'disabled' ELSE v_family.end_reason END;
  ELSIF v_family.expires_at <= now() THEN
    outcome := 'expired';
  ELSIF v_token.replaced_at IS NOT NULL AND NOT coalesce(nebula.is_retry(v_token, p_grace, p_retry_hash), false) THEN
    UPDATE nebula.session s
       SET ended_at = now(),
           end_reason = 'reuse'
     WHERE s.session_id = v_family.session_id;
    PERFORM nebula.record_event(NULL, v_holder.username, 'token-reuse', 'session',
                                v_family.session_id::text, v_family.client);
    outcome := 'reused';
  ELSE
    UPDATE nebula.session_token t SET replaced_at = clock_timestamp() WHERE t.token_hash = v_token.next_hash;
    UPDATE nebula.session_token t
       SET replaced_at = coalesce(t.replaced_at, clock_timestamp()),
           next_hash = p_next_hash,
           retry_hash = p_retry_hash
     WHERE t.token_hash = v_token.token_hash;
    INSERT INTO nebula.session_token (token_hash, session_id) VALUES (p_next_hash, v_family.session_id);
    outcome := 'rotated';
  END IF;
  session_id := v_family.session_id;
  account_id := v_holder.account_id;
  username := v_holder.username;
  role := v_holder.role;
  RETURN NEXT;
END $$;
COMMENT ON FUNCTION nebula.rotate_session(nebula.proven_gateway, bytea, bytea, interval, bytea) IS
  'For the gateway: exchanges a refresh token for the next. outcome: rotated; else nothing was given: '
  'unknown, expired, ended (end_reason says why), or reused (by another client: the family was ended). retry_hash: '
  'SHA-256 of a key that the client keeps with the token; with the same key it may repeat the exchange within the '
  'grace';

CREATE FUNCTION nebula.close_session(p_gateway nebula.proven_gateway, p_session_id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  WITH closed AS (
    UPDATE nebula.session s
       SET ended_at = now(), end_reason = 'logout'
     WHERE s.session_id = p_session_id AND s.ended_at IS NULL
    RETURNING s.account_id
  )
  SELECT nebula.record_event(NULL, a.username, 'logout', 'account', a.account_id::text)
    FROM closed
    JOIN nebula.account a USING (account_id)
$$;
COMMENT ON FUNCTION nebula.close_session(nebula.proven_gateway, uuid) IS
  'For the gateway: ends a family; closing it twice is no error';

CREATE FUNCTION nebula.end_sessions(p_account_id uuid, p_reason text, p_except uuid DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  v_ended integer;
BEGIN
  UPDATE nebula.session s
     SET ended_at = now(),
         end_reason = p_reason
   WHERE s.account_id = p_account_id
     AND s.ended_at IS NULL
     AND s.session_id IS DISTINCT FROM p_except;
  GET DIAGNOSTICS v_ended = ROW_COUNT;
  RETURN v_ended;
END $$;
COMMENT ON FUNCTION nebula.end_sessions(uuid, text, uuid) IS
  'Internal: ends the sessions of an account, but for one; answers how many';

CREATE FUNCTION nebula.list_sessions(p_actor nebula.proven_account, p_account_id uuid DEFAULT NULL)
RETURNS TABLE (
  session_id uuid, client text, user_agent text, opened_at timestamptz, last_seen_at timestamptz, expires_at timestamptz
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  IF p_account_id <> p_actor THEN
    PERFORM nebula.require_operator(p_actor, 'account.write');
  ELSE
    PERFORM nebula.require_session(p_actor);
  END IF;
  RETURN QUERY
    SELECT s.session_id, host(s.client), s.user_agent, s.opened_at,
           (SELECT max(t.issued_at) FROM nebula.session_token t WHERE t.session_id = s.session_id), s.expires_at
      FROM nebula.session s
     WHERE s.account_id = coalesce(p_account_id, p_actor)
       AND s.ended_at IS NULL
       AND s.expires_at > now()
     ORDER BY s.opened_at DESC
     LIMIT 1000;
END $$;
COMMENT ON FUNCTION nebula.list_sessions(nebula.proven_account, uuid) IS
  'For the gateway: open sessions of the account or, for administrators, of another one, newest first. Errors: 28000, '
  '42501';

-- A session that is not in sight does not exist, so that nobody learns whose it is.
CREATE FUNCTION nebula.end_session_for(
  p_actor nebula.proven_account, p_session_id uuid, p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who     nebula.account := nebula.require_session(p_actor);
  v_account uuid;
BEGIN
  UPDATE nebula.session s
     SET ended_at = coalesce(s.ended_at, now()),
         end_reason = coalesce(s.end_reason, 'ended')
   WHERE s.session_id = p_session_id
     AND (s.account_id = p_actor OR v_who.role = 'admin')
  RETURNING s.account_id INTO v_account;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no session %', p_session_id
      USING ERRCODE = 'P0002', HINT = 'List sessions: nebulactl account sessions.';
  END IF;
  PERFORM nebula.record_event(NULL, v_who.username, 'end-session', 'account', v_account::text, p_client,
                              jsonb_build_object('session', p_session_id));
END $$;
COMMENT ON FUNCTION nebula.end_session_for(nebula.proven_account, uuid, inet) IS
  'For the gateway: ends a session of the account or, for administrators, of any. Idempotent. Errors: 28000, P0002 '
  'none in sight';

CREATE FUNCTION nebula.end_other_sessions(
  p_actor nebula.proven_account, p_keep uuid, p_client inet DEFAULT NULL
) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who   nebula.account := nebula.require_session(p_actor);
  v_ended integer := nebula.end_sessions(p_actor, 'ended', p_keep);
BEGIN
  PERFORM nebula.record_event(NULL, v_who.username, 'end-session', 'account', p_actor::text, p_client,
                              jsonb_build_object('sessions', v_ended));
  RETURN v_ended;
END $$;
COMMENT ON FUNCTION nebula.end_other_sessions(nebula.proven_account, uuid, inet) IS
  'For the gateway: ends all sessions of the account but this one; answers how many. Errors: 28000';
