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

-- Answers an outcome instead of raising an error, because an error would undo the count.
CREATE FUNCTION nebula.sign_in(
  p_gateway nebula.proven_gateway, p_username text, p_password text, p_token_hash bytea, p_lifetime interval,
  p_client inet DEFAULT NULL, p_user_agent text DEFAULT NULL,
  OUT outcome text, OUT wait_seconds double precision, OUT session_id uuid, OUT account_id uuid, OUT role text
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_hash    CONSTANT bytea := sha256(convert_to(coalesce(p_username, ''), 'UTF8'));
  v_network CONSTANT inet := nebula.client_network(p_client);
  v_wait    interval;
  v_known   nebula.account;
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
    INTO v_known
    FROM nebula.account a
   WHERE a.username = p_username
     AND a.disabled_at IS NULL;
  IF nebula.password_matches(p_password, v_known.password_hash) THEN
    DELETE FROM nebula.sign_in_failure f WHERE f.name_hash = v_hash AND f.network = v_network;
    outcome := 'signed-in';
    account_id := v_known.account_id;
    role := v_known.role;
    session_id := nebula.open_session(v_known.account_id, p_token_hash, p_lifetime, p_client, p_user_agent);
    RETURN;
  END IF;
  PERFORM nebula.count_sign_in_failure(v_hash, v_network);
  -- A name that no account has is left out: it may be a password.
  PERFORM nebula.record_event(NULL, coalesce(v_known.username, 'unknown'), 'login-failed', 'account',
                              coalesce(v_known.account_id::text, ''), p_client);
  outcome := 'refused';
  account_id := v_known.account_id;
END $$;
COMMENT ON FUNCTION nebula.sign_in(nebula.proven_gateway, text, text, bytea, interval, inet, text) IS
  'For the gateway: compares a password and begins a session; token_hash is the SHA-256 of its first refresh token. '
  'outcome: signed-in, refused (wrong or unknown, which take the same time), or wait: so many seconds, because of '
  'failures, during which no password is looked at';
