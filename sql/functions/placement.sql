-- Placement of peers on interfaces. Every change of what is wanted raises the generation of the interface in the same
-- transaction; a seat is freed and an address released only when the node has confirmed that the peer is gone.
--
-- Order of locks: nodes, interfaces by identifier, peers, placements, project. Calls that take seats on several nodes
-- lock those by identifier.

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

CREATE FUNCTION nebula.take_seats(
  p_project_id uuid, p_strategy text, p_seats integer, p_except uuid[] DEFAULT '{}'
) RETURNS TABLE (node_id uuid, seats integer)
LANGUAGE plpgsql AS $$
DECLARE
  v_local uuid;
BEGIN
  RETURN QUERY SELECT c.node_id, c.seats FROM nebula.claim_seats(p_project_id, p_strategy, p_seats, p_except) c;
  IF NOT FOUND THEN
    v_local := nebula.local_node(p_project_id);
    IF v_local = ANY (p_except) THEN
      RAISE EXCEPTION 'the peer is on this server already, and there is no other node'
        USING ERRCODE = '53000', HINT = 'Register a node first: SELECT nebula.register_node(name, endpoint).';
    END IF;
    UPDATE nebula.node n
       SET active_peers = n.active_peers + p_seats
     WHERE n.node_id = v_local;
    RETURN QUERY SELECT v_local, p_seats;
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
            FROM unnest(v_interfaces) WITH ORDINALITY AS c(id, place)
           ORDER BY (SELECT count(*) FROM nebula.placement p WHERE p.interface_id = c.id), c.place
           LIMIT 1);
END $$;
COMMENT ON FUNCTION nebula.interface_for_peers(uuid) IS
  'Internal: the interface of a node with the fewest peers; makes wg0 if it has none. The caller has locked the node';

CREATE FUNCTION nebula.raise_generation(p_interface_id uuid) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  v_raised nebula.node_interface;
BEGIN
  UPDATE nebula.node_interface i
     SET generation = i.generation + 1
   WHERE i.interface_id = p_interface_id
  RETURNING i.* INTO v_raised;
  PERFORM nebula.notify_node(v_raised.node_id);
  RETURN v_raised.generation;
END $$;
COMMENT ON FUNCTION nebula.raise_generation(uuid) IS
  'Internal: begins a generation of what is wanted on an interface, locks its row, and wakes the agent of its node';

-- Such a node runs no peers, so seats and addresses are freed without a confirmation. An agent that is tied to it later
-- begins with all that is wanted then.
CREATE FUNCTION nebula.runs_nothing(p_node nebula.node) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
  SELECT p_node.device_id IS NULL AND p_node.synced_version = 0
$$;
COMMENT ON FUNCTION nebula.runs_nothing(nebula.node) IS
  'Internal: whether no agent has ever been told what the node is to run, and none is about to be';

-- Interfaces before peers, always in the order of their identifiers, so that calls do not deadlock.
CREATE FUNCTION nebula.lock_placements(p_peer_ids uuid[])
RETURNS TABLE (interface_id uuid, generation bigint)
LANGUAGE plpgsql AS $$
DECLARE
  v_raised uuid[] := '{}';
  v_next   uuid;
BEGIN
  -- Nodes without agents: seats on them are freed in this transaction, and nodes are locked before interfaces.
  PERFORM
    FROM nebula.node n
   WHERE nebula.runs_nothing(n)
     AND n.node_id IN (SELECT i.node_id
                         FROM nebula.placement p
                         JOIN nebula.node_interface i USING (interface_id)
                        WHERE p.peer_id = ANY (p_peer_ids))
   ORDER BY n.node_id
     FOR NO KEY UPDATE;
  -- Twice: a move may have placed a peer elsewhere before its row was locked.
  FOR v_round IN 1 .. 2 LOOP
    FOR v_next IN
      SELECT DISTINCT p.interface_id
        FROM nebula.placement p
       WHERE p.peer_id = ANY (p_peer_ids)
         AND p.interface_id <> ALL (v_raised)
       ORDER BY p.interface_id
    LOOP
      v_raised := v_raised || v_next;
      RETURN QUERY SELECT v_next, nebula.raise_generation(v_next);
    END LOOP;
    PERFORM
      FROM nebula.peer e
     WHERE e.peer_id = ANY (p_peer_ids)
     ORDER BY e.peer_id
       FOR NO KEY UPDATE;
  END LOOP;
END $$;
COMMENT ON FUNCTION nebula.lock_placements(uuid[]) IS
  'Internal: locks peers and begins a generation on each interface that has one of them';

CREATE FUNCTION nebula.end_placement(p_peer_id uuid, p_interface_id uuid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_seen nebula.placement_seen;
  v_peer nebula.peer;
BEGIN
  -- Of two nodes that confirm at the same time, the later one sees that the other placement is gone.
  PERFORM
    FROM nebula.peer e
   WHERE e.peer_id = p_peer_id
     FOR UPDATE;
  SELECT s.*
    INTO v_seen
    FROM nebula.placement_seen s
   WHERE s.peer_id = p_peer_id
     AND s.interface_id = p_interface_id;
  DELETE FROM nebula.placement p
   WHERE p.peer_id = p_peer_id
     AND p.interface_id = p_interface_id;
  IF EXISTS (SELECT FROM nebula.placement p WHERE p.peer_id = p_peer_id) THEN
    UPDATE nebula.peer e
       SET received_bytes = e.received_bytes + v_seen.received_bytes + v_seen.received_total,
           sent_bytes = e.sent_bytes + v_seen.sent_bytes + v_seen.sent_total
     WHERE e.peer_id = p_peer_id
       AND v_seen.peer_id IS NOT NULL;
    RETURN;
  END IF;
  DELETE FROM nebula.peer e
   WHERE e.peer_id = p_peer_id
     AND e.removed_at IS NOT NULL
  RETURNING e.* INTO v_peer;
  IF FOUND THEN
    PERFORM nebula.release_peer_ips(p_peer_id, 'agent');
  END IF;
END $$;
COMMENT ON FUNCTION nebula.end_placement(uuid, uuid) IS
  'Internal: a node no longer has a peer: deletes the placement, and with the last one of a removed peer the '
  'peer, whose addresses are released. The caller frees the seat';

CREATE FUNCTION nebula.end_unserved(p_peer_ids uuid[]) RETURNS void
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
       AND p.wanted = 'absent'
       AND nebula.runs_nothing(n)
     ORDER BY p.peer_id
  LOOP
    PERFORM nebula.end_placement(v_gone.peer_id, v_gone.interface_id);
    PERFORM nebula.free_seats(v_gone.node_id, 1);
  END LOOP;
END $$;
COMMENT ON FUNCTION nebula.end_unserved(uuid[]) IS
  'Internal: ends placements that are wanted absent on nodes that run nothing';

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
