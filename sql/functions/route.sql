-- Routes to networks behind devices, set by administrators.

CREATE FUNCTION nebula.check_route_numbers(p_network inet, p_mtu integer, p_metric integer) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  -- The kernel refuses an IPv6 route with a smaller MTU, and nebula then does not start.
  v_least CONSTANT integer := CASE family(p_network) WHEN 6 THEN 1280 ELSE 500 END;
BEGIN
  IF NOT p_mtu BETWEEN v_least AND 9001 THEN
    RAISE EXCEPTION 'the MTU of a route to % cannot be %', p_network, p_mtu
      USING ERRCODE = '22023', HINT = format('Give %s to 9001, or none for that of the project.', v_least);
  END IF;
  IF p_metric < 0 THEN
    RAISE EXCEPTION 'the metric of a route cannot be %', p_metric
      USING ERRCODE = '22023', HINT = 'Give a number from 1, or none for 2000.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_route_numbers(inet, integer, integer) IS
  'Internal: refuses an MTU or a metric that the kernel does not take for a network. Errors: 22023';

CREATE FUNCTION nebula.add_route(
  project_id uuid,
  network inet,
  device_id uuid,
  mtu integer DEFAULT NULL,
  metric integer DEFAULT NULL,
  added_by text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_project_id  CONSTANT uuid := project_id;
  v_network     CONSTANT inet := network;
  v_device_id   CONSTANT uuid := device_id;
  v_mtu         CONSTANT integer := mtu;
  v_metric      CONSTANT integer := metric;
  v_added_by    CONSTANT text := added_by;
  v_held        text[] := nebula.device_networks(v_device_id);
  v_overlay     cidr;
  v_static_host record;
BEGIN
  PERFORM nebula.require_project(v_project_id);
  -- Of a route and an endpoint or a pool that are made at the same time, the later one sees the earlier one.
  PERFORM
     FROM nebula.project p
    WHERE p.project_id = v_project_id
      FOR NO KEY UPDATE;
  IF NOT EXISTS (SELECT
                   FROM nebula.device d
                  WHERE d.device_id = v_device_id
                    AND d.project_id = v_project_id)
  THEN
    RAISE EXCEPTION 'there is no device % in project %', v_device_id, v_project_id
      USING ERRCODE = 'P0002', HINT = 'List devices: SELECT device_id, name FROM nebula.device_status.';
  END IF;
  PERFORM nebula.check_host_bits(v_network);
  IF NOT EXISTS (SELECT FROM unnest(v_held) h WHERE family(h::inet) = family(v_network)) THEN
    RAISE EXCEPTION 'device % holds no address of the family of %', v_device_id, v_network
      USING ERRCODE = '22023',
        HINT = 'A certificate may name a network only beside an address of the same family.';
  END IF;
  -- nebula does not start with an unsafe route whose first address is in the overlay, however wide the route is.
  SELECT o.network
    INTO v_overlay
    FROM (SELECT network(h::inet) AS network
            FROM unnest(v_held) h
          UNION ALL
          SELECT l.cidr
            FROM nebula.pool l
           WHERE l.project_id = v_project_id
          UNION ALL
          SELECT p.cidr
            FROM nebula.project p
           WHERE p.project_id = v_project_id) o
   WHERE host(v_network)::inet <<= o.network
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION '% begins in the overlay, %', v_network, v_overlay
      USING ERRCODE = '22023', HINT = 'Members reach each other without routes; name a network outside.';
  END IF;
  SELECT l.cidr
    INTO v_overlay
    FROM nebula.pool l
   WHERE l.project_id = v_project_id
     AND l.purpose = 'peer'
     AND l.cidr && v_network;
  IF FOUND THEN
    RAISE EXCEPTION '% overlaps the pool % of peers', v_network, v_overlay
      USING ERRCODE = '22023', HINT = 'Peers are reached through their nodes; name a network without them.';
  END IF;
  PERFORM nebula.check_network(v_network);
  PERFORM nebula.check_route_numbers(v_network, v_mtu, v_metric);
  PERFORM nebula.check_grantable(v_project_id, '{}', '{}', ARRAY[v_network]);
  -- A certificate names them all, and a handshake carries it.
  IF (SELECT count(*) FROM nebula.route r WHERE r.device_id = v_device_id AND r.network <> v_network) >= 200 THEN
    RAISE EXCEPTION 'device % has 200 routes, all that its certificate can name', v_device_id
      USING ERRCODE = '22023', HINT = 'Join neighbouring networks into wider ones, or use another device.';
  END IF;
  SELECT s.name, s.endpoint
    INTO v_static_host
    FROM nebula.static_endpoints(v_project_id) s
   WHERE s.address <<= v_network
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION '% contains the endpoint % of "%"', v_network, v_static_host.endpoint, v_static_host.name
      USING ERRCODE = '22023',
        HINT = 'Packets to it would go into the tunnel that they are to build; name a network without it.';
  END IF;
  INSERT INTO nebula.route AS r (project_id, network, device_id, mtu, metric)
  VALUES (v_project_id, v_network::cidr, v_device_id, v_mtu, v_metric)
  ON CONFLICT ON CONSTRAINT route_pkey DO UPDATE
     SET device_id = EXCLUDED.device_id,
         mtu = EXCLUDED.mtu,
         metric = EXCLUDED.metric;
  PERFORM nebula.record_event(v_project_id, coalesce(v_added_by, session_user::text), 'add-route', 'device',
    v_device_id::text, inet_client_addr(), jsonb_build_object('network', v_network));
END $$;
COMMENT ON FUNCTION nebula.add_route(uuid, inet, uuid, integer, integer, text) IS
  'Routes a network through a device for all members, or through another device than before. The '
  'certificate of the device then names the network. For administrators. Errors: P0002 no such project or '
  'device, 22023 not a network, in the overlay, of another family, with the endpoint of a lighthouse or '
  'relay, not of the authority, the 201st of the device, or not for devices (everything, loopback, multicast '
  'and the like), MTU or metric out of range';

CREATE FUNCTION nebula.drop_route(project_id uuid, network inet, dropped_by text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_project_id CONSTANT uuid := project_id;
  v_network    CONSTANT inet := network;
  v_dropped_by CONSTANT text := dropped_by;
  v_gone       nebula.route;
BEGIN
  PERFORM nebula.check_host_bits(v_network);
  DELETE FROM nebula.route r
   WHERE r.project_id = v_project_id
     AND r.network = v_network
  RETURNING r.* INTO v_gone;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'project % has no route to %', v_project_id, v_network
      USING ERRCODE = 'P0002', HINT = 'List them: SELECT * FROM nebula.route.';
  END IF;
  PERFORM nebula.record_event(v_gone.project_id, coalesce(v_dropped_by, session_user::text), 'drop-route',
                              'device', v_gone.device_id::text, inet_client_addr(),
                              jsonb_build_object('network', v_gone.network));
END $$;
COMMENT ON FUNCTION nebula.drop_route(uuid, inet, text) IS
  'Removes a route. For administrators. Errors: P0002 no such route, 22023 not a network';

CREATE FUNCTION nebula.list_routes(p_actor nebula.proven_account, p_project_id uuid DEFAULT NULL) RETURNS SETOF jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT jsonb_build_object(
           'projectId', r.project_id, 'network', r.network, 'deviceId', r.device_id, 'mtu', r.mtu,
           'metric', r.metric
         )
    FROM nebula.route r
   WHERE r.project_id IN (SELECT nebula.visible_projects(p_actor))
     AND (p_project_id IS NULL OR r.project_id = p_project_id)
   ORDER BY r.project_id, r.network
$$;
COMMENT ON FUNCTION nebula.list_routes(nebula.proven_account, uuid) IS
  'For the gateway: routes of the projects the account sees, as the API writes them';

CREATE FUNCTION nebula.add_route_for(p_actor nebula.proven_account, p_route jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.add_route((p_route ->> 'projectId')::uuid, nebula.read_inet('network', p_route ->> 'network'),
                          (p_route ->> 'deviceId')::uuid, (p_route ->> 'mtu')::integer,
                          (p_route ->> 'metric')::integer,
                          nebula.require_permission(p_actor, (p_route ->> 'projectId')::uuid, 'network.write'))
$$;
COMMENT ON FUNCTION nebula.add_route_for(nebula.proven_account, jsonb) IS
  'For the gateway: add_route for an administrator, with a route as the API writes it. Errors: 42501 not '
  'an administrator, the rest as add_route';

CREATE FUNCTION nebula.drop_route_for(p_actor nebula.proven_account, p_project_id uuid, p_network text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.drop_route(p_project_id, nebula.read_inet('network', p_network),
                           nebula.require_permission(p_actor, p_project_id, 'network.write'))
$$;
COMMENT ON FUNCTION nebula.drop_route_for(nebula.proven_account, uuid, text) IS
  'For the gateway: drop_route for an administrator. Errors: 42501 not an administrator, P0002 no such '
  'route';
