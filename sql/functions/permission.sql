-- Rights of accounts: nebula.permission says which role an action needs, and each function that acts for an account
-- asks here. Roles are of a project; the operator, an account of role admin, stands above all projects.

CREATE FUNCTION nebula.role_rank(p_role text) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT AS $$
  SELECT array_position(ARRAY['viewer', 'member', 'admin', 'owner', 'operator'], p_role)
$$;
COMMENT ON FUNCTION nebula.role_rank(text) IS 'Internal: roles in order; each may do all that those below it may';

CREATE FUNCTION nebula.least_role(p_action text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_role text;
BEGIN
  SELECT p.least_role
    INTO v_role
    FROM nebula.permission p
   WHERE p.action = p_action;
  IF v_role IS NULL THEN
    RAISE EXCEPTION 'nebula.permission does not know the action "%"', p_action
      USING ERRCODE = 'XX000', HINT = 'Add it to sql/views/permission.sql.';
  END IF;
  RETURN v_role;
END $$;
COMMENT ON FUNCTION nebula.least_role(text) IS
  'Internal: the least role that may do this. Errors: XX000 no such action';

-- Asks for the role and the project only to explain the refusal: a call that is allowed reads one row.
CREATE FUNCTION nebula.refuse_action(p_username text, p_role text, p_project_id uuid, p_action text)
RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_least CONSTANT text := nebula.least_role(p_action);
BEGIN
  IF v_least = 'operator' OR p_project_id IS NULL THEN
    RAISE EXCEPTION 'account "%" is not an administrator', p_username
      USING ERRCODE = '42501', HINT = format('Ask an administrator to do this (%s).', p_action);
  ELSIF p_role IS NOT NULL THEN
    RAISE EXCEPTION 'account "%" has the role % in this project, and % needs the role %',
        p_username, p_role, p_action, v_least
      USING ERRCODE = '42501', HINT = 'Ask an administrator or owner of the project to do this, or for another role.';
  END IF;
  PERFORM nebula.require_project(p_project_id);
  RAISE EXCEPTION 'account "%" is not a member of project %', p_username, p_project_id
    USING ERRCODE = '42501', HINT = 'Ask an owner of the project to add the account: SELECT nebula.add_member(...).';
END $$;
COMMENT ON FUNCTION nebula.refuse_action(text, text, uuid, text) IS
  'Internal: raises the error of an account that may not do this. Errors: P0002 no such project, 42501';

CREATE FUNCTION nebula.require_scope(p_actor uuid, p_action text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF NOT nebula.token_allows(p_actor, p_action) THEN
    RAISE EXCEPTION 'the scopes of the personal token do not include %', p_action
      USING ERRCODE = '42501', HINT = 'Make a token with this scope (nebulactl token create), or sign in.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.require_scope(uuid, text) IS
  'Internal: refuses a personal token whose scopes do not allow the action. Errors: 42501';

CREATE FUNCTION nebula.require_session(p_actor uuid) RETURNS nebula.account
LANGUAGE plpgsql STABLE AS $$
BEGIN
  -- No scope allows it.
  IF NOT nebula.token_allows(p_actor, 'account.self') THEN
    RAISE EXCEPTION 'a personal token may not change the account, its sessions and its tokens'
      USING ERRCODE = '42501', HINT = 'Sign in: nebulactl login.';
  END IF;
  RETURN nebula.require_account(p_actor);
END $$;
COMMENT ON FUNCTION nebula.require_session(uuid) IS
  'Internal: the account behind the actor, for what it may do only when it has signed in: change its password, '
  'sessions, tokens. Errors: 28000 unknown or disabled, 42501 a personal token';

CREATE FUNCTION nebula.role_in(p_actor uuid, p_project_id uuid) RETURNS text
LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN a.role = 'admin' THEN 'operator' ELSE m.role END
    FROM nebula.account a
    LEFT JOIN nebula.project_member m ON m.project_id = p_project_id AND m.account_id = a.account_id
   WHERE a.account_id = p_actor
     AND a.disabled_at IS NULL
$$;
COMMENT ON FUNCTION nebula.role_in(uuid, uuid) IS
  'Internal: the role of an account in a project; operator in each for an administrator; null: none, unknown, disabled';

CREATE FUNCTION nebula.require_permission(p_actor uuid, p_project_id uuid, p_action text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_account nebula.account := nebula.require_account(p_actor);
  v_role    text := nebula.role_in(p_actor, p_project_id);
BEGIN
  IF nebula.role_rank(v_role) >= nebula.role_rank(nebula.least_role(p_action)) IS NOT TRUE THEN
    PERFORM nebula.refuse_action(v_account.username, v_role, p_project_id, p_action);
  ELSIF v_role = 'operator' AND p_project_id IS NOT NULL THEN
    -- Others have a role only in a project that exists.
    PERFORM nebula.require_project(p_project_id);
  END IF;
  PERFORM nebula.require_scope(p_actor, p_action);
  RETURN v_account.username;
END $$;
COMMENT ON FUNCTION nebula.require_permission(uuid, uuid, text) IS
  'Internal: username of the account if its role in the project allows the action. Null: no project, or one that the '
  'account does not see; only operators may go on. Errors: 28000 unknown or disabled, P0002 no such project, 42501';

CREATE FUNCTION nebula.require_operator(p_actor uuid, p_action text) RETURNS text
LANGUAGE sql STABLE AS $$
  SELECT nebula.require_permission(p_actor, NULL, p_action)
$$;
COMMENT ON FUNCTION nebula.require_operator(uuid, text) IS
  'Internal: username of the account if it is an administrator, for what belongs to no project. Errors: 28000, 42501';

CREATE FUNCTION nebula.permitted_projects(p_actor uuid, p_action text) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT p.project_id
    FROM nebula.visible_projects(p_actor) AS p(project_id)
   -- One subquery for the action, which is the same for each project.
   WHERE nebula.role_rank(nebula.role_in(p_actor, p.project_id))
         >= (SELECT nebula.role_rank(nebula.least_role(p_action)))
     AND (SELECT nebula.token_allows(p_actor, p_action))
$$;
COMMENT ON FUNCTION nebula.permitted_projects(uuid, text) IS
  'Internal: the projects in which the account may do this; none for an unknown one';
