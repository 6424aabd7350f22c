-- Accounts change: roles, disabling, deletion. The last account that may do everything stays so: nobody else could give
-- the right back but by psql.
CREATE FUNCTION nebula.lock_account(p_account_id uuid, p_loses_role boolean) RETURNS nebula.account
LANGUAGE plpgsql AS $$
DECLARE
  v_account nebula.account;
BEGIN
  -- In one order, so that two administrators who disable each other do not both pass, nor wait for each other.
  PERFORM FROM nebula.account a WHERE a.role = 'admin' AND p_loses_role ORDER BY a.account_id FOR NO KEY UPDATE;
  SELECT a.* INTO v_account FROM nebula.account a WHERE a.account_id = p_account_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no account %', p_account_id
      USING ERRCODE = 'P0002', HINT = 'List accounts: nebulactl account ls, or SELECT * FROM nebula.account_status.';
  END IF;
  IF p_loses_role AND v_account.role = 'admin' AND v_account.disabled_at IS NULL AND NOT EXISTS (
    SELECT FROM nebula.account a
     WHERE a.role = 'admin' AND a.disabled_at IS NULL AND a.account_id <> p_account_id
  ) THEN
    RAISE EXCEPTION 'account "%" is the last administrator', v_account.username
      USING ERRCODE = '55000', HINT = 'Make another account an administrator first.';
  END IF;
  RETURN v_account;
END $$;
COMMENT ON FUNCTION nebula.lock_account(uuid, boolean) IS
  'Internal: locks an account that is to change. Errors: P0002 no such account, 55000 the last administrator';

CREATE FUNCTION nebula.change_account(
  p_account_id uuid, p_changes jsonb, p_by text, p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_role     text;
  v_disabled boolean;
  v_old      nebula.account;
BEGIN
  PERFORM nebula.check_fields('an account', p_changes, ARRAY['role', 'disabled']);
  v_role := nebula.json_text(p_changes, 'role');
  v_disabled := nebula.json_boolean(p_changes, 'disabled');
  IF v_role NOT IN ('admin', 'member') THEN
    RAISE EXCEPTION 'an account cannot have the role "%"', left(v_role, 80)
      USING ERRCODE = '22023', HINT = 'Give admin or member; roles in a project are of its members.';
  END IF;
  v_old := nebula.lock_account(p_account_id, v_disabled OR v_role = 'member');
  UPDATE nebula.account a
     SET role = coalesce(v_role, a.role),
         disabled_at = CASE
                         WHEN v_disabled THEN coalesce(a.disabled_at, now())
                         WHEN v_disabled IS NULL THEN a.disabled_at
                       END
   WHERE a.account_id = p_account_id;
  IF v_role <> v_old.role THEN
    PERFORM nebula.record_event(NULL, p_by, 'set-role', 'account', p_account_id::text, p_client,
                                jsonb_build_object('before', v_old.role, 'after', v_role));
  END IF;
  IF v_disabled AND v_old.disabled_at IS NULL THEN
    PERFORM nebula.end_sessions(p_account_id, 'disabled');
    PERFORM nebula.record_event(NULL, p_by, 'disable', 'account', p_account_id::text, p_client);
  ELSIF NOT v_disabled AND v_old.disabled_at IS NOT NULL THEN
    PERFORM nebula.record_event(NULL, p_by, 'enable', 'account', p_account_id::text, p_client);
  END IF;
END $$;
COMMENT ON FUNCTION nebula.change_account(uuid, jsonb, text, inet) IS
  'Internal: changes role and disabled of an account. Errors: P0002, 22023, 55000 the last administrator';

CREATE FUNCTION nebula.remove_account(p_account_id uuid, p_by text, p_client inet DEFAULT NULL) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_account nebula.account := nebula.lock_account(p_account_id, true);
BEGIN
  DELETE FROM nebula.account a WHERE a.account_id = p_account_id;
  PERFORM nebula.record_event(NULL, p_by, 'delete', 'account', p_account_id::text, p_client,
                              jsonb_build_object('username', v_account.username));
END $$;
COMMENT ON FUNCTION nebula.remove_account(uuid, text, inet) IS
  'Internal: deletes an account with its sessions, memberships and share links; its devices, peers, codes and files '
  'stay with their projects. Errors: P0002, 55000 the last administrator';

CREATE FUNCTION nebula.disable_account(username text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.change_account(nebula.find_account(username), '{"disabled": true}', session_user::text)
$$;
COMMENT ON FUNCTION nebula.disable_account(text) IS
  'Ends all sessions of an account and lets it neither sign in nor act. What it owns stays. Idempotent. Errors: P0002 '
  'no such account, 55000 the last administrator';

CREATE FUNCTION nebula.enable_account(username text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.change_account(nebula.find_account(username), '{"disabled": false}', session_user::text)
$$;
COMMENT ON FUNCTION nebula.enable_account(text) IS
  'Lets a disabled account sign in again. Idempotent. Errors: P0002 no such account';

CREATE FUNCTION nebula.set_account_role(username text, role text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.change_account(nebula.find_account(username), jsonb_build_object('role', role), session_user::text)
$$;
COMMENT ON FUNCTION nebula.set_account_role(text, text) IS
  'Makes an account an administrator of everything (admin), or ends that (member). Errors: P0002 no such account, '
  '22023 no such role, 55000 the last administrator';

CREATE FUNCTION nebula.delete_account(username text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.remove_account(nebula.find_account(username), session_user::text)
$$;
COMMENT ON FUNCTION nebula.delete_account(text) IS
  'Deletes an account with its sessions, memberships and share links. Its devices, peers, codes and files stay with '
  'their projects. Errors: P0002 no such account, 55000 the last administrator';

CREATE FUNCTION nebula.list_accounts(
  p_actor nebula.proven_account, p_after text DEFAULT NULL, p_max integer DEFAULT 100
) RETURNS TABLE (
  account_id uuid, username text, role text, disabled_at timestamptz, created_at timestamptz, last_seen_at timestamptz,
  sessions integer
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_operator(p_actor, 'account.write');
  RETURN QUERY
    SELECT s.account_id, s.username, s.role, s.disabled_at, s.created_at, s.last_seen_at, s.sessions
      FROM nebula.account_status s
     WHERE p_after IS NULL OR s.username > p_after
     ORDER BY s.username
     LIMIT least(greatest(p_max, 1), 1000);
END $$;
COMMENT ON FUNCTION nebula.list_accounts(nebula.proven_account, text, integer) IS
  'For the gateway: accounts by name, those after this one, at most 1000 a call. Errors: 28000, 42501';

CREATE FUNCTION nebula.change_account_for(
  p_actor nebula.proven_account, p_account_id uuid, p_changes jsonb, p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.change_account(p_account_id, p_changes, nebula.require_operator(p_actor, 'account.write'), p_client)
$$;
COMMENT ON FUNCTION nebula.change_account_for(nebula.proven_account, uuid, jsonb, inet) IS
  'For the gateway: change_account for an administrator. Errors: 28000, 42501, the rest as change_account';

CREATE FUNCTION nebula.delete_account_for(
  p_actor nebula.proven_account, p_account_id uuid, p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.remove_account(p_account_id, nebula.require_operator(p_actor, 'account.write'), p_client)
$$;
COMMENT ON FUNCTION nebula.delete_account_for(nebula.proven_account, uuid, inet) IS
  'For the gateway: delete_account for an administrator. Errors: 28000, 42501, the rest as remove_account';
