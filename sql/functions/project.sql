-- Projects as the gateway sees them, and the check of membership.

-- Functions in Rust.
COMMENT ON FUNCTION nebula.require_project(uuid) IS
  'Internal: refuses a project that does not exist. Errors: P0002 no such project';

CREATE FUNCTION nebula.create_project(name text, cidr inet DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_name       CONSTANT text := name;
  v_cidr       CONSTANT inet := cidr;
  v_project_id uuid;
BEGIN
  IF v_name IS NULL THEN
    RAISE EXCEPTION 'name must not be null'
      USING ERRCODE = '22023', HINT = 'Give a value for name.';
  END IF;
  IF NOT nebula.is_label(v_name) THEN
    RAISE EXCEPTION '"%" is not a valid project name', left(v_name, 80)
      USING ERRCODE = '22023',
        HINT = 'Start with a letter or digit, then up to 62 letters, digits, spaces, dots, underscores or dashes.';
  END IF;
  PERFORM nebula.check_host_bits(v_cidr);
  PERFORM nebula.check_network(v_cidr);
  INSERT INTO nebula.project AS p (name, cidr)
  VALUES (v_name, v_cidr::cidr)
  ON CONFLICT ON CONSTRAINT project_name_key DO NOTHING
  RETURNING p.project_id INTO v_project_id;
  IF v_project_id IS NULL THEN
    RAISE EXCEPTION 'a project named "%" exists already', v_name
      USING ERRCODE = '23505', HINT = 'Choose another name.';
  END IF;
  RETURN v_project_id;
END $$;
COMMENT ON FUNCTION nebula.create_project(text, inet) IS
  'Creates a project. cidr: the whole overlay, which contains every pool of its address family; pools of '
  'the other family, and all if it is null, stand for themselves. Errors: 22023 malformed name, '
  'host bits set, or not for devices (loopback, multicast and the '
  'like), 23505 name taken';

-- The project has a pool at once, so that devices can join.
CREATE FUNCTION nebula.create_project_for(
  p_actor nebula.proven_account, p_name text, p_cidr text, p_pool text, p_client inet DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_by         text := nebula.require_operator(p_actor, 'project.create');
  v_cidr       inet := nebula.read_inet('cidr', p_cidr);
  v_pool       inet := nebula.read_inet('pool', coalesce(p_pool, p_cidr));
  v_project_id uuid := nebula.create_project(p_name, v_cidr);
BEGIN
  PERFORM nebula.record_event(v_project_id, v_by, 'create', 'project', v_project_id::text, p_client,
                              jsonb_strip_nulls(jsonb_build_object('name', p_name, 'cidr', v_cidr)));
  IF v_pool IS NOT NULL THEN
    PERFORM nebula.add_pool(v_project_id, 'default', v_pool, false, v_by, p_client);
  END IF;
  RETURN v_project_id;
END $$;
COMMENT ON FUNCTION nebula.create_project_for(nebula.proven_account, text, text, text, inet) IS
  'For the gateway: create_project for an operator, with a pool named default: the range p_pool, else all of p_cidr; '
  'none without either. Errors: 28000, 42501, the rest as create_project and populate_pool';

-- One statement reads account, project and membership, because this runs in every registration.
CREATE FUNCTION nebula.acting_member(
  p_actor uuid, p_project_id uuid, p_action text, OUT username text, OUT is_admin boolean
)
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_is_there boolean;
  v_role     text;
BEGIN
  SELECT a.username, p.project_id IS NOT NULL, CASE WHEN a.role = 'admin' THEN 'operator' ELSE m.role END
    INTO acting_member.username, v_is_there, v_role
    FROM nebula.account a
    LEFT JOIN nebula.project p ON p.project_id = p_project_id
    LEFT JOIN nebula.project_member m ON m.project_id = p_project_id AND m.account_id = a.account_id
   WHERE a.account_id = p_actor AND a.disabled_at IS NULL;
  IF NOT FOUND THEN
    PERFORM nebula.require_account(p_actor);
  ELSIF NOT v_is_there THEN
    PERFORM nebula.require_project(p_project_id);
  ELSIF nebula.role_rank(v_role) >= nebula.role_rank(nebula.least_role(p_action)) IS NOT TRUE THEN
    PERFORM nebula.refuse_action(username, v_role, p_project_id, p_action);
  ELSIF NOT nebula.token_allows(p_actor, p_action) THEN
    PERFORM nebula.require_scope(p_actor, p_action);
  END IF;
  is_admin := nebula.role_rank(v_role) >= nebula.role_rank('admin')
              AND nebula.token_allows(p_actor, CASE p_action
                                                 WHEN 'device.register' THEN 'device.write'
                                                 WHEN 'peer.write' THEN 'peer.admin'
                                                 ELSE p_action
                                               END);
END $$;
COMMENT ON FUNCTION nebula.acting_member(uuid, uuid, text) IS
  'Internal: the actor if it may do this in the project, and whether it is an administrator there. Errors: 28000 '
  'unknown or disabled, P0002 no such project, 42501';

CREATE FUNCTION nebula.require_member(p_actor nebula.proven_account, p_project_id uuid) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_acting record := nebula.acting_member(p_actor, p_project_id, 'project.read');
BEGIN
  RETURN v_acting.username;
END $$;
COMMENT ON FUNCTION nebula.require_member(nebula.proven_account, uuid) IS
  'For the gateway: username of the actor if it may see the project. Errors: 28000 unknown or '
  'disabled, P0002 no such project, 42501 not a member';

-- Administrators see all projects.
CREATE FUNCTION nebula.projects_of(p_account_id uuid) RETURNS SETOF uuid
LANGUAGE sql STABLE AS $$
  SELECT p.project_id
    FROM nebula.project p, nebula.account a
   WHERE a.account_id = p_account_id
     AND a.disabled_at IS NULL
     AND (a.role = 'admin'
          OR EXISTS (SELECT
                       FROM nebula.project_member m
                      WHERE m.project_id = p.project_id
                        AND m.account_id = p_account_id))
$$;
COMMENT ON FUNCTION nebula.projects_of(uuid) IS
  'Internal: projects an account may act in, proven or not; none for an unknown or disabled one';

-- Every list_* function filters by it.
CREATE FUNCTION nebula.visible_projects(p_actor nebula.proven_account) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT o FROM nebula.projects_of(p_actor) AS o
$$;
COMMENT ON FUNCTION nebula.visible_projects(nebula.proven_account) IS
  'For the gateway: projects the account may act in; none for an unknown one';

CREATE FUNCTION nebula.projects_with_files(p_actor uuid) RETURNS SETOF uuid
LANGUAGE sql STABLE AS $$
  SELECT v
    FROM nebula.visible_projects(p_actor) v
   WHERE (SELECT nebula.token_allows(p_actor, 'file.read'))
$$;
COMMENT ON FUNCTION nebula.projects_with_files(uuid) IS
  'Internal: projects whose files the account may read; none for a personal token that may not';

CREATE FUNCTION nebula.list_projects(p_actor nebula.proven_account)
RETURNS TABLE (
  project_id uuid, name text, cidr text, created_at timestamptz, devices bigint, files bigint,
  used_bytes bigint, max_bytes bigint
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT p.project_id, p.name, p.cidr::text, p.created_at,
         (SELECT count(*) FROM nebula.device d WHERE d.project_id = p.project_id),
         (SELECT count(*) FROM nebula.file f WHERE f.project_id = p.project_id AND f.deleted_at IS NULL),
         nebula.used_bytes(p.project_id, NULL),
         (SELECT q.max_bytes FROM nebula.quota q WHERE q.project_id = p.project_id)
    FROM nebula.project p
   WHERE p.project_id IN (SELECT nebula.visible_projects(p_actor))
   ORDER BY p.name
$$;
COMMENT ON FUNCTION nebula.list_projects(nebula.proven_account) IS
  'For the gateway: projects the account sees, with counts, what they store and may store, by name';

CREATE FUNCTION nebula.list_pools(p_actor nebula.proven_account, p_project_id uuid DEFAULT NULL)
RETURNS TABLE (
  pool_id integer, project_id uuid, name text, cidr text, size text, reserved text, allocated text,
  quarantined text, free text, enabled boolean
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp
SET jit = off AS $$
  SELECT nebula.require_project(p_project_id) WHERE p_project_id IS NOT NULL;
  -- Only the pools of these projects are counted.
  SELECT u.pool_id, u.project_id, u.name, u.cidr::text, u.size::text, u.reserved::text, u.allocated::text,
         u.quarantined::text, u.free::text, l.enabled
    FROM nebula.visible_projects(p_actor) AS v(project_id)
   CROSS JOIN LATERAL nebula.pool_usage(v.project_id) u
    JOIN nebula.pool l ON l.pool_id = u.pool_id
   WHERE p_project_id IS NULL OR v.project_id = p_project_id
   ORDER BY u.project_id, u.pool_id
$$;
COMMENT ON FUNCTION nebula.list_pools(nebula.proven_account, uuid) IS
  'For the gateway: usage of the pools the account sees; counts as decimal text because an IPv6 pool '
  'outgrows every integer';
