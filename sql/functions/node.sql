-- Nodes: registration, health, and the device whose agent reports for a node. Selection of a node (node_scores,
-- select_node, claim_seats) is in Rust.

-- Functions in Rust.
COMMENT ON FUNCTION nebula.node_scores() IS
  'All nodes, lowest score first, with the reason if a node takes no peer';
COMMENT ON FUNCTION nebula.select_node(text, text, uuid) IS
  'The node for the next peer, of the project or of any. strategy: auto (lowest score), random, local (this '
  'server), capability:WORD, label:KEY or label:KEY=VALUE, name:NAME, node:NAME or node:ID, or the name or '
  'identifier alone. Null: this server, because there are no nodes or local was asked for. Errors: 22023 '
  'malformed strategy, P0002 no such node, 53000 none fits';
COMMENT ON FUNCTION nebula.choose_node(uuid, text, uuid[]) IS
  'Internal: select_node without the nodes in except; locks nothing. Null: this server. Errors: as select_node';
COMMENT ON FUNCTION nebula.claim_seat(uuid, text) IS
  'Internal: takes one seat on the node that the strategy chooses, and answers the node; null: this server. Errors: as '
  'select_node';
COMMENT ON FUNCTION nebula.claim_seats(uuid, text, integer, uuid[]) IS
  'Internal: chooses nodes as select_node does and takes seats on them; locks their rows. No row: this '
  'server. Fewer seats than asked for: the nodes are full. except: nodes that are not chosen. Errors: as '
  'select_node';
COMMENT ON FUNCTION nebula.notify_node(uuid) IS
  'Internal: notifies channel nebula_node when this transaction commits, which wakes the agent of the node';

CREATE FUNCTION nebula.register_node(
  name text,
  endpoint text,
  weight integer DEFAULT 100,
  max_peers integer DEFAULT 100,
  cidr inet DEFAULT NULL,
  capabilities text[] DEFAULT '{}'
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_name         CONSTANT text := name;
  v_endpoint     CONSTANT text := endpoint;
  v_weight       CONSTANT integer := weight;
  v_max_peers    CONSTANT integer := max_peers;
  v_cidr         CONSTANT inet := cidr;
  v_capabilities CONSTANT text[] := coalesce(capabilities, '{}');
  v_null         text;
  v_known        nebula.node;
  v_other        text;
  v_node_id      uuid;
BEGIN
  v_null := CASE
              WHEN v_name IS NULL THEN 'name'
              WHEN v_endpoint IS NULL THEN 'endpoint'
              WHEN v_weight IS NULL THEN 'weight'
              WHEN v_max_peers IS NULL THEN 'max_peers'
            END;
  IF v_null IS NOT NULL THEN
    RAISE EXCEPTION '% must not be null', v_null
      USING ERRCODE = '22023', HINT = format('Give a value for %s.', v_null);
  END IF;
  -- The row lock keeps the number of peers as it is between the check and the update.
  SELECT n.*
    INTO v_known
    FROM nebula.node n
   WHERE n.name = v_name
     FOR NO KEY UPDATE;
  IF v_known.local THEN
    RAISE EXCEPTION 'node "%" is this server itself', v_name
      USING ERRCODE = '55000', HINT = 'Choose another name; update_node gives this server an endpoint.';
  END IF;
  PERFORM nebula.check_node_name(v_name);
  PERFORM nebula.check_peer_endpoint(v_endpoint, v_known.endpoint, v_name);
  PERFORM nebula.check_node_limits(v_weight, v_max_peers, v_known.soft_max_peers);
  PERFORM nebula.check_words(v_capabilities, 'capability');
  PERFORM nebula.check_node_range(v_cidr, v_known.cidr, v_known.project_id);
  IF v_known.active_peers > v_max_peers THEN
    RAISE EXCEPTION 'node "%" hosts % peers, more than %', v_name, v_known.active_peers, v_max_peers
      USING ERRCODE = '55000', HINT = 'Move peers away first.';
  END IF;
  INSERT INTO nebula.node AS n (name, endpoint, weight, max_peers, cidr, capabilities)
  VALUES (v_name, v_endpoint, v_weight, v_max_peers, v_cidr::cidr, v_capabilities)
  ON CONFLICT ON CONSTRAINT node_name_key DO UPDATE
     SET endpoint = EXCLUDED.endpoint,
         weight = EXCLUDED.weight,
         max_peers = EXCLUDED.max_peers,
         cidr = EXCLUDED.cidr,
         capabilities = EXCLUDED.capabilities
  RETURNING n.node_id INTO v_node_id;
  INSERT INTO nebula.node_interface (node_id, listen_port)
  SELECT v_node_id, substring(v_endpoint FROM '[0-9]+$')::integer
   WHERE NOT EXISTS (SELECT FROM nebula.node_interface i WHERE i.node_id = v_node_id);
  PERFORM nebula.notify_node(v_node_id);
  RETURN v_node_id;
EXCEPTION WHEN exclusion_violation THEN
  SELECT n.name
    INTO v_other
    FROM nebula.node n
   WHERE n.cidr && v_cidr
     AND n.name <> v_name
   ORDER BY n.name
   LIMIT 1;
  -- The other node may be newer than the snapshot of this transaction.
  RAISE EXCEPTION '% overlaps the range of %', network(v_cidr), coalesce('node "' || v_other || '"', 'another node')
    USING ERRCODE = '23505', HINT = 'Give each node a range of its own.';
END $$;
COMMENT ON FUNCTION nebula.register_node(text, text, integer, integer, inet, text[]) IS
  'Registers a node, or updates it. endpoint: host:port on the underlay; cidr: the range of its peers. '
  'Errors: 22023 malformed argument, 23505 range of another node, 55000 hosts more peers than max_peers, or this '
  'server itself';

CREATE FUNCTION nebula.require_node(p_node_id uuid) RETURNS nebula.node
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_known nebula.node;
BEGIN
  SELECT n.*
    INTO v_known
    FROM nebula.node n
   WHERE n.node_id = p_node_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no node %', p_node_id
      USING ERRCODE = 'P0002',
        HINT = 'List nodes: nebulactl node ls, or SELECT node_id, name FROM nebula.node.';
  END IF;
  RETURN v_known;
END $$;
COMMENT ON FUNCTION nebula.require_node(uuid) IS 'Internal: the node. Errors: P0002 no such node';

CREATE FUNCTION nebula.node_heartbeat(node_id uuid, health jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_node_id CONSTANT uuid := node_id;
  v_health  CONSTANT jsonb := health;
BEGIN
  PERFORM nebula.check_health(v_health);
  UPDATE nebula.node n
     SET health = v_health,
         seen_at = now()
   WHERE n.node_id = v_node_id;
  IF NOT FOUND THEN
    PERFORM nebula.require_node(v_node_id);
  END IF;
END $$;
COMMENT ON FUNCTION nebula.node_heartbeat(uuid, jsonb) IS
  'Records a report of a node. A node that has reported once takes no peers while its reports are missing. '
  'Errors: P0002 no such node, 22023 health that is no small JSON object, or values that are none';

CREATE FUNCTION nebula.tie_node(
  node_id uuid,
  device_id uuid,
  tied_by text DEFAULT NULL,
  client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_node_id   CONSTANT uuid := node_id;
  v_device_id CONSTANT uuid := device_id;
  v_tied_by   CONSTANT text := tied_by;
  v_client    CONSTANT inet := client;
  v_known     nebula.node := nebula.require_node(v_node_id);
  v_speaker   nebula.device;
  v_other     text;
  v_strangers text;
BEGIN
  IF v_device_id IS NOT DISTINCT FROM v_known.device_id THEN
    RETURN;
  END IF;
  IF v_device_id IS NOT NULL THEN
    v_speaker := nebula.require_device(v_device_id);
    IF v_known.local AND v_speaker.project_id <> v_known.project_id THEN
      RAISE EXCEPTION 'node "%" is this server for another project than that of device "%"',
          v_known.name, v_speaker.name
        USING ERRCODE = '55000',
          HINT = 'For the project of the device: SELECT nebula.set_local_device(project_id, device_id).';
    END IF;
    SELECT n.name
      INTO v_other
      FROM nebula.node n
     WHERE n.device_id = v_device_id;
    IF FOUND THEN
      RAISE EXCEPTION 'device "%" speaks for node "%"', v_speaker.name, v_other
        USING ERRCODE = '23505', HINT = 'Untie that node first.';
    END IF;
  END IF;
  -- Keeps peers of other projects from being placed on it between the check and the update.
  PERFORM nebula.lock_for_change('{}', ARRAY[v_known.node_id], 'moving');
  v_known := nebula.require_node(v_node_id);
  IF v_device_id IS NOT NULL THEN
    -- A device is revoked before or after, never meanwhile: what revokes it has to find the node.
    PERFORM FROM nebula.device d WHERE d.device_id = v_device_id FOR SHARE;
    v_speaker := nebula.require_device(v_device_id);
  END IF;
  SELECT j.name
    INTO v_strangers
    FROM nebula.node_interface i
    JOIN nebula.placement p USING (interface_id)
    JOIN nebula.peer e USING (peer_id)
    JOIN nebula.project j ON j.project_id = e.project_id
   WHERE i.node_id = v_known.node_id
     AND e.project_id <> v_speaker.project_id
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'node "%" hosts peers of project "%", device "%" is of another',
        v_known.name, v_strangers, v_speaker.name
      USING ERRCODE = '55000', HINT = 'Move those peers away first, or tie a device of their project.';
  END IF;
  UPDATE nebula.pool p
     SET interface_id = NULL
    FROM nebula.node_interface i
   WHERE i.node_id = v_known.node_id
     AND p.interface_id = i.interface_id
     AND p.project_id <> v_speaker.project_id;
  -- Health and last report came from the former device: discard them.
  BEGIN
    UPDATE nebula.node n
       SET device_id = v_device_id,
           device_gone = NULL,
           project_id = coalesce(v_speaker.project_id, n.project_id),
           health = NULL,
           seen_at = NULL,
           synced_at = NULL
     WHERE n.node_id = v_known.node_id;
  EXCEPTION
    WHEN unique_violation THEN
      SELECT n.name
        INTO v_other
        FROM nebula.node n
       WHERE n.device_id = v_device_id;
      IF NOT FOUND THEN
        RAISE;
      END IF;
      RAISE EXCEPTION 'device "%" speaks for node "%"', v_speaker.name, v_other
        USING ERRCODE = '23505', HINT = 'Untie that node first.';
  END;
  -- Without a device nobody confirms that a peer is gone, unless an agent was told to run it.
  PERFORM nebula.delete_unserved_placements(ARRAY(SELECT o FROM nebula.peers_of_nodes(ARRAY[v_node_id], 'moving') o));
  -- Its certificate names the pools of peers, routes to those lead to it, and its agent learns that it has a node.
  PERFORM nebula.bump_configuration(p.project_id)
     FROM (SELECT v_known.project_id UNION SELECT v_speaker.project_id ORDER BY 1) AS p(project_id)
    WHERE p.project_id IS NOT NULL;
  PERFORM nebula.record_event(v_speaker.project_id, coalesce(v_tied_by, session_user::text),
    CASE WHEN v_device_id IS NULL THEN 'untie' ELSE 'tie' END, 'node', v_known.node_id::text, v_client,
    jsonb_build_object('name', v_known.name, 'device', coalesce(v_device_id, v_known.device_id)));
END $$;
COMMENT ON FUNCTION nebula.tie_node(uuid, uuid, text, inet) IS
  'Makes a device represent a node, so that the reports of its agent are those of the node; null: no '
  'device does. If the node has a secret, the agent must sign every call with it. For administrators. '
  'The node then hosts peers of the device''s project only. Errors: P0002 no such node or device, 55000 '
  'revoked, or the node hosts peers of another project, or is this server for another project, 23505 the device '
  'represents another node';

CREATE FUNCTION nebula.register_node_for(
  p_actor nebula.proven_account, p_name text, p_endpoint text, p_weight integer, p_max_peers integer, p_cidr text,
  p_capabilities text[]
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who  text := nebula.require_operator(p_actor, 'node.write');
  v_made uuid;
BEGIN
  v_made := nebula.register_node(p_name, p_endpoint, coalesce(p_weight, 100),
    coalesce(p_max_peers, 100), nebula.read_inet('cidr', p_cidr), coalesce(p_capabilities, '{}'));
  PERFORM nebula.record_event(NULL, v_who, 'register', 'node', v_made::text, NULL,
                              jsonb_build_object('name', p_name));
  RETURN v_made;
END $$;
COMMENT ON FUNCTION nebula.register_node_for(nebula.proven_account, text, text, integer, integer, text, text[]) IS
  'For the gateway: register_node for an administrator. Errors: 42501 not an administrator, the rest as '
  'register_node';

CREATE FUNCTION nebula.tie_node_for(
  p_actor nebula.proven_account, p_node_id uuid, p_device_id uuid, p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.tie_node(p_node_id, p_device_id, nebula.require_operator(p_actor, 'node.write'), p_client);
END $$;
COMMENT ON FUNCTION nebula.tie_node_for(nebula.proven_account, uuid, uuid, inet) IS
  'For the gateway: tie_node for an administrator. Errors: 42501 not an administrator, the rest as '
  'tie_node';
