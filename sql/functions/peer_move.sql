-- Moves of peers. A peer that moves has two placements until it has been seen on the new node: the serving one, and the
-- target. Between nodes without agents it moves at once.

CREATE FUNCTION nebula.chosen_node(p_project_id uuid, p_strategy text, p_except uuid[]) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
  v_node_id uuid := nebula.choose_node(p_project_id, p_strategy, p_except);
BEGIN
  IF v_node_id IS NULL THEN
    v_node_id := nebula.open_local_node(p_project_id, p_except);
  END IF;
  RETURN v_node_id;
END $$;
COMMENT ON FUNCTION nebula.chosen_node(uuid, text, uuid[]) IS
  'Internal: the node that the strategy chooses now, or this server; takes no seat and locks nothing, so that the node '
  'can be locked in its place in the order. Errors: as select_node';

CREATE FUNCTION nebula.take_seat(p_node_id uuid, p_project_id uuid) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE nebula.node n
     SET active_peers = n.active_peers + 1
   WHERE n.node_id = p_node_id
     AND (n.local
          OR n.enabled AND n.desired_state = 'active' AND n.device_gone IS NULL AND n.active_peers < n.max_peers)
     AND coalesce(n.project_id, p_project_id) = p_project_id;
  RETURN FOUND;
END $$;
COMMENT ON FUNCTION nebula.take_seat(uuid, uuid) IS
  'Internal: takes a seat on a node that was chosen before it was locked; false: it takes no peers any more';

CREATE FUNCTION nebula.nodes_of_peer(p_peer_id uuid) RETURNS uuid[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN ARRAY(SELECT DISTINCT i.node_id
                 FROM nebula.placement p
                 JOIN nebula.node_interface i USING (interface_id)
                WHERE p.peer_id = p_peer_id);
END $$;
COMMENT ON FUNCTION nebula.nodes_of_peer(uuid) IS 'Internal: the nodes on which a peer is placed';

CREATE FUNCTION nebula.check_movable(p_peer nebula.peer) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF EXISTS (SELECT FROM nebula.placement p WHERE p.peer_id = p_peer.peer_id AND p.role = 'target') THEN
    RAISE EXCEPTION 'peer "%" is moving already', p_peer.name
      USING ERRCODE = '55000',
        HINT = 'It has to be seen on the new node, with its new .conf; cancel_move gives that node up.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_movable(nebula.peer) IS 'Internal: refuses a peer that is moving. Errors: 55000';

CREATE FUNCTION nebula.place_target(
  p_peer nebula.peer, p_node_id uuid, p_deadline timestamptz, p_by text, p_client inet
) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
  v_interface_id CONSTANT uuid := nebula.interface_for_peers(p_node_id);
BEGIN
  INSERT INTO nebula.placement (peer_id, interface_id, role, wanted, generation, deadline)
  VALUES (p_peer.peer_id, v_interface_id, 'target', nebula.wanted_state(p_peer),
          nebula.raise_generation(v_interface_id), p_deadline);
  -- The peer keeps its addresses, but the interface needs one of its own.
  PERFORM nebula.add_peer_pool(p_peer.project_id, v_interface_id, f.family)
     FROM (VALUES (4), (6)) AS f(family)
    WHERE NOT EXISTS (SELECT
                        FROM nebula.pool l
                       WHERE l.interface_id = v_interface_id
                         AND l.project_id = p_peer.project_id
                         AND family(l.cidr) = f.family);
  -- No agent runs the peer on either node, so it need not stay on the former one until it is seen on the new one.
  IF NOT EXISTS (SELECT
                   FROM nebula.placement p
                   JOIN nebula.node_interface i USING (interface_id)
                   JOIN nebula.node n USING (node_id)
                  WHERE p.peer_id = p_peer.peer_id
                    AND NOT nebula.has_no_agent(n))
  THEN
    PERFORM nebula.swap_roles(ARRAY[p_peer.peer_id]);
  END IF;
  PERFORM nebula.record_event(p_peer.project_id, p_by, 'move', 'peer', p_peer.peer_id::text, p_client,
                              jsonb_build_object('name', p_peer.name, 'interface', v_interface_id));
  RETURN v_interface_id;
END $$;
COMMENT ON FUNCTION nebula.place_target(nebula.peer, uuid, timestamptz, text, inet) IS
  'Internal: places a peer on one more node, which has a seat for it; answers the interface. The caller has locked '
  'both';

CREATE FUNCTION nebula.swap_roles(p_peer_ids uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM nebula.raise_generation(w.id)
     FROM (SELECT DISTINCT p.interface_id AS id
             FROM nebula.placement p
            WHERE p.peer_id = ANY (p_peer_ids)
              AND p.role = 'serving') w;
  UPDATE nebula.placement p
     SET role = 'leaving',
         wanted = 'absent',
         generation = i.generation
    FROM nebula.node_interface i
   WHERE p.peer_id = ANY (p_peer_ids)
     AND p.role = 'serving'
     AND i.interface_id = p.interface_id;
  -- The move is done, so its deadline is over: past a deadline, a peer that only serves is one whose creation failed.
  UPDATE nebula.placement p
     SET role = 'serving',
         deadline = NULL
   WHERE p.peer_id = ANY (p_peer_ids)
     AND p.role = 'target';
  PERFORM nebula.delete_unserved_placements(p_peer_ids);
END $$;
COMMENT ON FUNCTION nebula.swap_roles(uuid[]) IS
  'Internal: peers that move are served by their new nodes, and their former nodes are to let them go. The caller has '
  'locked them';

CREATE FUNCTION nebula.move_peer_by(
  p_peer_id uuid, p_strategy text, p_deadline timestamptz, p_by text, p_client inet
) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
  v_peer    nebula.peer;
  v_node_id uuid;
  v_except  uuid[];
BEGIN
  LOOP
    v_peer := nebula.require_peer(p_peer_id);
    PERFORM nebula.check_movable(v_peer);
    v_except := nebula.nodes_of_peer(p_peer_id);
    v_node_id := nebula.chosen_node(v_peer.project_id, p_strategy, v_except);
    BEGIN
      -- Not lock_for_change, which locks in a block of its own: a session that waits for a row that was locked there
      -- waits until this transaction ends, although this block gives the lock up earlier.
      IF nebula.try_lock_for_change(ARRAY[p_peer_id], ARRAY[v_node_id], 'none') THEN
        v_peer := nebula.require_peer(p_peer_id);
        PERFORM nebula.check_movable(v_peer);
        IF nebula.nodes_of_peer(p_peer_id) <@ v_except AND nebula.take_seat(v_node_id, v_peer.project_id) THEN
          RETURN nebula.place_target(v_peer, v_node_id, p_deadline, p_by, p_client);
        END IF;
      END IF;
      -- Gives up the locks of this block, and chooses again.
      RAISE EXCEPTION 'node % or peer "%" has changed meanwhile', v_node_id, v_peer.name
        USING ERRCODE = 'NB001', HINT = 'Begin again.';
    EXCEPTION
      WHEN SQLSTATE 'NB001' THEN
        NULL;
    END;
  END LOOP;
END $$;
COMMENT ON FUNCTION nebula.move_peer_by(uuid, text, timestamptz, text, inet) IS
  'Internal: moves a peer; answers the interface of the new node. Errors: as move_peer';

CREATE FUNCTION nebula.move_peer(peer_id uuid, strategy text DEFAULT 'auto')
RETURNS TABLE (node_id uuid, ip inet)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_peer_id   CONSTANT uuid := peer_id;
  v_interface uuid := nebula.move_peer_by(v_peer_id, coalesce(strategy, 'auto'), NULL, session_user::text,
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
BEGIN
  UPDATE nebula.placement p
     SET role = 'leaving',
         wanted = 'absent',
         generation = nebula.raise_generation(p.interface_id),
         deadline = NULL
   WHERE p.peer_id = p_peer_id
     AND p.role = 'target';
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM nebula.delete_unserved_placements(ARRAY[p_peer_id]);
  PERFORM nebula.record_event(e.project_id, p_by, 'cancel-move', 'peer', e.peer_id::text, NULL,
                              jsonb_build_object('name', e.name, 'reason', p_reason))
     FROM nebula.peer e
    WHERE e.peer_id = p_peer_id;
  RETURN true;
END $$;
COMMENT ON FUNCTION nebula.drop_target(uuid, text, text) IS
  'Internal: ends a move: the new node is to let the peer go; false: it was not moving. The caller has locked the peer';

CREATE FUNCTION nebula.cancel_move(peer_id uuid, cancelled_by text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_peer nebula.peer := nebula.require_peer(peer_id);
BEGIN
  PERFORM nebula.lock_for_change(ARRAY[v_peer.peer_id]);
  v_peer := nebula.require_peer(v_peer.peer_id);
  IF NOT nebula.drop_target(v_peer.peer_id, 'cancelled', coalesce(cancelled_by, session_user::text)) THEN
    RAISE EXCEPTION 'peer "%" is not moving', v_peer.name
      USING ERRCODE = '55000', HINT = 'See SELECT name, state, node FROM nebula.peer_status.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.cancel_move(uuid, text) IS
  'Ends a move before the new node has seen the peer; its former node goes on to serve it. Errors: P0002 no such '
  'peer, 55000 not moving, or being removed';
