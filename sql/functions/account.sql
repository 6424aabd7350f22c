-- Accounts: created by administrators, read by the gateway at sign-in.

CREATE FUNCTION nebula.check_account(p_username text, p_password_hash text, p_role text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF p_username ~ '^[a-z0-9][a-z0-9._@-]{0,62}$' IS NOT TRUE THEN
    RAISE EXCEPTION '"%" is not a valid username', left(p_username, 80)
      USING ERRCODE = '22023',
        HINT = '1 to 63 characters of a-z, 0-9 and . _ @ -, beginning with a letter or digit.';
  END IF;
  IF p_password_hash LIKE '$argon2id$%' IS NOT TRUE THEN
    RAISE EXCEPTION 'the hash of the password is not one of Argon2id'
      USING ERRCODE = '22023', HINT = 'Let nebula-gateway account make it.';
  END IF;
  PERFORM nebula.check_text('password_hash', p_password_hash, 'hash');
  IF (p_role IN ('admin', 'member')) IS NOT TRUE THEN
    RAISE EXCEPTION 'an account cannot have the role "%"', left(p_role, 80)
      USING ERRCODE = '22023', HINT = 'Give admin or member.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_account(text, text, text) IS
  'Internal: refuses what an account cannot have. Errors: 22023';

-- Events name these as actors.
CREATE FUNCTION nebula.check_new_name(p_username text) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF p_username IN ('agent', 'gateway', 'maintenance', 'rotation', 'scrub') THEN
    RAISE EXCEPTION 'the name "%" is taken', p_username
      USING ERRCODE = '23505', HINT = 'Events call a part of the system so; choose another name.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_new_name(text) IS
  'Internal: refuses the name of a part of the system for a new account. Errors: 23505';

CREATE FUNCTION nebula.create_account(username text, password_hash text, role text DEFAULT 'member')
RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_username      CONSTANT text := username;
  v_password_hash CONSTANT text := password_hash;
  v_role          CONSTANT text := role;
  v_made          uuid;
BEGIN
  PERFORM nebula.check_account(v_username, v_password_hash, v_role);
  PERFORM nebula.check_new_name(v_username);
  INSERT INTO nebula.account AS a (username, password_hash, role)
  VALUES (v_username, v_password_hash, v_role)
  ON CONFLICT ON CONSTRAINT account_username_key DO NOTHING
  RETURNING a.account_id INTO v_made;
  IF v_made IS NULL THEN
    RAISE EXCEPTION 'account "%" exists already', v_username
      USING ERRCODE = '23505', HINT = 'Choose another name, or set a new password with nebula.set_password.';
  END IF;
  PERFORM nebula.record_event(NULL, session_user::text, 'create', 'account', v_made::text);
  RETURN v_made;
END $$;
COMMENT ON FUNCTION nebula.create_account(text, text, text) IS
  'Creates an account. password_hash: Argon2id in PHC form. Errors: 23505 name taken, 22023 malformed '
  'name, hash or role';

CREATE FUNCTION nebula.find_account(p_username text) RETURNS uuid
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_account_id uuid := (SELECT a.account_id FROM nebula.account a WHERE a.username = p_username);
BEGIN
  IF v_account_id IS NULL THEN
    RAISE EXCEPTION 'there is no account "%"', left(p_username, 80)
      USING ERRCODE = 'P0002', HINT = 'List accounts: SELECT username FROM nebula.account.';
  END IF;
  RETURN v_account_id;
END $$;
COMMENT ON FUNCTION nebula.find_account(text) IS 'Internal: the account of this name. Errors: P0002 none';

CREATE FUNCTION nebula.set_password(username text, password_hash text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_username      CONSTANT text := username;
  v_password_hash CONSTANT text := password_hash;
  v_found_id      uuid;
BEGIN
  PERFORM nebula.check_account(v_username, v_password_hash, 'member');
  v_found_id := nebula.find_account(v_username);
  UPDATE nebula.account AS a
     SET password_hash = v_password_hash
   WHERE a.account_id = v_found_id;
  -- They may have been opened with the old password.
  PERFORM nebula.end_sessions(v_found_id, 'password');
  PERFORM nebula.record_event(NULL, session_user::text, 'set-password', 'account', v_found_id::text);
  RETURN v_found_id;
END $$;
COMMENT ON FUNCTION nebula.set_password(text, text) IS
  'Replaces the password hash of an account and ends its sessions. Errors: P0002 no such account, '
  '22023 malformed name or hash';

CREATE FUNCTION nebula.account_login(p_username text)
RETURNS TABLE (account_id uuid, password_hash text, role text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT a.account_id, a.password_hash, a.role
    FROM nebula.account a
   WHERE a.username = p_username AND a.disabled_at IS NULL
$$;
COMMENT ON FUNCTION nebula.account_login(text) IS
  'Internal: for nebula-gateway account, which an administrator runs: what it needs to see whether a password is set; '
  'no row for unknown and disabled accounts '
  'alike';

-- The gateway calls this, by require_admin or require_member, in every request on behalf of a person.
CREATE FUNCTION nebula.require_account(p_actor uuid) RETURNS nebula.account
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who nebula.account;
BEGIN
  SELECT *
    INTO v_who
    FROM nebula.account a
   WHERE a.account_id = p_actor
     AND a.disabled_at IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'this account is unknown or disabled'
      USING ERRCODE = '28000', HINT = 'Sign in again.';
  END IF;
  RETURN v_who;
END $$;
COMMENT ON FUNCTION nebula.require_account(uuid) IS
  'Internal: the account behind the actor. Errors: 28000 unknown or disabled';

CREATE FUNCTION nebula.require_admin(p_actor nebula.proven_account) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who nebula.account := nebula.require_account(p_actor);
BEGIN
  IF v_who.role <> 'admin' THEN
    RAISE EXCEPTION 'account "%" is not an administrator', v_who.username
      USING ERRCODE = '42501', HINT = 'Ask an administrator to do this.';
  END IF;
  PERFORM nebula.require_scope(p_actor, 'system.read');
  RETURN v_who.username;
END $$;
COMMENT ON FUNCTION nebula.require_admin(nebula.proven_account) IS
  'For the gateway: username of the actor if it is an administrator. Errors: 28000 unknown or disabled, '
  '42501 not an administrator';

CREATE FUNCTION nebula.role_of(p_account_id uuid) RETURNS text
LANGUAGE sql STABLE AS $$
  SELECT a.role
    FROM nebula.account a
   WHERE a.account_id = p_account_id
     AND a.disabled_at IS NULL
$$;
COMMENT ON FUNCTION nebula.role_of(uuid) IS
  'Internal: admin or member, of an account that may not be the caller; null for an unknown or disabled one';

CREATE FUNCTION nebula.account_role(p_actor nebula.proven_account) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.role_of(p_actor)
$$;
COMMENT ON FUNCTION nebula.account_role(nebula.proven_account) IS
  'For the gateway: admin or member; null for an unknown or disabled account, so that asking writes nothing into the '
  'server''s log';
