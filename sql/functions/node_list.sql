-- Nodes as the gateway shows them.

CREATE FUNCTION nebula.show_interface(p_node nebula.node, p_interface nebula.node_interface) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN jsonb_build_object(
    'interfaceId', p_interface.interface_id, 'name', p_interface.name, 'listenPort', p_interface.listen_port,
    'endpoint', nebula.interface_endpoint(p_node, p_interface),
    'publicKey', encode(p_interface.public_key, 'base64'), 'mtu', p_interface.mtu,
    'dns', (SELECT coalesce(jsonb_agg(host(d)), '[]') FROM unnest(p_interface.dns) d),
    'keepalive', p_interface.keepalive,
    'pools', (SELECT coalesce(jsonb_agg(l.cidr ORDER BY family(l.cidr), l.pool_id), '[]')
                FROM nebula.pool l
               WHERE l.interface_id = p_interface.interface_id),
    'generation', p_interface.generation, 'acknowledgedGeneration', p_interface.acknowledged_generation,
    'error', p_interface.error,
    'drift', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                                          'publicKey', s.public_key, 'kind', s.kind, 'allowedIps', s.allowed_ips
                                        ) ORDER BY s.first_seen_at, s.public_key), '[]')
                FROM nebula.drift s
               WHERE s.interface_id = p_interface.interface_id)
  );
END $$;
COMMENT ON FUNCTION nebula.show_interface(nebula.node, nebula.node_interface) IS
  'Internal: an interface as the API writes it';

CREATE FUNCTION nebula.show_node(p_status nebula.node_status) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN jsonb_build_object(
    'nodeId', p_status.node_id, 'name', p_status.name, 'projectId', p_status.project_id, 'project', p_status.project,
    'local', p_status.local, 'endpoint', p_status.endpoint, 'weight', p_status.weight,
    'maxPeers', p_status.max_peers, 'softMaxPeers', p_status.soft_max_peers, 'activePeers', p_status.active_peers,
    'cidr', p_status.cidr, 'capabilities', p_status.capabilities, 'labels', p_status.labels, 'score', p_status.score,
    'eligible', p_status.eligible, 'reason', p_status.reason, 'state', p_status.state,
    'desiredState', p_status.desired_state, 'repair', p_status.repair, 'obstacles', p_status.obstacles,
    'deviceId', p_status.device_id, 'device', p_status.device, 'secrets', p_status.secrets,
    'seenAt', p_status.seen_at, 'health', p_status.health,
    'interfaces', (SELECT coalesce(jsonb_agg(nebula.show_interface(n, i) ORDER BY i.name), '[]')
                     FROM nebula.node_interface i
                     JOIN nebula.node n USING (node_id)
                    WHERE i.node_id = p_status.node_id)
  );
END $$;
COMMENT ON FUNCTION nebula.show_node(nebula.node_status) IS 'Internal: a node as the API writes it';

CREATE FUNCTION nebula.list_nodes(p_actor nebula.proven_account) RETURNS SETOF jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_operator(p_actor, 'node.write');
  RETURN QUERY SELECT nebula.show_node(s) FROM nebula.node_status s ORDER BY s.local, s.name;
END $$;
COMMENT ON FUNCTION nebula.list_nodes(nebula.proven_account) IS
  'For the gateway: nodes by name, as the API writes them. Errors: 42501 not an administrator';

CREATE FUNCTION nebula.list_enabled_nodes(p_actor nebula.proven_account, p_project_id uuid) RETURNS SETOF jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_member(p_actor, p_project_id);
  RETURN QUERY
    SELECT jsonb_build_object(
             'nodeId', s.node_id, 'name', s.name, 'state', s.state, 'activePeers', s.active_peers,
             'maxPeers', s.max_peers, 'score', s.score, 'eligible', s.eligible, 'reason', s.reason, 'local', s.local
           )
      FROM nebula.node_status s
     WHERE coalesce(s.project_id, p_project_id) = p_project_id
       AND s.enabled
     ORDER BY s.local, s.score, s.name;
END $$;
COMMENT ON FUNCTION nebula.list_enabled_nodes(nebula.proven_account, uuid) IS
  'For the gateway: the nodes that a peer of the project can be given to by name, as the API writes them, the one '
  'that is chosen first. Errors: P0002 no such project, 42501 not a member';

CREATE FUNCTION nebula.update_node_for(
  p_actor nebula.proven_account, p_node_id uuid, p_changes jsonb, p_client inet DEFAULT NULL
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.update_node_by(p_node_id, p_changes, nebula.require_operator(p_actor, 'node.write'), p_client);
  RETURN (SELECT nebula.show_node(s) FROM nebula.node_status s WHERE s.node_id = p_node_id);
END $$;
COMMENT ON FUNCTION nebula.update_node_for(nebula.proven_account, uuid, jsonb, inet) IS
  'For the gateway: update_node and set_node_state for an administrator; answers the node. Errors: 42501 not an '
  'administrator, the rest as those';

CREATE FUNCTION nebula.remove_node_for(
  p_actor nebula.proven_account, p_node_id uuid, p_force boolean, p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.remove_node_by(p_node_id, coalesce(p_force, false), nebula.require_operator(p_actor, 'node.write'),
                                p_client);
END $$;
COMMENT ON FUNCTION nebula.remove_node_for(nebula.proven_account, uuid, boolean, inet) IS
  'For the gateway: remove_node for an administrator. Errors: 42501 not an administrator, the rest as remove_node';

CREATE FUNCTION nebula.set_interface_for(
  p_actor nebula.proven_account, p_node_id uuid, p_interface jsonb, p_client inet DEFAULT NULL
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_interface_id uuid := nebula.set_interface_by(p_node_id, p_interface,
                                                 nebula.require_operator(p_actor, 'node.write'), p_client);
BEGIN
  RETURN (SELECT nebula.show_interface(n, i)
            FROM nebula.node_interface i
            JOIN nebula.node n USING (node_id)
           WHERE i.interface_id = v_interface_id);
END $$;
COMMENT ON FUNCTION nebula.set_interface_for(nebula.proven_account, uuid, jsonb, inet) IS
  'For the gateway: add_interface for an administrator, with an interface as the API writes it; answers it. '
  'Errors: 42501 not an administrator, the rest as add_interface';

CREATE FUNCTION nebula.drop_interface_for(
  p_actor nebula.proven_account, p_node_id uuid, p_name text, p_force boolean, p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who          text := nebula.require_operator(p_actor, 'node.write');
  v_node         nebula.node := nebula.require_node(p_node_id);
  v_interface_id uuid := (SELECT i.interface_id
                            FROM nebula.node_interface i
                           WHERE i.node_id = v_node.node_id
                             AND i.name = p_name);
BEGIN
  IF v_interface_id IS NULL THEN
    RAISE EXCEPTION 'node "%" has no interface "%"', v_node.name, left(p_name, 100)
      USING ERRCODE = 'P0002', HINT = 'List them: nebulactl node ls.';
  END IF;
  PERFORM nebula.drop_interface_by(v_interface_id, coalesce(p_force, false), v_who, p_client);
END $$;
COMMENT ON FUNCTION nebula.drop_interface_for(nebula.proven_account, uuid, text, boolean, inet) IS
  'For the gateway: drop_interface for an administrator. Errors: 42501 not an administrator, the rest as '
  'drop_interface';

CREATE FUNCTION nebula.set_local_device_for(
  p_actor nebula.proven_account, p_project_id uuid, p_device_id uuid, p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.set_local_device_by(p_project_id, p_device_id, nebula.require_operator(p_actor, 'node.write'),
                                     p_client);
END $$;
COMMENT ON FUNCTION nebula.set_local_device_for(nebula.proven_account, uuid, uuid, inet) IS
  'For the gateway: set_local_device for an administrator. Errors: 42501 not an administrator, the rest as '
  'set_local_device';

CREATE FUNCTION nebula.node_counts(p_gateway nebula.proven_gateway)
RETURNS TABLE (
  state text, nodes bigint, seats bigint, seats_max bigint, oldest_secret_seconds double precision
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  RETURN QUERY
    SELECT w.state, count(n.node_id), coalesce(sum(n.active_peers), 0)::bigint,
           coalesce(sum(n.max_peers) FILTER (WHERE NOT n.local), 0)::bigint,
           extract(epoch FROM clock_timestamp() - min(k.made_at))::double precision
      FROM unnest(ARRAY['healthy', 'late', 'lost', 'unknown']) AS w(state)
      LEFT JOIN nebula.node n ON nebula.node_health(n.seen_at) = w.state
      LEFT JOIN LATERAL (SELECT max(s.made_at) AS made_at
                           FROM nebula.node_secret s
                          WHERE s.node_id = n.node_id
                            AND s.retired_at IS NULL) k ON true
     GROUP BY w.state;
END $$;
COMMENT ON FUNCTION nebula.node_counts(nebula.proven_gateway) IS
  'For the gateway: nodes by health, their seats, and the age of the newest secret of the node whose newest is '
  'the oldest';

CREATE FUNCTION nebula.peer_counts(p_gateway nebula.proven_gateway)
RETURNS TABLE (state text, peers bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp SET jit = off AS $$
BEGIN
  RETURN QUERY SELECT s.state, count(*) FROM nebula.peer_status s GROUP BY s.state;
END $$;
COMMENT ON FUNCTION nebula.peer_counts(nebula.proven_gateway) IS 'For the gateway: peers by state';
