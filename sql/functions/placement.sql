-- Placement of peers on interfaces. Every change of what is wanted raises the generation of the interface in the same
-- transaction; a seat is freed and an address released only when the node has confirmed that the peer is gone.
--
-- Order of locks, so that no two calls wait for each other: nodes, interfaces and peers, each by identifier; agents;
-- devices; the table of allocations; rows of projects, by identifier. Rows of nebula.placement and
-- nebula.placement_seen have no order of their own: the lock of their interface covers them. Each call that changes
-- something takes all that it needs of nodes, interfaces and peers by lock_for_change, before it changes anything.
-- create_peer and create_peers insert peers, so they lock only nodes (claim_seats), then interfaces; the names and keys
-- of a batch have no order, so batches that create wait for each other (wait_for_batches). The order holds within a
-- call: a transaction of several can meet another one and end with 40P01, also where one statement calls a function
-- once a row.

CREATE FUNCTION nebula.local_node(p_project_id uuid) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
  v_node_id uuid := (SELECT n.node_id FROM nebula.node n WHERE n.project_id = p_project_id AND n.local);
BEGIN
  IF v_node_id IS NULL THEN
    INSERT INTO nebula.node (name, project_id, local, endpoint, max_peers)
    VALUES ('local-' || p_project_id, p_project_id, true, '', 1000000)
    ON CONFLICT DO NOTHING;
    v_node_id := (SELECT n.node_id FROM nebula.node n WHERE n.project_id = p_project_id AND n.local);
  END IF;
  RETURN v_node_id;
END $$;
COMMENT ON FUNCTION nebula.local_node(uuid) IS
  'Internal: the node of a project that is this server itself, made when there is none yet';

CREATE FUNCTION nebula.open_local_node(p_project_id uuid, p_except uuid[]) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
  v_node_id CONSTANT uuid := nebula.local_node(p_project_id);
BEGIN
  IF v_node_id = ANY (p_except) THEN
    RAISE EXCEPTION 'the peer is on this server already'
      USING ERRCODE = '53000',
        HINT = 'Choose a node, or register one first: SELECT nebula.register_node(name, endpoint).';
  ELSIF NOT EXISTS (SELECT FROM nebula.node n WHERE n.node_id = v_node_id AND n.enabled) THEN
    RAISE EXCEPTION 'this server takes no new peers of the project: its node is draining or disabled'
      USING ERRCODE = '53000',
        HINT = format('Choose another node, or enable it: SELECT nebula.set_node_state(%L, ''active'').', v_node_id);
  END IF;
  RETURN v_node_id;
END $$;
COMMENT ON FUNCTION nebula.open_local_node(uuid, uuid[]) IS
  'Internal: local_node, if it takes peers and is not one of these. Errors: 53000 it is, or an administrator has it '
  'take none';

CREATE FUNCTION nebula.take_local_seats(p_project_id uuid, p_seats integer, p_except uuid[] DEFAULT '{}') RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
  v_local CONSTANT uuid := nebula.open_local_node(p_project_id, p_except);
BEGIN
  UPDATE nebula.node n
     SET active_peers = n.active_peers + p_seats
   WHERE n.node_id = v_local;
  RETURN v_local;
END $$;
COMMENT ON FUNCTION nebula.take_local_seats(uuid, integer, uuid[]) IS
  'Internal: seats on this server, whose node it answers. Errors: as open_local_node';

CREATE FUNCTION nebula.take_seats(
  p_project_id uuid, p_strategy text, p_seats integer, p_except uuid[] DEFAULT '{}'
) RETURNS TABLE (node_id uuid, seats integer)
LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY SELECT c.node_id, c.seats FROM nebula.claim_seats(p_project_id, p_strategy, p_seats, p_except) c;
  IF NOT FOUND THEN
    RETURN QUERY SELECT nebula.take_local_seats(p_project_id, p_seats, p_except), p_seats;
  END IF;
END $$;
COMMENT ON FUNCTION nebula.take_seats(uuid, text, integer, uuid[]) IS
  'Internal: seats on the nodes that the strategy chooses, or on this server. Errors: as select_node';

CREATE FUNCTION nebula.free_seats(p_node_id uuid, p_seats bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE nebula.node n
     SET active_peers = greatest(n.active_peers - p_seats, 0)
   WHERE n.node_id = p_node_id;
END $$;
COMMENT ON FUNCTION nebula.free_seats(uuid, bigint) IS 'Internal: gives seats back';

CREATE FUNCTION nebula.interface_for_peers(p_node_id uuid) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
  v_interfaces uuid[] := ARRAY(SELECT i.interface_id
                                 FROM nebula.node_interface i
                                WHERE i.node_id = p_node_id
                                ORDER BY i.name);
BEGIN
  IF v_interfaces = '{}' THEN
    INSERT INTO nebula.node_interface AS i (node_id) VALUES (p_node_id)
    RETURNING array_append(v_interfaces, i.interface_id) INTO v_interfaces;
  END IF;
  IF cardinality(v_interfaces) = 1 THEN
    RETURN v_interfaces[1];
  END IF;
  RETURN (SELECT c.id
            FROM unnest(v_interfaces) WITH ORDINALITY AS c(id, ordinal)
           ORDER BY (SELECT count(*) FROM nebula.placement p WHERE p.interface_id = c.id), c.ordinal
           LIMIT 1);
END $$;
COMMENT ON FUNCTION nebula.interface_for_peers(uuid) IS
  'Internal: the interface of a node with the fewest peers; makes wg0 if it has none. The caller has locked the node';

-- Function in Rust.
COMMENT ON FUNCTION nebula.raise_generation(uuid) IS
  'Internal: begins a generation of what is wanted on an interface, locks its row, and wakes the agent of its node';

-- No agent has applied anything on such a node, so nobody has to confirm that a peer is gone: its seat and addresses
-- are freed at once. An agent that is tied to the node later begins with all that is wanted then.
CREATE FUNCTION nebula.has_no_agent(p_node nebula.node) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
  SELECT p_node.device_id IS NULL AND p_node.synced_version = 0
$$;
COMMENT ON FUNCTION nebula.has_no_agent(nebula.node) IS
  'Internal: whether no device represents the node and no agent has ever been told what it is to run';

CREATE FUNCTION nebula.missing_agent(p_node nebula.node) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE
           WHEN p_node.local AND (p_node.device_id IS NULL OR p_node.device_gone IS NOT NULL)
           THEN 'waiting for an agent on this machine: nebulactl node local-device'
           WHEN p_node.device_gone IS NOT NULL
           THEN format('the device of node "%s" was %s: nebulactl node tie', p_node.name, p_node.device_gone)
           WHEN p_node.device_id IS NULL
           THEN format('no device represents node "%s": nebulactl node tie', p_node.name)
         END
$$;
COMMENT ON FUNCTION nebula.missing_agent(nebula.node) IS
  'Internal: why nobody applies what is wanted on a node, and what helps; null: the agent of a device does';

CREATE FUNCTION nebula.peers_of_nodes(p_node_ids uuid[], p_peers text) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE AS $$
BEGIN
  -- Two branches, because an index has only the placements that do not serve.
  RETURN QUERY
    SELECT p.peer_id
      FROM nebula.node_interface i
      JOIN nebula.placement p USING (interface_id)
     WHERE p_peers IN ('moving', 'all')
       AND i.node_id = ANY (p_node_ids)
       AND p.role <> 'serving'
     UNION
    SELECT p.peer_id
      FROM nebula.node_interface i
      JOIN nebula.placement p USING (interface_id)
     WHERE p_peers = 'all'
       AND i.node_id = ANY (p_node_ids)
       AND p.role = 'serving';
END $$;
COMMENT ON FUNCTION nebula.peers_of_nodes(uuid[], text) IS
  'Internal: peers on nodes: all, moving (those that arrive or leave), or none';

CREATE FUNCTION nebula.try_lock_for_change(p_peer_ids uuid[], p_node_ids uuid[], p_peers text) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
  v_peers      CONSTANT uuid[] := ARRAY(SELECT unnest(p_peer_ids)
                                         UNION
                                        SELECT o FROM nebula.peers_of_nodes(p_node_ids, p_peers) o);
  v_interfaces CONSTANT uuid[] := ARRAY(SELECT p.interface_id
                                          FROM nebula.placement p
                                         WHERE p.peer_id = ANY (v_peers)
                                         UNION
                                        SELECT i.interface_id
                                          FROM nebula.node_interface i
                                         WHERE i.node_id = ANY (p_node_ids));
BEGIN
  PERFORM
    FROM nebula.node n
   WHERE n.node_id = ANY (p_node_ids || ARRAY(SELECT i.node_id
                                                FROM nebula.node_interface i
                                               WHERE i.interface_id = ANY (v_interfaces)))
   ORDER BY n.node_id
     FOR NO KEY UPDATE;
  PERFORM
    FROM nebula.node_interface i
   WHERE i.interface_id = ANY (v_interfaces)
   ORDER BY i.interface_id
     FOR NO KEY UPDATE;
  PERFORM
    FROM nebula.peer e
   WHERE e.peer_id = ANY (v_peers)
   ORDER BY e.peer_id
     FOR UPDATE;
  -- A call that committed while this one waited may have placed one of the peers elsewhere, or brought another.
  RETURN NOT EXISTS (SELECT
                       FROM nebula.placement p
                      WHERE p.peer_id = ANY (v_peers)
                        AND p.interface_id <> ALL (v_interfaces))
         AND NOT EXISTS (SELECT FROM nebula.peers_of_nodes(p_node_ids, p_peers) o WHERE o <> ALL (v_peers));
END $$;
COMMENT ON FUNCTION nebula.try_lock_for_change(uuid[], uuid[], text) IS
  'Internal: locks as lock_for_change; false: the peers were moved meanwhile, so the caller has to roll back to where '
  'it began';

CREATE FUNCTION nebula.lock_for_change(
  p_peer_ids uuid[], p_node_ids uuid[] DEFAULT '{}', p_peers text DEFAULT 'none'
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  LOOP
    BEGIN
      IF nebula.try_lock_for_change(p_peer_ids, p_node_ids, p_peers) THEN
        RETURN;
      END IF;
      -- Gives up the locks of this block: what is missing may come before them in the order.
      RAISE EXCEPTION 'the peers were moved at the same time'
        USING ERRCODE = 'NB001', HINT = 'Begin again.';
    EXCEPTION
      WHEN SQLSTATE 'NB001' THEN
        NULL;
    END;
  END LOOP;
END $$;
COMMENT ON FUNCTION nebula.lock_for_change(uuid[], uuid[], text) IS
  'Internal: locks peers, the nodes and interfaces on which they are placed, and further nodes with all their '
  'interfaces and those of their peers that p_peers names (peers_of_nodes). Called before anything else is locked, '
  'because it does so in the order that all calls keep';

CREATE FUNCTION nebula.begin_generations(p_peer_ids uuid[]) RETURNS TABLE (interface_id uuid, generation bigint)
LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY
    SELECT w.id, nebula.raise_generation(w.id)
      FROM (SELECT DISTINCT p.interface_id AS id
              FROM nebula.placement p
             WHERE p.peer_id = ANY (p_peer_ids)
               AND p.wanted <> 'absent') w;
END $$;
COMMENT ON FUNCTION nebula.begin_generations(uuid[]) IS
  'Internal: begins a generation on each interface that is to have one of the peers. The caller has locked them';

CREATE FUNCTION nebula.delete_placement(p_peer_id uuid, p_interface_id uuid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_seen nebula.placement_seen;
BEGIN
  SELECT s.*
    INTO v_seen
    FROM nebula.placement_seen s
   WHERE s.peer_id = p_peer_id
     AND s.interface_id = p_interface_id;
  DELETE FROM nebula.placement p
   WHERE p.peer_id = p_peer_id
     AND p.interface_id = p_interface_id;
  IF v_seen.peer_id IS NOT NULL THEN
    UPDATE nebula.peer e
       SET received_bytes = nebula.add_bytes(e.received_bytes, v_seen.received_bytes, v_seen.received_total),
           sent_bytes = nebula.add_bytes(e.sent_bytes, v_seen.sent_bytes, v_seen.sent_total)
     WHERE e.peer_id = p_peer_id;
  END IF;
  PERFORM nebula.delete_unplaced_peers(ARRAY[p_peer_id]);
END $$;
COMMENT ON FUNCTION nebula.delete_placement(uuid, uuid) IS
  'Internal: a node no longer has a peer: deletes the placement, and with the last one of a removed peer the '
  'peer, whose addresses are released. The caller has locked the peer, so that of two nodes that confirm at the same '
  'time the later one sees that the other placement is gone; it also frees the seat';

CREATE FUNCTION nebula.delete_unplaced_peers(p_peer_ids uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_next uuid;
BEGIN
  FOR v_next IN
    DELETE FROM nebula.peer e
     WHERE e.peer_id = ANY (p_peer_ids)
       AND e.removed_at IS NOT NULL
       AND NOT EXISTS (SELECT FROM nebula.placement p WHERE p.peer_id = e.peer_id)
    RETURNING e.peer_id
  LOOP
    PERFORM nebula.release_peer_ips(v_next, 'agent');
  END LOOP;
END $$;
COMMENT ON FUNCTION nebula.delete_unplaced_peers(uuid[]) IS
  'Internal: deletes peers that are removed and that no node has any more, and releases their addresses';

CREATE FUNCTION nebula.delete_unserved_placements(p_peer_ids uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_gone record;
BEGIN
  FOR v_gone IN
    SELECT p.peer_id, p.interface_id, n.node_id
      FROM nebula.placement p
      JOIN nebula.node_interface i USING (interface_id)
      JOIN nebula.node n USING (node_id)
     WHERE p.peer_id = ANY (p_peer_ids)
       AND p.role = 'leaving'
       AND nebula.has_no_agent(n)
     ORDER BY p.peer_id
  LOOP
    PERFORM nebula.delete_placement(v_gone.peer_id, v_gone.interface_id);
    PERFORM nebula.free_seats(v_gone.node_id, 1);
  END LOOP;
END $$;
COMMENT ON FUNCTION nebula.delete_unserved_placements(uuid[]) IS
  'Internal: deletes the placements of peers that are to leave nodes without an agent, which nobody would confirm, and '
  'frees their seats. The caller has locked the peers';

CREATE FUNCTION nebula.wanted_state(p_peer nebula.peer) RETURNS text
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN CASE
           WHEN p_peer.disabled_at IS NOT NULL OR p_peer.expires_at <= clock_timestamp() THEN 'blocked'
           ELSE 'present'
         END;
END $$;
COMMENT ON FUNCTION nebula.wanted_state(nebula.peer) IS
  'Internal: whether the interface of a peer is to have it: present, or blocked if it is disabled or has expired';

CREATE FUNCTION nebula.node_epoch() RETURNS uuid
LANGUAGE plpgsql STABLE AS $$
BEGIN
  -- Another one after a restore from a dump, on another server, and after a failover or a point-in-time recovery, which
  -- begin another timeline: each of them can lose generations that agents have applied.
  RETURN (SELECT substring(encode(sha256(convert_to(concat_ws(' ', s.system_identifier, d.oid,
                                                              left(pg_walfile_name(pg_current_wal_lsn()), 8),
                                                              (SELECT extract(epoch FROM max(r.at))
                                                                 FROM nebula.restored r)),
                                                    'UTF8')), 'hex') FOR 32)::uuid
            FROM pg_control_system() s, pg_database d
           WHERE d.datname = current_database());
END $$;
COMMENT ON FUNCTION nebula.node_epoch() IS
  'Internal: identifies the history of this database, within which generations only grow';
