-- Projects as the gateway sees them, and the membership check that every project call passes through.

-- Internal. One statement finds all that decides.
CREATE FUNCTION nebula.acting_member(actor uuid, project_id uuid, OUT username text, OUT is_admin boolean)
LANGUAGE plpgsql STABLE AS $$
DECLARE
  is_there  boolean;
  is_member boolean;
BEGIN
  SELECT a.username, a.role = 'admin', p.project_id IS NOT NULL, m.account_id IS NOT NULL
    INTO acting_member.username, acting_member.is_admin, is_there, is_member
    FROM nebula.account a
    LEFT JOIN nebula.project p ON p.project_id = acting_member.project_id
    LEFT JOIN nebula.project_member m ON m.project_id = acting_member.project_id AND m.account_id = a.account_id
   WHERE a.account_id = acting_member.actor AND a.disabled_at IS NULL;
  IF NOT FOUND THEN
    PERFORM nebula.require_account(acting_member.actor);
  ELSIF NOT is_there THEN
    RAISE EXCEPTION 'there is no project %', acting_member.project_id
      USING ERRCODE = 'P0002', HINT = 'List projects: nebulactl project ls, or SELECT * FROM nebula.project.';
  ELSIF NOT (is_admin OR is_member) THEN
    RAISE EXCEPTION 'account "%" is not a member of project %', acting_member.username, acting_member.project_id
      USING ERRCODE = '42501', HINT = 'Ask an administrator to add the account: SELECT nebula.add_member(...).';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.acting_member(uuid, uuid) IS
  'Internal: the actor if it may act in the project. Errors: as require_member';

CREATE FUNCTION nebula.require_member(actor uuid, project_id uuid) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  acting record := nebula.acting_member(require_member.actor, require_member.project_id);
BEGIN
  RETURN acting.username;
END $$;
COMMENT ON FUNCTION nebula.require_member(uuid, uuid) IS
  'Username of the actor if it may act in the project. Errors: 28000 unknown or disabled, P0002 no such project, 42501 not a member';

-- The projects an account sees; administrators see all. Used inside the listings of other words.
CREATE FUNCTION nebula.visible_projects(actor uuid) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT p.project_id FROM nebula.project p, nebula.account a
   WHERE a.account_id = actor AND a.disabled_at IS NULL
     AND (a.role = 'admin' OR EXISTS (
       SELECT FROM nebula.project_member m WHERE m.project_id = p.project_id AND m.account_id = actor))
$$;
COMMENT ON FUNCTION nebula.visible_projects(uuid) IS 'Projects the account may act in; none for an unknown one';

CREATE FUNCTION nebula.add_member(project_id uuid, username text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  who uuid := (SELECT a.account_id FROM nebula.account a WHERE a.username = add_member.username);
BEGIN
  IF who IS NULL THEN
    RAISE EXCEPTION 'there is no account "%"', add_member.username
      USING ERRCODE = 'P0002', HINT = 'List accounts: SELECT username FROM nebula.account.';
  END IF;
  IF NOT EXISTS (SELECT FROM nebula.project p WHERE p.project_id = add_member.project_id) THEN
    RAISE EXCEPTION 'there is no project %', add_member.project_id
      USING ERRCODE = 'P0002', HINT = 'List projects: SELECT * FROM nebula.project.';
  END IF;
  INSERT INTO nebula.project_member AS m (project_id, account_id) VALUES (add_member.project_id, who)
  ON CONFLICT DO NOTHING;
  PERFORM nebula.record_event(add_member.project_id, session_user::text, 'add-member', 'account', who::text);
END $$;
COMMENT ON FUNCTION nebula.add_member(uuid, text) IS
  'Lets an account act in a project; twice is no error. Errors: P0002 no such account or project';

CREATE FUNCTION nebula.list_projects(actor uuid)
RETURNS TABLE (project_id uuid, name text, cidr text, created_at timestamptz, devices bigint, files bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT p.project_id, p.name, p.cidr::text, p.created_at,
         (SELECT count(*) FROM nebula.device d WHERE d.project_id = p.project_id),
         (SELECT count(*) FROM nebula.file f WHERE f.project_id = p.project_id)
    FROM nebula.project p
   WHERE p.project_id IN (SELECT nebula.visible_projects(actor))
   ORDER BY p.name
$$;
COMMENT ON FUNCTION nebula.list_projects(uuid) IS 'Projects the account sees, with counts, by name';

CREATE FUNCTION nebula.list_pools(actor uuid, project_id uuid DEFAULT NULL)
RETURNS TABLE (pool_id integer, project_id uuid, name text, cidr text, size text, reserved text, allocated text, quarantined text, free text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT u.pool_id, u.project_id, u.name, u.cidr::text, u.size::text, u.reserved::text, u.allocated::text, u.quarantined::text, u.free::text
    FROM nebula.pool_usage(list_pools.project_id) u
   WHERE u.project_id IN (SELECT nebula.visible_projects(actor))
   ORDER BY u.project_id, u.pool_id
$$;
COMMENT ON FUNCTION nebula.list_pools(uuid, uuid) IS
  'Usage of the pools the account sees; counts as decimal text because an IPv6 pool outgrows every integer';
