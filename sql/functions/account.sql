-- Accounts: made by administrators, read by the gateway at sign-in.

CREATE FUNCTION nebula.create_account(username text, password_hash text, role text DEFAULT 'member') RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  made uuid;
BEGIN
  INSERT INTO nebula.account AS a (username, password_hash, role)
  VALUES (create_account.username, create_account.password_hash, create_account.role)
  ON CONFLICT ON CONSTRAINT account_username_key DO NOTHING
  RETURNING a.account_id INTO made;
  IF made IS NULL THEN
    RAISE EXCEPTION 'account "%" exists already', create_account.username
      USING ERRCODE = '23505', HINT = 'Choose another name, or set a new password with nebula.set_password.';
  END IF;
  PERFORM nebula.record_event(NULL, session_user::text, 'create', 'account', made::text);
  RETURN made;
END $$;
COMMENT ON FUNCTION nebula.create_account(text, text, text) IS
  'Makes an account; the password arrives as an Argon2id hash in PHC form. Errors: 23505 name taken, 23514 malformed name, hash or role';

CREATE FUNCTION nebula.set_password(username text, password_hash text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  found_id uuid;
BEGIN
  UPDATE nebula.account AS a SET password_hash = set_password.password_hash
   WHERE a.username = set_password.username
  RETURNING a.account_id INTO found_id;
  IF found_id IS NULL THEN
    RAISE EXCEPTION 'there is no account "%"', set_password.username
      USING ERRCODE = 'P0002', HINT = 'List accounts: SELECT username FROM nebula.account.';
  END IF;
  -- Whoever knew the old password is signed out.
  UPDATE nebula.session SET ended_at = now(), end_reason = 'logout'
   WHERE account_id = found_id AND ended_at IS NULL;
  PERFORM nebula.record_event(NULL, session_user::text, 'set-password', 'account', found_id::text);
  RETURN found_id;
END $$;
COMMENT ON FUNCTION nebula.set_password(text, text) IS
  'Replaces the password hash of an account and ends its sessions. Errors: P0002 no such account';

CREATE FUNCTION nebula.account_login(username text)
RETURNS TABLE (account_id uuid, password_hash text, role text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT a.account_id, a.password_hash, a.role
    FROM nebula.account a
   WHERE a.username = account_login.username AND a.disabled_at IS NULL
$$;
COMMENT ON FUNCTION nebula.account_login(text) IS
  'What the gateway needs to check a password; no row for unknown and disabled accounts alike';

-- Every call of the gateway on behalf of a person passes through here, by require_admin or require_member.
CREATE FUNCTION nebula.require_account(actor uuid) RETURNS nebula.account
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  who nebula.account;
BEGIN
  SELECT * INTO who FROM nebula.account a WHERE a.account_id = actor AND a.disabled_at IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'this account is unknown or disabled' USING ERRCODE = '28000', HINT = 'Sign in again.';
  END IF;
  RETURN who;
END $$;
COMMENT ON FUNCTION nebula.require_account(uuid) IS
  'The account behind the actor. Errors: 28000 unknown or disabled';

CREATE FUNCTION nebula.require_admin(actor uuid) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  who nebula.account := nebula.require_account(actor);
BEGIN
  IF who.role <> 'admin' THEN
    RAISE EXCEPTION 'account "%" is not an administrator', who.username
      USING ERRCODE = '42501', HINT = 'Ask an administrator to do this.';
  END IF;
  RETURN who.username;
END $$;
COMMENT ON FUNCTION nebula.require_admin(uuid) IS
  'Username of the actor if it is an administrator. Errors: 28000 unknown or disabled, 42501 not an administrator';
