-- Members of projects and their roles.

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

CREATE FUNCTION nebula.add_member(project_id uuid, username text, role text DEFAULT 'member') RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_project_id CONSTANT uuid := project_id;
  v_role       CONSTANT text := role;
  v_account_id uuid := nebula.find_account(username);
BEGIN
  PERFORM nebula.require_project(v_project_id);
  IF (v_role IN ('viewer', 'member', 'admin', 'owner')) IS NOT TRUE THEN
    RAISE EXCEPTION 'a member of a project cannot have the role "%"', left(v_role, 80)
      USING ERRCODE = '22023', HINT = 'Give viewer, member, admin or owner: SELECT * FROM nebula.permission.';
  END IF;
  INSERT INTO nebula.project_member AS m (project_id, account_id, role) VALUES (v_project_id, v_account_id, v_role)
  ON CONFLICT ON CONSTRAINT project_member_pkey DO UPDATE
     SET role = EXCLUDED.role
   WHERE m.role <> EXCLUDED.role;
  PERFORM nebula.record_event(v_project_id, session_user::text, 'add-member', 'account', v_account_id::text,
                              inet_client_addr(), jsonb_build_object('role', v_role));
END $$;
COMMENT ON FUNCTION nebula.add_member(uuid, text, text) IS
  'Lets an account act in a project, as viewer, member, admin or owner; of a member it changes the role. Idempotent. '
  'Errors: P0002 no such account or project, 22023 no such role';

CREATE FUNCTION nebula.remove_member(project_id uuid, username text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_project_id CONSTANT uuid := project_id;
  v_account_id uuid := nebula.find_account(username);
BEGIN
  PERFORM nebula.require_project(v_project_id);
  DELETE FROM nebula.project_member m WHERE m.project_id = v_project_id AND m.account_id = v_account_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'account "%" is not a member of the project', username
      USING ERRCODE = 'P0002', HINT = 'List members: SELECT * FROM nebula.project_member.';
  END IF;
  PERFORM nebula.record_event(v_project_id, session_user::text, 'remove-member', 'account', v_account_id::text,
                              inet_client_addr());
END $$;
COMMENT ON FUNCTION nebula.remove_member(uuid, text) IS
  'Ends the membership of an account; its devices and files stay. Errors: P0002 no such account or project, or not a '
  'member';
