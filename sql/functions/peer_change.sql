-- Changes of peers that exist: update, move, remove, withdraw.

CREATE FUNCTION nebula.write_peer(p_peer nebula.peer, p_by text, p_client inet, p_detail jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_wanted CONSTANT text := nebula.wanted_state(p_peer);
  v_peer   nebula.peer;
  v_raised record;
BEGIN
  PERFORM nebula.check_peer(p_peer);
  FOR v_raised IN SELECT * FROM nebula.lock_placements(ARRAY[p_peer.peer_id]) LOOP
    UPDATE nebula.placement p
       SET wanted = v_wanted,
           generation = v_raised.generation,
           refused_at = NULL,
           refused_reason = NULL
     WHERE p.peer_id = p_peer.peer_id
       AND p.interface_id = v_raised.interface_id
       AND p.wanted <> 'absent';
  END LOOP;
  v_peer := nebula.require_peer(p_peer.peer_id);
  PERFORM nebula.check_peer_identity(p_peer);
  UPDATE nebula.peer e
     SET name = p_peer.name,
         file_name = CASE
                       WHEN e.name = p_peer.name THEN e.file_name
                       ELSE nebula.peer_file_name(e.project_id, p_peer.name, e.peer_id)
                     END,
         public_key = p_peer.public_key,
         preshared_key = p_peer.preshared_key,
         reach = p_peer.reach,
         networks = p_peer.networks,
         groups = p_peer.groups,
         disabled_at = p_peer.disabled_at,
         expires_at = p_peer.expires_at
   WHERE e.peer_id = v_peer.peer_id;
  PERFORM nebula.record_event(v_peer.project_id, p_by, 'update', 'peer', v_peer.peer_id::text, p_client,
                              jsonb_build_object('name', p_peer.name) || p_detail);
END $$;
COMMENT ON FUNCTION nebula.write_peer(nebula.peer, text, inet, jsonb) IS
  'Internal: writes new values of a peer, which its node is to apply. Errors: as update_peer';

CREATE FUNCTION nebula.update_peer(
  peer_id uuid,
  name text DEFAULT NULL,
  public_key text DEFAULT NULL,
  preshared boolean DEFAULT NULL,
  reach text DEFAULT NULL,
  networks inet[] DEFAULT NULL,
  groups text[] DEFAULT NULL,
  expires_at timestamptz DEFAULT NULL,
  disabled boolean DEFAULT NULL,
  updated_by text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_peer nebula.peer := nebula.require_peer(peer_id);
BEGIN
  PERFORM nebula.change_peer(v_peer, jsonb_strip_nulls(jsonb_build_object(
                               'name', name, 'publicKey', public_key, 'preshared', preshared, 'reach', reach,
                               'networks', to_jsonb(networks), 'groups', to_jsonb(groups),
                               'expiresAt', CASE
                                              WHEN isfinite(expires_at) THEN to_jsonb(expires_at)
                                              WHEN expires_at IS NOT NULL THEN to_jsonb('infinity'::text)
                                            END,
                               'disabled', disabled)),
                             coalesce(updated_by, session_user::text), inet_client_addr());
END $$;
COMMENT ON FUNCTION nebula.update_peer(
  uuid, text, text, boolean, text, inet[], text[], timestamptz, boolean, text
) IS
  'Changes a peer; null leaves a value as it is, expires_at infinity means never. preshared: true makes a new '
  'preshared key, false removes it. Errors: P0002 no such peer, 22023 malformed, 23505 name or key taken, 55000 '
  'being removed, or enabled after it has expired';

CREATE FUNCTION nebula.change_peer(p_peer nebula.peer, p_changes jsonb, p_by text, p_client inet) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_peer nebula.peer := p_peer;
BEGIN
  v_peer.name := coalesce(p_changes ->> 'name', v_peer.name);
  v_peer.public_key := coalesce(nebula.wireguard_key(p_changes ->> 'publicKey'), v_peer.public_key);
  IF p_changes ? 'preshared' THEN
    v_peer.preshared_key := CASE WHEN (p_changes ->> 'preshared')::boolean THEN nebula.random_key() END;
  END IF;
  v_peer.reach := coalesce(p_changes ->> 'reach', v_peer.reach);
  IF v_peer.reach <> 'listed' AND NOT p_changes ? 'networks' THEN
    v_peer.networks := '{}';
  ELSIF p_changes ? 'networks' THEN
    v_peer.networks := ARRAY(SELECT DISTINCT network(n::inet)
                               FROM jsonb_array_elements_text(p_changes -> 'networks') n
                              ORDER BY 1);
  END IF;
  IF p_changes ? 'groups' THEN
    v_peer.groups := ARRAY(SELECT jsonb_array_elements_text(p_changes -> 'groups'));
  END IF;
  IF p_changes ? 'expiresAt' THEN
    v_peer.expires_at := nullif((p_changes ->> 'expiresAt')::timestamptz, 'infinity');
  END IF;
  IF p_changes ? 'disabled' THEN
    v_peer.disabled_at := CASE WHEN (p_changes ->> 'disabled')::boolean THEN coalesce(v_peer.disabled_at, now()) END;
    IF v_peer.disabled_at IS NULL AND v_peer.expires_at <= clock_timestamp() THEN
      RAISE EXCEPTION 'peer "%" has expired', v_peer.name
        USING ERRCODE = '55000', HINT = 'Give it a later end, or none, at the same time.';
    END IF;
  END IF;
  PERFORM nebula.write_peer(v_peer, p_by, p_client, p_changes - 'name');
END $$;
COMMENT ON FUNCTION nebula.change_peer(nebula.peer, jsonb, text, inet) IS
  'Internal: changes a peer, with the changes as the API writes them. Errors: as update_peer';

CREATE FUNCTION nebula.start_move(
  p_peer_id uuid, p_strategy text, p_deadline timestamptz, p_by text, p_client inet
) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
  v_peer         nebula.peer := nebula.require_peer(p_peer_id);
  v_except       uuid[] := ARRAY(SELECT i.node_id
                                   FROM nebula.placement p
                                   JOIN nebula.node_interface i USING (interface_id)
                                  WHERE p.peer_id = v_peer.peer_id);
  v_node_id      uuid;
  v_interface_id uuid;
  v_generation   bigint;
BEGIN
  v_node_id := (SELECT s.node_id FROM nebula.take_seats(v_peer.project_id, p_strategy, 1, v_except) s);
  v_interface_id := nebula.interface_for_peers(v_node_id);
  v_generation := nebula.raise_generation(v_interface_id);
  PERFORM
    FROM nebula.peer e
   WHERE e.peer_id = v_peer.peer_id
     FOR NO KEY UPDATE;
  v_peer := nebula.require_peer(p_peer_id);
  IF EXISTS (SELECT FROM nebula.placement p WHERE p.peer_id = v_peer.peer_id AND p.role = 'target') THEN
    RAISE EXCEPTION 'peer "%" is moving already', v_peer.name
      USING ERRCODE = '55000',
        HINT = 'It has to be seen on the new node, with its new .conf; cancel_move gives that node up.';
  END IF;
  INSERT INTO nebula.placement AS p (peer_id, interface_id, role, wanted, generation, deadline)
  VALUES (v_peer.peer_id, v_interface_id, 'target', nebula.wanted_state(v_peer), v_generation, p_deadline)
  ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'peer "%" was moved at the same time', v_peer.name
      USING ERRCODE = '55000', HINT = 'Look where it is, and repeat the call if need be.';
  END IF;
  -- The peer keeps its addresses, but the interface needs one of its own.
  PERFORM nebula.add_peer_pool(v_peer.project_id, v_interface_id, f.family)
     FROM (VALUES (4), (6)) AS f(family)
    WHERE NOT EXISTS (SELECT
                        FROM nebula.pool l
                       WHERE l.interface_id = v_interface_id
                         AND l.project_id = v_peer.project_id
                         AND family(l.cidr) = f.family);
  -- No agent runs the peer on either node, so it need not stay on the former one until it is seen on the new one.
  IF NOT EXISTS (SELECT
                   FROM nebula.placement p
                   JOIN nebula.node_interface i USING (interface_id)
                   JOIN nebula.node n USING (node_id)
                  WHERE p.peer_id = v_peer.peer_id
                    AND NOT nebula.runs_nothing(n))
  THEN
    UPDATE nebula.placement p
       SET role = 'leaving',
           wanted = 'absent'
     WHERE p.peer_id = v_peer.peer_id
       AND p.role = 'serving';
    UPDATE nebula.placement p
       SET role = 'serving'
     WHERE p.peer_id = v_peer.peer_id
       AND p.role = 'target';
    PERFORM nebula.end_unserved(ARRAY[v_peer.peer_id]);
  END IF;
  PERFORM nebula.record_event(v_peer.project_id, p_by, 'move', 'peer', v_peer.peer_id::text, p_client,
                              jsonb_build_object('name', v_peer.name, 'interface', v_interface_id));
  RETURN v_interface_id;
END $$;
COMMENT ON FUNCTION nebula.start_move(uuid, text, timestamptz, text, inet) IS
  'Internal: places a peer on another node as well; answers the interface. Errors: as move_peer';

CREATE FUNCTION nebula.move_peer(peer_id uuid, strategy text DEFAULT 'auto')
RETURNS TABLE (node_id uuid, ip inet)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_peer_id   CONSTANT uuid := peer_id;
  v_interface uuid := nebula.start_move(v_peer_id, coalesce(strategy, 'auto'), NULL, session_user::text,
                                        inet_client_addr());
BEGIN
  RETURN QUERY
    SELECT nebula.shown_node(v_interface), a.ip
      FROM nebula.allocation a
     WHERE a.device_id = v_peer_id
       AND a.released_at IS NULL
     ORDER BY family(a.ip)
     LIMIT 1;
END $$;
COMMENT ON FUNCTION nebula.move_peer(uuid, text) IS
  'Places a peer on another node too; it keeps its addresses. Its former node serves it until the new one has '
  'seen it, which needs its new .conf (peer_conf); then routes follow and the former node lets it go. Between nodes '
  'without agents it moves at once. Errors: '
  'P0002 no such peer or node, 53000 no other node has room, 55000 moving already or being removed';

CREATE FUNCTION nebula.drop_target(p_peer_id uuid, p_reason text, p_by text) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
  v_dropped boolean := false;
  v_raised  record;
BEGIN
  FOR v_raised IN SELECT * FROM nebula.lock_placements(ARRAY[p_peer_id]) LOOP
    UPDATE nebula.placement p
       SET role = 'leaving',
           wanted = 'absent',
           generation = v_raised.generation,
           deadline = NULL
     WHERE p.peer_id = p_peer_id
       AND p.interface_id = v_raised.interface_id
       AND p.role = 'target';
    v_dropped := v_dropped OR FOUND;
  END LOOP;
  IF v_dropped THEN
    PERFORM nebula.end_unserved(ARRAY[p_peer_id]);
    PERFORM nebula.record_event(e.project_id, p_by, 'cancel-move', 'peer', e.peer_id::text, NULL,
                                jsonb_build_object('name', e.name, 'reason', p_reason))
       FROM nebula.peer e
      WHERE e.peer_id = p_peer_id;
  END IF;
  RETURN v_dropped;
END $$;
COMMENT ON FUNCTION nebula.drop_target(uuid, text, text) IS
  'Internal: ends a move: the new node is to let the peer go; false: it was not moving';

CREATE FUNCTION nebula.cancel_move(peer_id uuid, cancelled_by text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_peer nebula.peer := nebula.require_peer(peer_id);
BEGIN
  IF NOT nebula.drop_target(v_peer.peer_id, 'cancelled', coalesce(cancelled_by, session_user::text)) THEN
    RAISE EXCEPTION 'peer "%" is not moving', v_peer.name
      USING ERRCODE = '55000', HINT = 'See SELECT name, state, node FROM nebula.peer_status.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.cancel_move(uuid, text) IS
  'Ends a move before the new node has seen the peer; its former node goes on to serve it. Errors: P0002 no such '
  'peer, 55000 not moving, or being removed';

CREATE FUNCTION nebula.end_peers(p_peer_ids uuid[], p_by text, p_client inet, p_detail jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_raised record;
  v_ended  record;
BEGIN
  FOR v_raised IN SELECT * FROM nebula.lock_placements(p_peer_ids) LOOP
    UPDATE nebula.placement p
       SET role = 'leaving',
           wanted = 'absent',
           generation = v_raised.generation,
           deadline = NULL
     WHERE p.peer_id = ANY (p_peer_ids)
       AND p.interface_id = v_raised.interface_id
       AND p.wanted <> 'absent';
  END LOOP;
  FOR v_ended IN
    WITH ended AS (
      UPDATE nebula.peer e
         SET removed_at = now()
       WHERE e.peer_id = ANY (p_peer_ids)
         AND e.removed_at IS NULL
      RETURNING e.project_id, e.peer_id, e.name
    )
    SELECT d.project_id, array_agg(d.peer_id::text) AS ids,
           array_agg(jsonb_build_object('name', d.name) || p_detail) AS details
      FROM ended d
     GROUP BY d.project_id
  LOOP
    PERFORM nebula.record_events(v_ended.project_id, p_by, 'remove', 'peer', v_ended.ids, p_client, v_ended.details);
  END LOOP;
  PERFORM nebula.end_unserved(p_peer_ids);
END $$;
COMMENT ON FUNCTION nebula.end_peers(uuid[], text, inet, jsonb) IS
  'Internal: removes peers: their nodes are to let them go';

CREATE FUNCTION nebula.remove_peer(peer_id uuid, removed_by text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_peer nebula.peer := nebula.require_peer(peer_id);
BEGIN
  PERFORM nebula.end_peers(ARRAY[v_peer.peer_id], coalesce(removed_by, session_user::text), inet_client_addr(), '{}');
END $$;
COMMENT ON FUNCTION nebula.remove_peer(uuid, text) IS
  'Removes a peer. Its seat and its addresses are free when its node has confirmed that it is gone, at once if no '
  'agent serves the node. Errors: P0002 no such peer, 55000 being removed already';

CREATE FUNCTION nebula.withdraw_peers(p_peer_ids uuid[], p_reason text) RETURNS SETOF uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_peer_id uuid;
  v_ended   uuid[] := '{}';
BEGIN
  PERFORM
    FROM nebula.placement p
    JOIN nebula.node_interface i USING (interface_id)
   WHERE p.peer_id = ANY (p_peer_ids)
   ORDER BY i.interface_id
     FOR NO KEY UPDATE OF i;
  FOR v_peer_id IN
    SELECT p.peer_id
      FROM nebula.placement p
     WHERE p.peer_id = ANY (p_peer_ids)
       AND p.role = 'target'
       AND p.applied_generation < p.generation
     ORDER BY p.peer_id
  LOOP
    PERFORM nebula.drop_target(v_peer_id, p_reason, 'gateway');
    RETURN NEXT v_peer_id;
  END LOOP;
  -- Created, but never applied. One that was applied before and only waits for a change of it stays.
  FOR v_peer_id IN
    SELECT p.peer_id
      FROM nebula.placement p
     WHERE p.peer_id = ANY (p_peer_ids)
       AND p.role = 'serving'
       AND p.applied_generation = 0
       AND NOT EXISTS (SELECT FROM nebula.placement t WHERE t.peer_id = p.peer_id AND t.role <> 'serving')
     ORDER BY p.peer_id
  LOOP
    v_ended := v_ended || v_peer_id;
    RETURN NEXT v_peer_id;
  END LOOP;
  IF v_ended <> '{}' THEN
    PERFORM nebula.end_peers(v_ended, 'gateway', NULL, jsonb_build_object('reason', p_reason));
  END IF;
END $$;
COMMENT ON FUNCTION nebula.withdraw_peers(uuid[], text) IS
  'For the gateway: gives up what nodes have not applied in time: peers that were created are removed, moves '
  'ended. Seats and addresses stay held until the nodes have confirmed that. Answers the peers that were '
  'withdrawn; those that were applied meanwhile are not';
