-- The second factor of an account: a one-time code of its authenticator, which only the gateway can check, because the
-- secret is sealed; or a recovery code, which is compared here.

CREATE FUNCTION nebula.has_second_factor(p_account_id uuid) RETURNS boolean
LANGUAGE sql STABLE AS $$
  SELECT EXISTS (SELECT FROM nebula.totp t WHERE t.account_id = p_account_id AND t.confirmed_at IS NOT NULL)
$$;
COMMENT ON FUNCTION nebula.has_second_factor(uuid) IS 'Internal: whether a password alone does not sign the account in';

CREATE FUNCTION nebula.use_second_factor(p_account_id uuid, p_step bigint, p_recovery_hash bytea) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
  -- A step counts once, so that a code which somebody has seen being typed is worth nothing.
  UPDATE nebula.totp t
     SET last_step = p_step
   WHERE t.account_id = p_account_id
     AND t.confirmed_at IS NOT NULL
     AND t.last_step < p_step;
  IF FOUND THEN
    RETURN true;
  END IF;
  DELETE FROM nebula.recovery_code r WHERE r.account_id = p_account_id AND r.code_hash = p_recovery_hash;
  RETURN FOUND;
END $$;
COMMENT ON FUNCTION nebula.use_second_factor(uuid, bigint, bytea) IS
  'Internal: uses up a step whose code the gateway has checked, or a recovery code; false: it was used before, or is '
  'none';

CREATE FUNCTION nebula.sealed_totp(p_gateway nebula.proven_gateway, p_username text)
RETURNS TABLE (account_id uuid, sealed_secret bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT t.account_id, t.sealed_secret
    FROM nebula.totp t
    JOIN nebula.account a USING (account_id)
   WHERE a.username = p_username
     AND a.disabled_at IS NULL
     AND t.confirmed_at IS NOT NULL
$$;
COMMENT ON FUNCTION nebula.sealed_totp(nebula.proven_gateway, text) IS
  'For the gateway: the secret by which it checks a code before sign_in; no row: the account needs none, or there is '
  'no such account';

CREATE FUNCTION nebula.begin_totp(
  p_actor nebula.proven_account, p_password text, p_sealed_secret bytea, p_client inet DEFAULT NULL,
  OUT outcome text, OUT wait_seconds double precision
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who   nebula.account := nebula.require_session(p_actor);
  v_check record;
BEGIN
  IF nebula.has_second_factor(p_actor) THEN
    RAISE EXCEPTION 'this account has a second factor already'
      USING ERRCODE = '55000', HINT = 'Switch it off first: nebulactl account totp off.';
  END IF;
  v_check := nebula.check_password(v_who.username, p_password, p_client);
  outcome := v_check.outcome;
  wait_seconds := v_check.wait_seconds;
  IF outcome = 'right' THEN
    INSERT INTO nebula.totp AS t (account_id, sealed_secret) VALUES (p_actor, p_sealed_secret)
    ON CONFLICT ON CONSTRAINT totp_pkey DO UPDATE
       SET sealed_secret = EXCLUDED.sealed_secret,
           created_at = now()
     WHERE t.confirmed_at IS NULL;
  END IF;
END $$;
COMMENT ON FUNCTION nebula.begin_totp(nebula.proven_account, text, bytea, inet) IS
  'For the gateway: keeps the secret of an authenticator, which counts once confirm_totp was called. outcome: right, '
  'refused (the password is wrong), or wait as in sign_in. Errors: 28000, 55000 there is one';

CREATE FUNCTION nebula.pending_totp(p_actor nebula.proven_account) RETURNS bytea
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_sealed bytea;
BEGIN
  PERFORM nebula.require_session(p_actor);
  SELECT t.sealed_secret
    INTO v_sealed
    FROM nebula.totp t
   WHERE t.account_id = p_actor
     AND t.confirmed_at IS NULL
     -- A secret that was shown that long ago may be on some screenshot.
     AND t.created_at > now() - interval '1 hour';
  IF v_sealed IS NULL THEN
    RAISE EXCEPTION 'no authenticator is being set up'
      USING ERRCODE = '55000', HINT = 'Begin: nebulactl account totp on.';
  END IF;
  RETURN v_sealed;
END $$;
COMMENT ON FUNCTION nebula.pending_totp(nebula.proven_account) IS
  'For the gateway: the secret that begin_totp has kept, in the hour after it. Errors: 28000, 55000 none';

CREATE FUNCTION nebula.confirm_totp(
  p_actor nebula.proven_account, p_step bigint, p_recovery_hashes bytea[], p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who nebula.account := nebula.require_session(p_actor);
BEGIN
  PERFORM nebula.pending_totp(p_actor);
  UPDATE nebula.totp t
     SET confirmed_at = now(),
         last_step = p_step
   WHERE t.account_id = p_actor;
  DELETE FROM nebula.recovery_code r WHERE r.account_id = p_actor;
  INSERT INTO nebula.recovery_code (account_id, code_hash) SELECT p_actor, unnest(p_recovery_hashes);
  PERFORM nebula.record_event(NULL, v_who.username, 'enable-totp', 'account', p_actor::text, p_client);
END $$;
COMMENT ON FUNCTION nebula.confirm_totp(nebula.proven_account, bigint, bytea[], inet) IS
  'For the gateway: from now on signing in needs a code; it has checked one of this step. recovery_hashes: SHA-256 of '
  'the codes for the loss of the authenticator. Errors: 28000, 55000 none is being set up';

CREATE FUNCTION nebula.drop_totp(p_account_id uuid, p_by text, p_client inet DEFAULT NULL) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM nebula.totp t WHERE t.account_id = p_account_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'this account has no second factor'
      USING ERRCODE = '55000', HINT = 'There is nothing to switch off.';
  END IF;
  PERFORM nebula.record_event(NULL, p_by, 'disable-totp', 'account', p_account_id::text, p_client);
END $$;
COMMENT ON FUNCTION nebula.drop_totp(uuid, text, inet) IS
  'Internal: removes the secret and the recovery codes of an account. Errors: 55000 there are none';

CREATE FUNCTION nebula.end_totp(
  p_actor nebula.proven_account, p_password text, p_client inet DEFAULT NULL,
  OUT outcome text, OUT wait_seconds double precision
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who   nebula.account := nebula.require_session(p_actor);
  v_check record := nebula.check_password(v_who.username, p_password, p_client);
BEGIN
  outcome := v_check.outcome;
  wait_seconds := v_check.wait_seconds;
  IF outcome = 'right' THEN
    PERFORM nebula.drop_totp(p_actor, v_who.username, p_client);
  END IF;
END $$;
COMMENT ON FUNCTION nebula.end_totp(nebula.proven_account, text, inet) IS
  'For the gateway: signing in needs no code any more. outcome: right, refused (the password is wrong), or wait as in '
  'sign_in. Errors: 28000, 55000 there is none';

CREATE FUNCTION nebula.remove_totp(username text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.drop_totp(nebula.find_account(username), session_user::text)
$$;
COMMENT ON FUNCTION nebula.remove_totp(text) IS
  'Lets an account sign in by password alone again, whose holder has lost authenticator and recovery codes. Errors: '
  'P0002 no such account, 55000 it needs no code';

CREATE FUNCTION nebula.remove_totp_for(
  p_actor nebula.proven_account, p_account_id uuid, p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.drop_totp(p_account_id, nebula.require_operator(p_actor, 'account.write'), p_client)
$$;
COMMENT ON FUNCTION nebula.remove_totp_for(nebula.proven_account, uuid, inet) IS
  'For the gateway: remove_totp for an administrator. Errors: 28000, 42501, 55000 it needs no code';

CREATE FUNCTION nebula.totp_status(p_actor nebula.proven_account)
RETURNS TABLE (enabled boolean, recovery_codes integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_session(p_actor);
  RETURN QUERY
    SELECT nebula.has_second_factor(p_actor),
           (SELECT count(*)::integer FROM nebula.recovery_code r WHERE r.account_id = p_actor);
END $$;
COMMENT ON FUNCTION nebula.totp_status(nebula.proven_account) IS
  'For the gateway: whether the account needs a code to sign in, and how many recovery codes it has left. Errors: '
  '28000';
