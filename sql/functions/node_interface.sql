-- WireGuard interfaces of nodes.

CREATE FUNCTION nebula.require_interface(p_interface_id uuid) RETURNS nebula.node_interface
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_known nebula.node_interface;
BEGIN
  SELECT i.*
    INTO v_known
    FROM nebula.node_interface i
   WHERE i.interface_id = p_interface_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no interface %', p_interface_id
      USING ERRCODE = 'P0002', HINT = 'List them: SELECT interface_id, node_id, name FROM nebula.node_interface.';
  END IF;
  RETURN v_known;
END $$;
COMMENT ON FUNCTION nebula.require_interface(uuid) IS 'Internal: the interface. Errors: P0002 no such interface';

CREATE FUNCTION nebula.set_interface_by(p_node_id uuid, p_interface jsonb, p_by text, p_client inet) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
  v_node       nebula.node := nebula.require_node(p_node_id);
  v_name       text;
  v_dns        inet[];
  v_made       nebula.node_interface;
  v_constraint text;
BEGIN
  PERFORM nebula.check_interface(v_node, p_interface);
  v_name := p_interface ->> 'name';
  v_dns := nebula.json_texts(p_interface, 'dns')::inet[];
  PERFORM
    FROM nebula.node n
   WHERE n.node_id = v_node.node_id
     FOR NO KEY UPDATE;
  INSERT INTO nebula.node_interface AS i (node_id, name, listen_port, endpoint, mtu, dns, keepalive)
  VALUES (v_node.node_id, v_name, coalesce((p_interface ->> 'listenPort')::integer, 51820),
          p_interface ->> 'endpoint', coalesce((p_interface ->> 'mtu')::integer, 1280), v_dns,
          coalesce((p_interface ->> 'keepalive')::integer, 25))
  ON CONFLICT ON CONSTRAINT node_interface_name_key DO UPDATE
     SET listen_port = coalesce((p_interface ->> 'listenPort')::integer, i.listen_port),
         endpoint = CASE WHEN p_interface ? 'endpoint' THEN p_interface ->> 'endpoint' ELSE i.endpoint END,
         mtu = coalesce((p_interface ->> 'mtu')::integer, i.mtu),
         dns = CASE WHEN jsonb_typeof(p_interface -> 'dns') = 'array' THEN v_dns ELSE i.dns END,
         keepalive = coalesce((p_interface ->> 'keepalive')::integer, i.keepalive),
         generation = i.generation + 1
  RETURNING i.* INTO v_made;
  IF p_interface ->> 'cidr' IS NOT NULL
     AND NOT EXISTS (SELECT
                       FROM nebula.pool l
                      WHERE l.interface_id = v_made.interface_id
                        AND l.cidr = (p_interface ->> 'cidr')::inet)
  THEN
    IF v_node.project_id IS NULL THEN
      RAISE EXCEPTION 'node "%" has no project yet, so there is none for the pool %',
          v_node.name, p_interface ->> 'cidr'
        USING ERRCODE = '55000', HINT = 'Tie a device to it first, or give the range to register_node.';
    END IF;
    PERFORM nebula.give_peer_pool(v_node.project_id, v_made, (p_interface ->> 'cidr')::inet);
  END IF;
  PERFORM nebula.notify_node(v_node.node_id);
  PERFORM nebula.record_event(v_node.project_id, p_by, 'set-interface', 'node', v_node.node_id::text, p_client,
                              jsonb_build_object('node', v_node.name) || p_interface);
  RETURN v_made.interface_id;
EXCEPTION
  WHEN unique_violation THEN
    GET STACKED DIAGNOSTICS v_constraint = CONSTRAINT_NAME;
    IF v_constraint <> 'node_interface_port_key' THEN
      RAISE;
    END IF;
    RAISE EXCEPTION 'another interface of node "%" listens on port %', v_node.name,
        coalesce(p_interface ->> 'listenPort', '51820')
      USING ERRCODE = '23505', HINT = 'Choose another port.';
END $$;
COMMENT ON FUNCTION nebula.set_interface_by(uuid, jsonb, text, inet) IS
  'Internal: makes or changes an interface, as the API writes it. Errors: as add_interface';

CREATE FUNCTION nebula.add_interface(
  node_id uuid,
  name text,
  listen_port integer DEFAULT NULL,
  endpoint text DEFAULT NULL,
  mtu integer DEFAULT NULL,
  dns inet[] DEFAULT NULL,
  keepalive integer DEFAULT NULL,
  cidr inet DEFAULT NULL
) RETURNS uuid
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.set_interface_by(
           add_interface.node_id,
           jsonb_strip_nulls(jsonb_build_object(
                               'name', add_interface.name, 'listenPort', add_interface.listen_port,
                               'endpoint', add_interface.endpoint, 'mtu', add_interface.mtu,
                               'dns', (SELECT jsonb_agg(d) FROM unnest(add_interface.dns) d),
                               'keepalive', add_interface.keepalive, 'cidr', add_interface.cidr)),
           session_user::text, inet_client_addr()
         )
$$;
COMMENT ON FUNCTION nebula.add_interface(uuid, text, integer, text, integer, inet[], integer, inet) IS
  'Makes an interface of a node, or changes the one of this name, where null leaves a value as it is. cidr: a '
  'pool for its peers; without one it gets pools by itself. Errors: P0002 no such node, 22023 malformed, or a '
  'pool that overlaps something, 23505 port taken, 55000 a pool for a node without project';

CREATE FUNCTION nebula.drop_interface_by(p_interface_id uuid, p_force boolean, p_by text, p_client inet) RETURNS void
LANGUAGE plpgsql SET lock_timeout = '5s' AS $$
DECLARE
  v_known    nebula.node_interface := nebula.require_interface(p_interface_id);
  v_node     nebula.node;
  v_peer_ids uuid[];
  v_project  uuid;
  v_next     uuid;
BEGIN
  PERFORM nebula.lock_for_change('{}', ARRAY[v_known.node_id], 'all');
  v_known := nebula.require_interface(p_interface_id);
  v_node := nebula.require_node(v_known.node_id);
  v_peer_ids := ARRAY(SELECT p.peer_id
                        FROM nebula.placement p
                       WHERE p.interface_id = v_known.interface_id
                       ORDER BY p.peer_id);
  IF v_peer_ids <> '{}' AND NOT p_force THEN
    RAISE EXCEPTION 'interface "%" of node "%" has % peers, or has not confirmed that they are gone',
        v_known.name, v_node.name, cardinality(v_peer_ids)
      USING ERRCODE = '55000',
        HINT = 'Move them away and wait for the agent; or force it, once the node is switched off for good.';
  END IF;
  -- Pools are deleted below; a session that has one in its cache must not take an address from it.
  PERFORM nebula.hold_allocations();
  FOREACH v_next IN ARRAY v_peer_ids LOOP
    PERFORM nebula.delete_placement(v_next, v_known.interface_id);
  END LOOP;
  PERFORM nebula.free_seats(v_node.node_id, cardinality(v_peer_ids));
  -- A peer on its way to another node is served by that one from now on.
  UPDATE nebula.placement t
     SET role = 'serving',
         deadline = NULL
   WHERE t.peer_id = ANY (v_peer_ids)
     AND t.role = 'target'
     AND NOT EXISTS (SELECT FROM nebula.placement s WHERE s.peer_id = t.peer_id AND s.role = 'serving');
  PERFORM nebula.mark_removed(w.peer_ids, p_by, p_client, jsonb_build_object('reason', 'its node was removed'))
     FROM (SELECT array_agg(e.peer_id) AS peer_ids
             FROM nebula.peer e
            WHERE e.peer_id = ANY (v_peer_ids)
              AND e.removed_at IS NULL
              AND NOT EXISTS (SELECT FROM nebula.placement s WHERE s.peer_id = e.peer_id AND s.role = 'serving')) w
    WHERE w.peer_ids IS NOT NULL;
  -- Pools that hold no address go; the others keep those of peers that have moved away.
  FOR v_project IN
    SELECT DISTINCT l.project_id
      FROM nebula.pool l
     WHERE l.interface_id = v_known.interface_id
     ORDER BY l.project_id
  LOOP
    DELETE FROM nebula.pool l
     WHERE l.interface_id = v_known.interface_id
       AND l.project_id = v_project
       AND NOT EXISTS (SELECT
                         FROM nebula.allocation a
                        WHERE a.project_id = l.project_id
                          AND a.pool_id = l.pool_id
                          AND a.ip <<= l.cidr);
    PERFORM nebula.bump_configuration(v_project);
  END LOOP;
  DELETE FROM nebula.node_interface i WHERE i.interface_id = v_known.interface_id;
  PERFORM nebula.notify_node(v_node.node_id);
  PERFORM nebula.record_event(v_node.project_id, p_by, 'drop-interface', 'node', v_node.node_id::text, p_client,
                              jsonb_build_object('node', v_node.name, 'name', v_known.name, 'force', p_force));
END $$;
COMMENT ON FUNCTION nebula.drop_interface_by(uuid, boolean, text, inet) IS
  'Internal: removes an interface. Errors: as drop_interface';

CREATE FUNCTION nebula.drop_interface(interface_id uuid, force boolean DEFAULT false) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.drop_interface_by(drop_interface.interface_id, coalesce(drop_interface.force, false),
                                  session_user::text, inet_client_addr())
$$;
COMMENT ON FUNCTION nebula.drop_interface(uuid, boolean) IS
  'Removes an interface of a node, which its agent takes down. force: also one with peers, which are removed as by '
  'remove_node. Errors: P0002 no such interface, 55000 it has peers, 55P03 busy';
