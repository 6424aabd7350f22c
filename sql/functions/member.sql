-- Members of projects and their roles.

CREATE FUNCTION nebula.set_member(
  p_project_id uuid, p_account_id uuid, p_role text, p_by text, p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_before text;
BEGIN
  PERFORM nebula.require_project(p_project_id);
  IF (p_role IN ('viewer', 'member', 'admin', 'owner')) IS NOT TRUE THEN
    RAISE EXCEPTION 'a member of a project cannot have the role "%"', left(p_role, 80)
      USING ERRCODE = '22023', HINT = 'Give viewer, member, admin or owner: SELECT * FROM nebula.permission.';
  END IF;
  v_before := nebula.lock_member(p_project_id, p_account_id, p_role <> 'owner');
  INSERT INTO nebula.project_member AS m (project_id, account_id, role) VALUES (p_project_id, p_account_id, p_role)
  ON CONFLICT ON CONSTRAINT project_member_pkey DO UPDATE
     SET role = EXCLUDED.role;
  PERFORM nebula.record_event(p_project_id, p_by, 'add-member', 'account', p_account_id::text, p_client,
                              jsonb_strip_nulls(jsonb_build_object('before', v_before, 'after', p_role)));
END $$;
COMMENT ON FUNCTION nebula.set_member(uuid, uuid, text, text, inet) IS
  'Internal: makes an account a member, or changes its role. Errors: P0002 no such project, 22023 no such role, 55000 '
  'the last owner';

-- A project that has owners keeps one: else only an administrator of everything could say who is a member.
CREATE FUNCTION nebula.lock_member(p_project_id uuid, p_account_id uuid, p_loses_role boolean) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  v_role text;
BEGIN
  -- In one order, so that two owners who remove each other do not both pass, nor wait for each other.
  PERFORM
     FROM nebula.project_member m
    WHERE m.project_id = p_project_id
      AND (m.role = 'owner' OR m.account_id = p_account_id)
    ORDER BY m.account_id
      FOR NO KEY UPDATE;
  SELECT m.role
    INTO v_role
    FROM nebula.project_member m
   WHERE m.project_id = p_project_id
     AND m.account_id = p_account_id;
  IF p_loses_role AND v_role = 'owner' AND NOT EXISTS (
    SELECT FROM nebula.project_member m
     WHERE m.project_id = p_project_id AND m.role = 'owner' AND m.account_id <> p_account_id
  ) THEN
    RAISE EXCEPTION 'this account is the last owner of the project'
      USING ERRCODE = '55000', HINT = 'Make another member owner first.';
  END IF;
  RETURN v_role;
END $$;
COMMENT ON FUNCTION nebula.lock_member(uuid, uuid, boolean) IS
  'Internal: the role of a member who is to change; null: no member. Errors: 55000 the last owner';

CREATE FUNCTION nebula.end_membership(
  p_project_id uuid, p_account_id uuid, p_by text, p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM nebula.require_project(p_project_id);
  PERFORM nebula.lock_member(p_project_id, p_account_id, true);
  DELETE FROM nebula.project_member m WHERE m.project_id = p_project_id AND m.account_id = p_account_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'account % is not a member of the project', p_account_id
      USING ERRCODE = 'P0002', HINT = 'List members: SELECT * FROM nebula.project_member.';
  END IF;
  PERFORM nebula.record_event(p_project_id, p_by, 'remove-member', 'account', p_account_id::text, p_client);
END $$;
COMMENT ON FUNCTION nebula.end_membership(uuid, uuid, text, inet) IS
  'Internal: ends a membership. Errors: P0002 no such project, or not a member, 55000 the last owner';

CREATE FUNCTION nebula.add_member(project_id uuid, username text, role text DEFAULT 'member') RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.set_member(project_id, nebula.find_account(username), role, session_user::text)
$$;
COMMENT ON FUNCTION nebula.add_member(uuid, text, text) IS
  'Lets an account act in a project, as viewer, member, admin or owner; of a member it changes the role. Idempotent. '
  'Errors: P0002 no such account or project, 22023 no such role, 55000 the last owner';

CREATE FUNCTION nebula.remove_member(project_id uuid, username text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.end_membership(project_id, nebula.find_account(username), session_user::text)
$$;
COMMENT ON FUNCTION nebula.remove_member(uuid, text) IS
  'Ends the membership of an account; its devices and files stay. Errors: P0002 no such account or project, or not a '
  'member, 55000 the last owner';

CREATE FUNCTION nebula.list_members(p_actor nebula.proven_account, p_project_id uuid)
RETURNS TABLE (account_id uuid, username text, role text, added_at timestamptz, disabled boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_member(p_actor, p_project_id);
  RETURN QUERY
    SELECT a.account_id, a.username, m.role, m.added_at, a.disabled_at IS NOT NULL
      FROM nebula.project_member m
      JOIN nebula.account a USING (account_id)
     WHERE m.project_id = p_project_id
     ORDER BY nebula.role_rank(m.role) DESC, a.username
     LIMIT 1000;
END $$;
COMMENT ON FUNCTION nebula.list_members(nebula.proven_account, uuid) IS
  'For the gateway: members of a project, owners first, at most 1000. Errors: 28000, P0002, 42501 as require_member';

CREATE FUNCTION nebula.set_member_for(
  p_actor nebula.proven_account, p_project_id uuid, p_username text, p_role text, p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who text := nebula.require_permission(p_actor, p_project_id, 'member.write');
BEGIN
  PERFORM nebula.set_member(p_project_id, nebula.find_account(p_username), p_role, v_who, p_client);
END $$;
COMMENT ON FUNCTION nebula.set_member_for(nebula.proven_account, uuid, text, text, inet) IS
  'For the gateway: add_member for an owner of the project. Errors: 28000, 42501, the rest as add_member';

-- Members may leave by themselves.
CREATE FUNCTION nebula.remove_member_for(
  p_actor nebula.proven_account, p_project_id uuid, p_account_id uuid, p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_action CONSTANT text := CASE WHEN p_account_id = p_actor THEN 'project.read' ELSE 'member.write' END;
  v_who    text := nebula.require_permission(p_actor, p_project_id, v_action);
BEGIN
  PERFORM nebula.require_scope(p_actor, 'member.write');
  PERFORM nebula.end_membership(p_project_id, p_account_id, v_who, p_client);
END $$;
COMMENT ON FUNCTION nebula.remove_member_for(nebula.proven_account, uuid, uuid, inet) IS
  'For the gateway: remove_member for an owner of the project, or for the member itself. Errors: 28000, 42501, P0002, '
  '55000 the last owner';
