-- Routes to networks behind devices, by administrators.

CREATE FUNCTION nebula.add_route(
  project_id uuid, network inet, device_id uuid, mtu integer DEFAULT NULL, metric integer DEFAULT NULL, added_by text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
DECLARE
  held text[] := nebula.device_networks(add_route.device_id);
BEGIN
  PERFORM nebula.require_project(add_route.project_id);
  IF NOT EXISTS (SELECT FROM nebula.device d WHERE d.device_id = add_route.device_id AND d.project_id = add_route.project_id) THEN
    RAISE EXCEPTION 'there is no device % in project %', add_route.device_id, add_route.project_id
      USING ERRCODE = 'P0002', HINT = 'List devices: SELECT device_id, name FROM nebula.device_status.';
  END IF;
  IF add_route.network <> network(add_route.network)::inet THEN
    RAISE EXCEPTION '% is an address, not a network', add_route.network
      USING ERRCODE = '22023', HINT = format('Write %s.', network(add_route.network));
  END IF;
  IF NOT EXISTS (SELECT FROM unnest(held) h WHERE family(h::inet) = family(add_route.network)) THEN
    RAISE EXCEPTION 'device % holds no address of the family of %', add_route.device_id, add_route.network
      USING ERRCODE = '22023', HINT = 'A certificate may name a network only beside an address of the same family.';
  END IF;
  -- nebula refuses to start with a route that lies in the overlay.
  IF EXISTS (SELECT FROM unnest(held) h WHERE add_route.network <<= network(h::inet)) THEN
    RAISE EXCEPTION '% lies in the overlay', add_route.network
      USING ERRCODE = '22023', HINT = 'Members reach each other without routes; name a network outside.';
  END IF;
  INSERT INTO nebula.route AS r (project_id, network, device_id, mtu, metric)
  VALUES (add_route.project_id, add_route.network::cidr, add_route.device_id, add_route.mtu, add_route.metric)
  ON CONFLICT ON CONSTRAINT route_pkey DO UPDATE SET device_id = EXCLUDED.device_id, mtu = EXCLUDED.mtu, metric = EXCLUDED.metric;
  PERFORM nebula.record_event(add_route.project_id, coalesce(add_route.added_by, session_user::text), 'add-route', 'device',
    add_route.device_id::text, inet_client_addr(), jsonb_build_object('network', add_route.network));
END $$;
COMMENT ON FUNCTION nebula.add_route(uuid, inet, uuid, integer, integer, text) IS
  'Leads members to a network through a device, or through another one than before. The device routes it, and its certificate is made anew. '
  'For administrators. Errors: P0002 no such project or device, 22023 not a network, in the overlay, or of another family, 23514 MTU or metric';

CREATE FUNCTION nebula.drop_route(project_id uuid, network inet, dropped_by text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
DECLARE
  gone nebula.route;
BEGIN
  DELETE FROM nebula.route r WHERE r.project_id = drop_route.project_id AND r.network = drop_route.network RETURNING r.* INTO gone;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'project % has no route to %', drop_route.project_id, drop_route.network
      USING ERRCODE = 'P0002', HINT = 'List them: SELECT * FROM nebula.route.';
  END IF;
  PERFORM nebula.record_event(gone.project_id, coalesce(drop_route.dropped_by, session_user::text), 'drop-route', 'device',
    gone.device_id::text, inet_client_addr(), jsonb_build_object('network', gone.network));
END $$;
COMMENT ON FUNCTION nebula.drop_route(uuid, inet, text) IS 'Takes a route back. For administrators. Errors: P0002 no such route';

CREATE FUNCTION nebula.list_routes(actor uuid, project_id uuid DEFAULT NULL) RETURNS SETOF jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT jsonb_build_object('projectId', r.project_id, 'network', r.network, 'deviceId', r.device_id, 'mtu', r.mtu, 'metric', r.metric)
    FROM nebula.route r
   WHERE r.project_id IN (SELECT nebula.visible_projects(list_routes.actor))
     AND (list_routes.project_id IS NULL OR r.project_id = list_routes.project_id)
   ORDER BY r.project_id, r.network
$$;
COMMENT ON FUNCTION nebula.list_routes(uuid, uuid) IS 'Routes of the projects the account sees, as the API writes them';

CREATE FUNCTION nebula.add_route_for(actor uuid, route jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.add_route((route ->> 'projectId')::uuid, (route ->> 'network')::inet, (route ->> 'deviceId')::uuid,
    (route ->> 'mtu')::integer, (route ->> 'metric')::integer, nebula.require_admin(add_route_for.actor))
$$;
COMMENT ON FUNCTION nebula.add_route_for(uuid, jsonb) IS
  'add_route for an administrator, with a route as the API writes it. Errors: 42501 not an administrator, the rest as add_route';

CREATE FUNCTION nebula.drop_route_for(actor uuid, project_id uuid, network text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.drop_route(drop_route_for.project_id, drop_route_for.network::inet, nebula.require_admin(drop_route_for.actor))
$$;
COMMENT ON FUNCTION nebula.drop_route_for(uuid, uuid, text) IS
  'drop_route for an administrator. Errors: 42501 not an administrator, P0002 no such route';
