-- Sessions: a refresh token is good for one exchange; an old one that comes back ends the whole family.

CREATE FUNCTION nebula.open_session(account_id uuid, token_hash bytea, lifetime interval, client inet DEFAULT NULL, user_agent text DEFAULT NULL)
RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  opened uuid;
BEGIN
  -- Sign-in is the moment to forget what nobody can use any more.
  DELETE FROM nebula.session s WHERE s.account_id = open_session.account_id AND s.expires_at < now();
  INSERT INTO nebula.session AS s (account_id, client, user_agent, expires_at)
  VALUES (open_session.account_id, open_session.client, left(open_session.user_agent, 200), now() + lifetime)
  RETURNING s.session_id INTO opened;
  INSERT INTO nebula.session_token (token_hash, session_id) VALUES (open_session.token_hash, opened);
  PERFORM nebula.record_event(NULL, a.username, 'login', 'account', a.account_id::text, open_session.client)
     FROM nebula.account a WHERE a.account_id = open_session.account_id;
  RETURN opened;
END $$;
COMMENT ON FUNCTION nebula.open_session(uuid, bytea, interval, inet, text) IS
  'Begins a refresh-token family; token_hash is the SHA-256 of the first token';

-- Answers with an outcome instead of an error, because an error would undo the end of a stolen family.
CREATE FUNCTION nebula.rotate_session(token_hash bytea, next_hash bytea, grace interval DEFAULT '10 s')
RETURNS TABLE (outcome text, session_id uuid, account_id uuid, username text, role text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  token  nebula.session_token;
  family nebula.session;
  holder nebula.account;
BEGIN
  SELECT * INTO token FROM nebula.session_token t WHERE t.token_hash = rotate_session.token_hash FOR UPDATE;
  IF NOT FOUND THEN
    RETURN QUERY SELECT 'unknown', NULL::uuid, NULL::uuid, NULL::text, NULL::text;
    RETURN;
  END IF;
  SELECT * INTO family FROM nebula.session s WHERE s.session_id = token.session_id FOR UPDATE;
  SELECT * INTO holder FROM nebula.account a WHERE a.account_id = family.account_id;
  IF family.ended_at IS NOT NULL OR holder.disabled_at IS NOT NULL THEN
    outcome := 'ended';
  ELSIF family.expires_at <= now() THEN
    outcome := 'expired';
  -- A client that lost our answer asks again within seconds; later than that, two parties hold the token.
  ELSIF token.replaced_at + least(grace, interval '10 s') < clock_timestamp() THEN
    UPDATE nebula.session s SET ended_at = now(), end_reason = 'reuse' WHERE s.session_id = family.session_id;
    PERFORM nebula.record_event(NULL, holder.username, 'token-reuse', 'session', family.session_id::text, family.client);
    outcome := 'reused';
  ELSE
    UPDATE nebula.session_token t SET replaced_at = coalesce(t.replaced_at, clock_timestamp())
     WHERE t.token_hash = token.token_hash;
    INSERT INTO nebula.session_token (token_hash, session_id) VALUES (next_hash, family.session_id);
    outcome := 'rotated';
  END IF;
  RETURN QUERY SELECT outcome, family.session_id, holder.account_id, holder.username, holder.role;
END $$;
COMMENT ON FUNCTION nebula.rotate_session(bytea, bytea, interval) IS
  'Exchanges a refresh token for the next. outcome: rotated; else nothing was given: unknown, expired, ended, or reused (the family was ended)';

CREATE FUNCTION nebula.close_session(session_id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  UPDATE nebula.session s SET ended_at = now(), end_reason = 'logout'
   WHERE s.session_id = close_session.session_id AND s.ended_at IS NULL
$$;
COMMENT ON FUNCTION nebula.close_session(uuid) IS 'Ends a family; closing it twice is no error';
