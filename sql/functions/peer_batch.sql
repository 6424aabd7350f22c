-- Peers in batches: one transaction, one generation for each interface, one result for each item.

CREATE TYPE nebula.batch_result AS (
  n             integer,
  peer_id       uuid,
  interface_id  uuid,
  ip            inet,
  sqlstate      text,
  detail        text,
  hint          text,
  made          boolean
);
COMMENT ON TYPE nebula.batch_result IS 'Result of one item of a batch of peers';
COMMENT ON COLUMN nebula.batch_result.n IS 'Place of the item, from 0';
COMMENT ON COLUMN nebula.batch_result.peer_id IS 'The peer';
COMMENT ON COLUMN nebula.batch_result.interface_id IS 'Interface it is placed on';
COMMENT ON COLUMN nebula.batch_result.ip IS 'Its address';
COMMENT ON COLUMN nebula.batch_result.sqlstate IS 'Why the item failed; null: it did not';
COMMENT ON COLUMN nebula.batch_result.detail IS 'The same in words';
COMMENT ON COLUMN nebula.batch_result.hint IS 'What to do about it';
COMMENT ON COLUMN nebula.batch_result.made IS
  'Whether this call created the peer; false: an earlier one did; null: nothing was to be created';

CREATE FUNCTION nebula.check_batch(p_items bigint) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF p_items > 1000 THEN
    RAISE EXCEPTION '% peers are too many for one call', p_items
      USING ERRCODE = '22023', HINT = 'Give at most 1000 at a time.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_batch(bigint) IS 'Internal: limits a batch. Errors: 22023 more than 1000 items';

-- One batch that creates peers of a project at a time: two with the same names or addresses in another order would wait
-- for each other.
CREATE FUNCTION nebula.wait_for_batches(p_project_id uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM nebula.wait_for_lock('peer batch', hashtext(p_project_id::text));
END $$;
COMMENT ON FUNCTION nebula.wait_for_batches(uuid) IS
  'Internal: waits until no other batch creates peers of this project; until the transaction ends, none begins';

-- Fixed plans (sql/README.md), also of the functions that this one calls.
CREATE FUNCTION nebula.create_peers_by(
  p_project_id uuid, p_items jsonb[], p_strategy text, p_deadline timestamptz, p_by text, p_client inet,
  p_actor uuid DEFAULT NULL
) RETURNS SETOF nebula.batch_result
LANGUAGE plpgsql
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan SET jit = off AS $$
DECLARE
  v_count      CONSTANT integer := coalesce(cardinality(p_items), 0);
  v_result     nebula.batch_result;
  v_peer       nebula.peer;
  v_known      nebula.peer;
  v_seats      record;
  v_places     uuid[] := '{}';
  v_raised     jsonb := '{}';
  v_next       integer := 1;
BEGIN
  PERFORM nebula.require_project(p_project_id);
  PERFORM nebula.check_batch(v_count);
  IF v_count = 0 THEN
    RETURN;
  END IF;
  PERFORM nebula.wait_for_batches(p_project_id);
  -- One seat for each item, on the node with the lowest score at that moment; what is not used is given back below.
  FOR v_seats IN
    SELECT s.node_id, s.seats, nebula.interface_for_peers(s.node_id) AS interface_id
      FROM nebula.take_seats(p_project_id, p_strategy, v_count) s
  LOOP
    v_places := v_places || array_fill(v_seats.interface_id, ARRAY[v_seats.seats]);
  END LOOP;
  FOR v_seats IN SELECT DISTINCT i AS interface_id FROM unnest(v_places) i ORDER BY i LOOP
    v_raised := v_raised || jsonb_build_object(v_seats.interface_id::text,
                                               nebula.raise_generation(v_seats.interface_id));
  END LOOP;
  FOR v_item IN 1 .. v_count LOOP
    v_result := ROW(v_item - 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL)::nebula.batch_result;
    BEGIN
      v_peer := nebula.read_peer(p_project_id, p_items[v_item], p_by, p_actor);
      v_known := nebula.known_peer(v_peer);
      v_result.made := v_known.peer_id IS NULL;
      IF v_known.peer_id IS NOT NULL THEN
        v_result.peer_id := v_known.peer_id;
        v_result.interface_id := (SELECT p.interface_id
                                    FROM nebula.placement p
                                   WHERE p.peer_id = v_known.peer_id
                                     AND p.role = 'serving');
        v_result.ip := (nebula.peer_addresses(v_known.peer_id))[1];
      ELSIF v_next > cardinality(v_places) THEN
        RAISE EXCEPTION 'no node has room for more than % of these peers', cardinality(v_places)
          USING ERRCODE = '53000',
            HINT = 'See SELECT * FROM nebula.node_scores(); raise max_peers or register another node.';
      ELSE
        v_result.ip := nebula.place_peer(v_peer, v_places[v_next], (v_raised ->> v_places[v_next]::text)::bigint,
                                         nebula.read_inet('address', p_items[v_item] ->> 'address'),
                                         p_deadline, p_client);
        v_result.peer_id := v_peer.peer_id;
        v_result.interface_id := v_places[v_next];
        v_next := v_next + 1;
      END IF;
    EXCEPTION
      WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS
          v_result.sqlstate = RETURNED_SQLSTATE, v_result.detail = MESSAGE_TEXT, v_result.hint = PG_EXCEPTION_HINT;
        -- The transaction could not go on: the whole call is repeated or given up.
        IF v_result.sqlstate ~ '^(40|57|58|XX)' THEN
          RAISE;
        END IF;
        v_result.peer_id := NULL;
        v_result.interface_id := NULL;
        v_result.ip := NULL;
        v_result.made := NULL;
    END;
    RETURN NEXT v_result;
  END LOOP;
  PERFORM nebula.free_seats(i.node_id, u.seats)
     FROM (SELECT w AS interface_id, count(*) AS seats
             FROM unnest(v_places[v_next:]) w
            GROUP BY w
            ORDER BY w) u
     JOIN nebula.node_interface i USING (interface_id);
END $$;
COMMENT ON FUNCTION nebula.create_peers_by(uuid, jsonb[], text, timestamptz, text, inet, uuid) IS
  'Internal: creates peers, for the account if one is given, with a result for each. Errors of the whole call: as '
  'select_node';

CREATE FUNCTION nebula.create_peers(project_id uuid, peers jsonb[], strategy text DEFAULT 'auto')
RETURNS TABLE (n integer, peer_id uuid, node_id uuid, ip inet, error text)
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT r.n, r.peer_id, nebula.shown_node(r.interface_id), r.ip, r.detail
    FROM nebula.create_peers_by(create_peers.project_id, create_peers.peers, coalesce(create_peers.strategy, 'auto'),
                                NULL, session_user::text, inet_client_addr()) r
$$;
COMMENT ON FUNCTION nebula.create_peers(uuid, jsonb[], text) IS
  'create_peer for up to 1000 peers in one transaction, with a result for each: n from 0, error null or why there is '
  'none. Each is an object of publicKey and, if wanted, peerId, name, preshared, address, reach, networks, groups, '
  'expiresAt, disabled. Errors of the whole call: P0002 no such project, 22023 strategy, 53000 no node has room';

CREATE FUNCTION nebula.nodes_of_projects(p_project_ids uuid[], p_strategy text) RETURNS uuid[]
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM nebula.local_node(j)
     FROM unnest(p_project_ids) j
    WHERE p_strategy = 'local'
       OR NOT EXISTS (SELECT FROM nebula.node n WHERE NOT n.local AND coalesce(n.project_id, j) = j);
  RETURN ARRAY(SELECT n.node_id
                 FROM nebula.node n
                WHERE n.project_id IS NULL
                   OR n.project_id = ANY (p_project_ids));
END $$;
COMMENT ON FUNCTION nebula.nodes_of_projects(uuid[], text) IS
  'Internal: all nodes that the strategy may choose for peers of the projects';

CREATE FUNCTION nebula.take_seat_among(p_peer nebula.peer, p_strategy text, p_node_ids uuid[]) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
  v_except  uuid[] := nebula.nodes_of_peer(p_peer.peer_id);
  v_node_id uuid;
BEGIN
  LOOP
    v_node_id := nebula.chosen_node(p_peer.project_id, p_strategy, v_except);
    IF v_node_id = ANY (p_node_ids) AND nebula.take_seat(v_node_id, p_peer.project_id) THEN
      RETURN v_node_id;
    END IF;
    -- A node that was registered after the others were locked: a lock of it would come too late in the order.
    v_except := v_except || v_node_id;
  END LOOP;
END $$;
COMMENT ON FUNCTION nebula.take_seat_among(nebula.peer, text, uuid[]) IS
  'Internal: takes a seat for a peer on one of these nodes, which the caller has locked. Errors: as select_node';

CREATE FUNCTION nebula.move_peers_by(
  p_peer_ids uuid[], p_strategy text, p_deadline timestamptz, p_by text, p_client inet, p_actor uuid DEFAULT NULL,
  p_node_ids uuid[] DEFAULT NULL
) RETURNS SETOF nebula.batch_result
LANGUAGE plpgsql AS $$
DECLARE
  v_results     nebula.batch_result[] := '{}';
  v_result      nebula.batch_result;
  v_peer        nebula.peer;
  v_item        record;
  v_by          text;
  v_locked      uuid[];
  v_project_ids uuid[];
  v_node_ids    uuid[];
BEGIN
  PERFORM nebula.check_batch(cardinality(p_peer_ids));
  SELECT coalesce(array_agg(e.peer_id), '{}'), coalesce(array_agg(DISTINCT e.project_id), '{}')
    INTO v_locked, v_project_ids
    FROM nebula.peer e
   WHERE e.peer_id = ANY (p_peer_ids)
     AND (p_actor IS NULL OR e.project_id IN (SELECT nebula.visible_projects(p_actor)));
  v_node_ids := coalesce(p_node_ids, nebula.nodes_of_projects(v_project_ids, p_strategy));
  PERFORM nebula.lock_for_change(v_locked, v_node_ids);
  -- By project, because new pools lock the rows of projects.
  FOR v_item IN
    SELECT w.ordinal, w.id, e.project_id
      FROM unnest(p_peer_ids) WITH ORDINALITY AS w(id, ordinal)
      LEFT JOIN nebula.peer e ON e.peer_id = w.id AND e.peer_id = ANY (v_locked)
     ORDER BY e.project_id, w.ordinal
  LOOP
    v_result := ROW(v_item.ordinal - 1, v_item.id, NULL, NULL, NULL, NULL, NULL, NULL)::nebula.batch_result;
    BEGIN
      v_by := coalesce(nebula.acting_on_peer(p_actor, v_item.id), p_by);
      v_peer := nebula.require_peer(v_item.id);
      IF v_item.project_id IS NULL THEN
        RAISE EXCEPTION 'peer "%" was created during the call', v_peer.name
          USING ERRCODE = '55000', HINT = 'Repeat the call.';
      END IF;
      PERFORM nebula.check_movable(v_peer);
      v_result.interface_id := nebula.place_target(v_peer, nebula.take_seat_among(v_peer, p_strategy, v_node_ids),
                                                   p_deadline, v_by, p_client);
      v_result.ip := (nebula.peer_addresses(v_item.id))[1];
    EXCEPTION
      WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS
          v_result.sqlstate = RETURNED_SQLSTATE, v_result.detail = MESSAGE_TEXT, v_result.hint = PG_EXCEPTION_HINT;
        IF v_result.sqlstate ~ '^(40|57|58|XX)' THEN
          RAISE;
        END IF;
    END;
    v_results := v_results || v_result;
  END LOOP;
  RETURN QUERY SELECT r.* FROM unnest(v_results) r ORDER BY r.n;
END $$;
COMMENT ON FUNCTION nebula.move_peers_by(uuid[], text, timestamptz, text, inet, uuid, uuid[]) IS
  'Internal: moves peers, for the account if one is given, with a result for each. nodes: those that are chosen from, '
  'which the caller has locked; null: all of the projects';

CREATE FUNCTION nebula.move_peers(peer_ids uuid[], strategy text DEFAULT 'auto')
RETURNS TABLE (n integer, peer_id uuid, node_id uuid, ip inet, error text)
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT r.n, r.peer_id, nebula.shown_node(r.interface_id), r.ip, r.detail
    FROM nebula.move_peers_by(move_peers.peer_ids, coalesce(move_peers.strategy, 'auto'), NULL, session_user::text,
                            inet_client_addr()) r
$$;
COMMENT ON FUNCTION nebula.move_peers(uuid[], text) IS
  'move_peer for up to 1000 peers in one transaction, with a result for each: n from 0, error null or why it stays. '
  'Errors of the whole call: 22023 too many';

CREATE FUNCTION nebula.lock_to_drain(p_node_id uuid, p_strategy text, OUT peer_ids uuid[], OUT node_ids uuid[])
LANGUAGE plpgsql AS $$
DECLARE
  v_known nebula.node;
BEGIN
  LOOP
    v_known := nebula.require_node(p_node_id);
    node_ids := nebula.nodes_of_projects(ARRAY(SELECT v_known.project_id
                                                WHERE v_known.project_id IS NOT NULL
                                                UNION
                                               SELECT e.project_id
                                                 FROM nebula.node_interface i
                                                 JOIN nebula.placement p USING (interface_id)
                                                 JOIN nebula.peer e ON e.peer_id = p.peer_id
                                                WHERE i.node_id = v_known.node_id), p_strategy);
    BEGIN
      IF nebula.try_lock_for_change('{}', node_ids, 'none') THEN
        peer_ids := ARRAY(SELECT p.peer_id
                            FROM nebula.node_interface i
                            JOIN nebula.placement p USING (interface_id)
                           WHERE i.node_id = v_known.node_id
                             AND p.role = 'serving'
                             AND NOT EXISTS (SELECT
                                               FROM nebula.placement t
                                              WHERE t.peer_id = p.peer_id
                                                AND t.role = 'target')
                           ORDER BY p.peer_id
                           LIMIT 1000);
        IF NOT EXISTS (SELECT
                         FROM nebula.placement p
                         JOIN nebula.node_interface i USING (interface_id)
                        WHERE p.peer_id = ANY (peer_ids)
                          AND i.node_id <> ALL (node_ids))
        THEN
          RETURN;
        END IF;
      END IF;
      RAISE EXCEPTION 'the peers of node "%" have changed meanwhile', v_known.name
        USING ERRCODE = 'NB001', HINT = 'Begin again.';
    EXCEPTION
      WHEN SQLSTATE 'NB001' THEN
        NULL;
    END;
  END LOOP;
END $$;
COMMENT ON FUNCTION nebula.lock_to_drain(uuid, text) IS
  'Internal: locks a node and all that its peers may move to, before the node alone is locked; answers the peers, at '
  'most 1000, and the nodes. Errors: P0002 no such node';

CREATE FUNCTION nebula.drain_node(node_id uuid, strategy text DEFAULT 'auto')
RETURNS TABLE (n integer, peer_id uuid, moving_to uuid, ip inet, error text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_known    nebula.node := nebula.require_node(node_id);
  v_strategy CONSTANT text := coalesce(strategy, 'auto');
  v_locked   record;
BEGIN
  v_locked := nebula.lock_to_drain(v_known.node_id, v_strategy);
  PERFORM nebula.set_node_state(v_known.node_id, 'draining');
  RETURN QUERY
    SELECT r.n, r.peer_id, nebula.shown_node(r.interface_id), r.ip, r.detail
      FROM nebula.move_peers_by(v_locked.peer_ids, v_strategy, NULL, session_user::text, inet_client_addr(), NULL,
                                v_locked.node_ids) r;
END $$;
COMMENT ON FUNCTION nebula.drain_node(uuid, text) IS
  'Sets a node to draining and moves its peers to others, up to 1000 in a call, with a result for each. Errors: '
  'P0002 no such node';

CREATE FUNCTION nebula.remove_peers(peer_ids uuid[], removed_by text DEFAULT NULL)
RETURNS TABLE (n integer, peer_id uuid, error text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_peer_ids CONSTANT uuid[] := peer_ids;
  v_by       CONSTANT text := coalesce(removed_by, session_user::text);
BEGIN
  PERFORM nebula.check_batch(cardinality(v_peer_ids));
  PERFORM nebula.lock_for_change(v_peer_ids);
  RETURN QUERY
    SELECT (w.ordinal - 1)::integer, w.id,
           CASE
             WHEN e.peer_id IS NULL THEN format('there is no peer %s', coalesce(w.id::text, 'null'))
             WHEN e.removed_at IS NOT NULL THEN format('peer "%s" is being removed', e.name)
           END
      FROM unnest(v_peer_ids) WITH ORDINALITY AS w(id, ordinal)
      LEFT JOIN nebula.peer e ON e.peer_id = w.id
     ORDER BY w.ordinal;
  PERFORM nebula.mark_removed(v_peer_ids, v_by, inet_client_addr(), '{}');
END $$;
COMMENT ON FUNCTION nebula.remove_peers(uuid[], text) IS
  'remove_peer for up to 1000 peers in one transaction, with a result for each: n from 0, error null or why nothing '
  'was done. Errors of the whole call: 22023 too many';
