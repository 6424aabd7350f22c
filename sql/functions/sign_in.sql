-- Signing in: the database compares the password, so that no role but the owner ever reads a hash, and counts failures.

-- Function in Rust.
COMMENT ON FUNCTION nebula.password_matches(text, text) IS
  'Internal: whether a password belongs to a hash in PHC form (Argon2id). Without a hash false, after the same work';

-- Allowances are generous where several people share a name or a network, so that guessing keeps nobody else out for
-- long: the delay of a name from all networks is half a minute at most.
CREATE FUNCTION nebula.sign_in_delay(p_failures integer, p_for_name boolean, p_for_network boolean) RETURNS interval
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE
           WHEN p_for_name AND p_for_network
           THEN CASE
                  WHEN p_failures < 5 THEN interval '0'
                  ELSE least(interval '1 s' * 2 ^ least(p_failures - 5, 20), interval '15 min')
                END
           WHEN p_for_network
           THEN CASE
                  WHEN p_failures < 50 THEN interval '0'
                  ELSE least(interval '1 s' * (p_failures - 49), interval '15 min')
                END
           ELSE CASE
                  WHEN p_failures < 100 THEN interval '0'
                  ELSE least(interval '1 s' * (p_failures - 99), interval '30 s')
                END
         END
$$;
COMMENT ON FUNCTION nebula.sign_in_delay(integer, boolean, boolean) IS
  'Internal: how long after the last failure the next password is looked at: of a name from a network, of a network, '
  'of a name';

CREATE FUNCTION nebula.client_network(p_client inet) RETURNS inet
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE family(p_client)
           WHEN 6 THEN network(set_masklen(p_client, 64))::inet
           WHEN 4 THEN host(p_client)::inet
           ELSE inet '::'
         END
$$;
COMMENT ON FUNCTION nebula.client_network(inet) IS
  'Internal: the network that counts as one client: an address of IPv4, a /64 of IPv6';

CREATE FUNCTION nebula.sign_in_wait(p_name_hash bytea, p_network inet) RETURNS interval
LANGUAGE sql AS $$
  SELECT coalesce(max(f.failed_at
                      + nebula.sign_in_delay(f.failures, f.name_hash <> '', f.network <> '0.0.0.0/0')
                      - clock_timestamp()), interval '0')
    FROM nebula.sign_in_failure f
   WHERE (f.name_hash, f.network) IN ((p_name_hash, p_network), ('', p_network), (p_name_hash, '0.0.0.0/0'))
     AND f.failed_at > clock_timestamp() - interval '1 hour'
$$;
COMMENT ON FUNCTION nebula.sign_in_wait(bytea, inet) IS
  'Internal: how long a name from a network has to wait; not positive: it need not';

CREATE FUNCTION nebula.count_sign_in_failure(p_name_hash bytea, p_network inet) RETURNS void
LANGUAGE sql AS $$
  INSERT INTO nebula.sign_in_failure AS f (name_hash, network, failures)
  VALUES (p_name_hash, p_network, 1), ('', p_network, 1), (p_name_hash, '0.0.0.0/0', 1)
  ON CONFLICT ON CONSTRAINT sign_in_failure_pkey DO UPDATE
     SET failures = CASE WHEN f.failed_at > clock_timestamp() - interval '1 hour' THEN f.failures + 1 ELSE 1 END,
         failed_at = clock_timestamp();
  -- Some of those that no longer count, so that the table does not grow.
  DELETE FROM nebula.sign_in_failure f
   WHERE (f.name_hash, f.network) IN (SELECT o.name_hash, o.network
                                        FROM nebula.sign_in_failure o
                                       WHERE o.failed_at < clock_timestamp() - interval '1 hour'
                                       ORDER BY o.failed_at
                                       LIMIT 20
                                         FOR UPDATE SKIP LOCKED)
$$;
COMMENT ON FUNCTION nebula.count_sign_in_failure(bytea, inet) IS
  'Internal: counts a failure for the name from the network, for the network and for the name';

CREATE FUNCTION nebula.name_hash(p_username text) RETURNS bytea
LANGUAGE sql IMMUTABLE AS $$
  SELECT sha256(convert_to(coalesce(p_username, ''), 'UTF8'))
$$;
COMMENT ON FUNCTION nebula.name_hash(text) IS 'Internal: how sign_in_failure keeps a name';

CREATE FUNCTION nebula.refuse_sign_in(p_username text, p_known nebula.account, p_client inet) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM nebula.count_sign_in_failure(nebula.name_hash(p_username), nebula.client_network(p_client));
  -- A name that no account has is left out: it may be a password.
  PERFORM nebula.record_event(NULL, coalesce(p_known.username, 'unknown'), 'login-failed', 'account',
                              coalesce(p_known.account_id::text, ''), p_client);
END $$;
COMMENT ON FUNCTION nebula.refuse_sign_in(text, nebula.account, inet) IS
  'Internal: counts and records a wrong password or code of a name, which may be that of no account';

-- Answers an outcome instead of raising an error, because an error would undo the count.
CREATE FUNCTION nebula.check_password(
  p_username text, p_password text, p_client inet,
  OUT outcome text, OUT wait_seconds double precision, OUT known nebula.account
)
LANGUAGE plpgsql AS $$
DECLARE
  v_hash    CONSTANT bytea := nebula.name_hash(p_username);
  v_network CONSTANT inet := nebula.client_network(p_client);
  v_wait    interval;
BEGIN
  -- Tries of one name from one network take turns, so that many at the same time are not more than are allowed.
  PERFORM nebula.wait_for_lock('sign in', hashtext(encode(v_hash, 'hex') || host(v_network)));
  v_wait := nebula.sign_in_wait(v_hash, v_network);
  IF v_wait > interval '0' THEN
    outcome := 'wait';
    wait_seconds := extract(epoch FROM v_wait);
    RETURN;
  END IF;
  SELECT a.*
    INTO known
    FROM nebula.account a
   WHERE a.username = p_username
     AND a.disabled_at IS NULL;
  IF nebula.password_matches(p_password, known.password_hash) THEN
    outcome := 'right';
  ELSE
    PERFORM nebula.refuse_sign_in(p_username, known, p_client);
    outcome := 'refused';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_password(text, text, inet) IS
  'Internal: compares a password and counts a wrong one. outcome: right, refused (wrong or unknown, which take the '
  'same time), or wait: so many seconds, because of failures, during which no password is looked at';

CREATE FUNCTION nebula.forget_failures(p_username text, p_client inet) RETURNS void
LANGUAGE sql AS $$
  DELETE FROM nebula.sign_in_failure f
   WHERE f.name_hash = nebula.name_hash(p_username)
     AND f.network = nebula.client_network(p_client)
$$;
COMMENT ON FUNCTION nebula.forget_failures(text, inet) IS
  'Internal: failures of a name from a network count no more, because it has shown that it knows the secrets';

CREATE FUNCTION nebula.sign_in(
  p_gateway nebula.proven_gateway, p_username text, p_password text, p_token_hash bytea, p_lifetime interval,
  p_client inet DEFAULT NULL, p_user_agent text DEFAULT NULL, p_step bigint DEFAULT NULL,
  p_recovery_hash bytea DEFAULT NULL,
  OUT outcome text, OUT wait_seconds double precision, OUT session_id uuid, OUT account_id uuid, OUT role text
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_check record := nebula.check_password(p_username, p_password, p_client);
  v_known nebula.account := v_check.known;
BEGIN
  outcome := v_check.outcome;
  wait_seconds := v_check.wait_seconds;
  account_id := v_known.account_id;
  IF outcome <> 'right' THEN
    RETURN;
  END IF;
  IF nebula.has_second_factor(v_known.account_id) THEN
    IF num_nonnulls(p_step, p_recovery_hash) = 0 THEN
      outcome := 'second-factor';
      RETURN;
    END IF;
    IF NOT nebula.use_second_factor(v_known.account_id, p_step, p_recovery_hash) THEN
      PERFORM nebula.refuse_sign_in(p_username, v_known, p_client);
      outcome := 'refused';
      RETURN;
    END IF;
  END IF;
  PERFORM nebula.forget_failures(p_username, p_client);
  outcome := 'signed-in';
  role := v_known.role;
  session_id := nebula.open_session(v_known.account_id, p_token_hash, p_lifetime, p_client, p_user_agent);
END $$;
COMMENT ON FUNCTION nebula.sign_in(
  nebula.proven_gateway, text, text, bytea, interval, inet, text, bigint, bytea
) IS
  'For the gateway: compares a password and begins a session; token_hash is the SHA-256 of its first refresh token. '
  'Accounts with a second factor also need the step of a one-time code that the gateway has checked (0: it was wrong) '
  'or the SHA-256 of a recovery code. outcome: signed-in, second-factor (none was given), refused (wrong or unknown, '
  'which take the same time), or wait: so many seconds, because of failures, during which no password is looked at';

-- Guesses of whoever has come by an access token are counted like those at the door.
CREATE FUNCTION nebula.set_own_password(
  p_actor nebula.proven_account, p_old text, p_new_hash text, p_keep uuid, p_client inet DEFAULT NULL,
  OUT outcome text, OUT wait_seconds double precision
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who   nebula.account := nebula.require_session(p_actor);
  v_check record;
BEGIN
  PERFORM nebula.check_account(v_who.username, p_new_hash, v_who.role);
  v_check := nebula.check_password(v_who.username, p_old, p_client);
  outcome := v_check.outcome;
  wait_seconds := v_check.wait_seconds;
  IF outcome = 'right' THEN
    PERFORM nebula.forget_failures(v_who.username, p_client);
    UPDATE nebula.account a
       SET password_hash = p_new_hash
     WHERE a.account_id = p_actor;
    PERFORM nebula.end_sessions(p_actor, 'password', p_keep);
    PERFORM nebula.record_event(NULL, v_who.username, 'set-password', 'account', p_actor::text, p_client);
    outcome := 'changed';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.set_own_password(nebula.proven_account, text, text, uuid, inet) IS
  'For the gateway: replaces the password of the account, whose old one the caller has to know, and ends its other '
  'sessions. outcome: changed, refused, or wait as in sign_in. Errors: 28000, 22023 malformed hash';
