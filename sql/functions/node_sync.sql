-- The agent of a node reports what its interfaces run, and is told what they are to run.

CREATE FUNCTION nebula.node_of_device(p_device_id uuid) RETURNS nebula.node
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_node nebula.node;
BEGIN
  SELECT n.*
    INTO v_node
    FROM nebula.node n
    JOIN nebula.device d USING (device_id)
   WHERE n.device_id = p_device_id
     AND d.revoked_at IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'device % represents no node', p_device_id
      USING ERRCODE = 'P0002', HINT = 'Tie it to one: nebulactl node tie.';
  END IF;
  RETURN v_node;
END $$;
COMMENT ON FUNCTION nebula.node_of_device(uuid) IS
  'Internal: the node that a device represents. Errors: P0002 it represents none';

-- Rows that are confirmed as gone are deleted, which is the only way that frees their seats.
CREATE FUNCTION nebula.acknowledge(p_interface nebula.node_interface, p_generation bigint, p_failed jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_gone  uuid[];
  v_next  uuid;
BEGIN
  UPDATE nebula.placement p
     SET refused_at = now(),
         refused_reason = f.reason
    FROM (SELECT DISTINCT ON (k.peer) k.peer, k.reason
            FROM (SELECT (e ->> 'peerId')::uuid AS peer, e ->> 'reason' AS reason
                    FROM jsonb_array_elements(p_failed) e) k
           ORDER BY k.peer) f
   WHERE p.interface_id = p_interface.interface_id
     AND p.peer_id = f.peer
     AND p.generation <= p_generation
     AND p.applied_generation < p.generation;
  UPDATE nebula.placement p
     SET applied_generation = p.generation,
         deadline = NULL,
         refused_at = NULL,
         refused_reason = NULL
   WHERE p.interface_id = p_interface.interface_id
     AND p.generation <= p_generation
     AND p.applied_generation < p.generation
     AND NOT EXISTS (SELECT
                       FROM jsonb_array_elements(p_failed) e
                      WHERE (e ->> 'peerId')::uuid = p.peer_id);
  v_gone := ARRAY(SELECT p.peer_id
                    FROM nebula.placement p
                   WHERE p.interface_id = p_interface.interface_id
                     AND p.role <> 'serving'
                     AND p.wanted = 'absent'
                     AND p.applied_generation >= p.generation
                   ORDER BY p.peer_id);
  FOREACH v_next IN ARRAY v_gone LOOP
    PERFORM nebula.delete_placement(v_next, p_interface.interface_id);
  END LOOP;
  PERFORM nebula.free_seats(p_interface.node_id, cardinality(v_gone)) WHERE v_gone <> '{}';
END $$;
COMMENT ON FUNCTION nebula.acknowledge(nebula.node_interface, bigint, jsonb) IS
  'Internal: an interface runs this generation, but for the peers that failed';

CREATE FUNCTION nebula.note_seen(p_interface_id uuid, p_counters uuid, p_seen jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO nebula.placement_seen AS s (peer_id, interface_id, handshake_at, endpoint, counters, received_bytes,
                                          sent_bytes)
  SELECT p.peer_id, p.interface_id, w.handshake_at, w.endpoint, p_counters, w.received, w.sent
    FROM (SELECT DISTINCT ON (k.peer) k.*
            FROM (SELECT (e ->> 'peerId')::uuid AS peer, (e ->> 'handshakeAt')::timestamptz AS handshake_at,
                         e ->> 'endpoint' AS endpoint, (e ->> 'receivedBytes')::bigint AS received,
                         (e ->> 'sentBytes')::bigint AS sent
                    FROM jsonb_array_elements(p_seen) e) k
           ORDER BY k.peer) w
    JOIN nebula.placement p ON p.peer_id = w.peer AND p.interface_id = p_interface_id
   ORDER BY p.peer_id
  ON CONFLICT ON CONSTRAINT placement_seen_pkey DO UPDATE
     SET handshake_at = coalesce(greatest(s.handshake_at, EXCLUDED.handshake_at), s.handshake_at),
         endpoint = coalesce(EXCLUDED.endpoint, s.endpoint),
         counters = EXCLUDED.counters,
         -- Counters that began again, of the interface or of the peer alone: what was counted before is kept.
         received_total = nebula.add_bytes(
                            s.received_total,
                            CASE
                              WHEN EXCLUDED.counters IS DISTINCT FROM s.counters
                                OR EXCLUDED.received_bytes < s.received_bytes
                              THEN s.received_bytes
                            END),
         sent_total = nebula.add_bytes(
                        s.sent_total,
                        CASE
                          WHEN EXCLUDED.counters IS DISTINCT FROM s.counters OR EXCLUDED.sent_bytes < s.sent_bytes
                          THEN s.sent_bytes
                        END),
         received_bytes = EXCLUDED.received_bytes,
         sent_bytes = EXCLUDED.sent_bytes,
         seen_at = now();
END $$;
COMMENT ON FUNCTION nebula.note_seen(uuid, uuid, jsonb) IS
  'Internal: keeps handshakes, addresses and traffic of peers';

-- The first handshake on the new node of a move: from then on the peer is served there, and routes lead there.
CREATE FUNCTION nebula.finish_moves(p_interface_id uuid) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
  v_arrived uuid[] := ARRAY(SELECT p.peer_id
                              FROM nebula.placement p
                              JOIN nebula.placement_seen s USING (peer_id, interface_id)
                             WHERE p.interface_id = p_interface_id
                               AND p.role <> 'serving'
                               AND p.role = 'target'
                               AND p.applied_generation >= p.generation
                               AND s.handshake_at IS NOT NULL
                             ORDER BY p.peer_id);
BEGIN
  IF v_arrived = '{}' THEN
    RETURN false;
  END IF;
  PERFORM nebula.record_event(e.project_id, 'agent', 'moved', 'peer', e.peer_id::text, NULL,
                              jsonb_build_object('name', e.name, 'from', p.interface_id, 'to', p_interface_id))
     FROM nebula.peer e
     LEFT JOIN nebula.placement p ON p.peer_id = e.peer_id AND p.role = 'serving'
    WHERE e.peer_id = ANY (v_arrived);
  PERFORM nebula.swap_roles(v_arrived);
  RETURN true;
END $$;
COMMENT ON FUNCTION nebula.finish_moves(uuid) IS
  'Internal: peers that move to this interface and have been seen there are served there, and leave their former one; '
  'whether there are any. The caller has locked them';

CREATE FUNCTION nebula.note_drift(p_interface_id uuid, p_drift jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM nebula.drift s
   WHERE s.interface_id = p_interface_id
     AND NOT EXISTS (SELECT
                       FROM jsonb_array_elements(p_drift) e
                      WHERE e ->> 'publicKey' = s.public_key
                        AND e ->> 'kind' = s.kind);
  INSERT INTO nebula.drift (interface_id, public_key, kind, allowed_ips)
  SELECT DISTINCT ON (e ->> 'publicKey', e ->> 'kind') p_interface_id, e ->> 'publicKey', e ->> 'kind',
         ARRAY(SELECT jsonb_array_elements_text(e -> 'allowedIps'))
    FROM jsonb_array_elements(p_drift) e
  ON CONFLICT ON CONSTRAINT drift_pkey DO NOTHING;
END $$;
COMMENT ON FUNCTION nebula.note_drift(uuid, jsonb) IS
  'Internal: keeps the differences that an interface has now';

CREATE FUNCTION nebula.accept_report(p_device_id uuid, p_said_at timestamptz, p_report jsonb) RETURNS nebula.node
LANGUAGE plpgsql AS $$
DECLARE
  v_node nebula.node;
BEGIN
  UPDATE nebula.node n
     SET synced_at = p_said_at,
         seen_at = now(),
         obstacles = ARRAY(SELECT jsonb_array_elements_text(p_report -> 'obstacles')),
         synced_version = coalesce((SELECT p.config_version
                                      FROM nebula.project p
                                     WHERE p.project_id = n.project_id), 0)
   WHERE n.device_id = p_device_id
     AND (n.synced_at IS NULL OR n.synced_at < p_said_at)
  RETURNING n.* INTO v_node;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the report of %, made at %, is older than one that was accepted', p_device_id, p_said_at
      USING ERRCODE = '55000', HINT = 'Make a new one.';
  END IF;
  RETURN v_node;
END $$;
COMMENT ON FUNCTION nebula.accept_report(uuid, timestamptz, jsonb) IS
  'Internal: the node of a device, with what its report says of the machine. Errors: 55000 older than a report that '
  'was accepted, or the same';

CREATE FUNCTION nebula.known_generation(p_interface nebula.node_interface, p_told jsonb, p_same_epoch boolean)
RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
BEGIN
  -- A lower generation than was acknowledged comes from an old snapshot of the node's disk, and rows it would need are
  -- gone: the node gets everything.
  IF p_same_epoch
     AND (p_told ->> 'generation')::bigint BETWEEN p_interface.acknowledged_generation AND p_interface.generation
  THEN
    RETURN (p_told ->> 'generation')::bigint;
  END IF;
  RETURN 0;
END $$;
COMMENT ON FUNCTION nebula.known_generation(nebula.node_interface, jsonb, boolean) IS
  'Internal: the generation that an interface runs as its agent reports, 0 if that says nothing here: it is of another '
  'epoch, or was never begun';

CREATE FUNCTION nebula.told_interface(p_report jsonb, p_interface_id uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (SELECT e
            FROM jsonb_array_elements(p_report -> 'interfaces') e
           WHERE (e ->> 'interfaceId')::uuid = p_interface_id
           LIMIT 1);
END $$;
COMMENT ON FUNCTION nebula.told_interface(jsonb, uuid) IS 'Internal: the part of a report about an interface';

CREATE FUNCTION nebula.take_interface_report(
  p_node nebula.node, p_interface nebula.node_interface, p_told jsonb, p_same_epoch boolean, p_applied bigint
) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
  v_key CONSTANT bytea := nebula.wireguard_key(p_told ->> 'publicKey');
BEGIN
  IF v_key IS DISTINCT FROM p_interface.public_key AND p_interface.public_key IS NOT NULL AND v_key IS NOT NULL THEN
    PERFORM nebula.record_event(p_node.project_id, 'agent', 'new-key', 'node', p_node.node_id::text, NULL,
                                jsonb_build_object('name', p_node.name, 'interface', p_interface.name));
  END IF;
  IF p_applied > 0 THEN
    PERFORM nebula.acknowledge(p_interface, p_applied, p_told -> 'failed');
    PERFORM nebula.note_seen(p_interface.interface_id, (p_told ->> 'counters')::uuid, p_told -> 'seen');
    PERFORM nebula.note_drift(p_interface.interface_id, p_told -> 'drift');
  END IF;
  UPDATE nebula.node_interface i
     SET acknowledged_generation = CASE
                                     WHEN p_same_epoch THEN greatest(p_applied, i.acknowledged_generation)
                                     ELSE 0
                                   END,
         acknowledged_at = CASE WHEN p_applied > 0 THEN now() ELSE i.acknowledged_at END,
         public_key = coalesce(v_key, i.public_key),
         error = p_told ->> 'error'
   WHERE i.interface_id = p_interface.interface_id;
  RETURN p_applied > p_interface.acknowledged_generation
         OR v_key IS DISTINCT FROM p_interface.public_key
         OR jsonb_array_length(p_told -> 'failed') > 0;
END $$;
COMMENT ON FUNCTION nebula.take_interface_report(nebula.node, nebula.node_interface, jsonb, boolean, bigint) IS
  'Internal: keeps what a report says of an interface, which runs generation applied (0: none that is known); '
  'whether a request may wait for that. The caller has locked the node and its peers that move';

-- Fixed plans (sql/README.md), also of the functions that this one calls.
CREATE FUNCTION nebula.sync_node(
  p_gateway nebula.proven_gateway, p_device_id uuid, p_said_at timestamptz, p_report jsonb
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan SET jit = off AS $$
DECLARE
  v_former    nebula.node := nebula.node_of_device(p_device_id);
  v_report    CONSTANT jsonb := nebula.node_report(p_report);
  v_epoch     CONSTANT uuid := nebula.node_epoch();
  v_same      CONSTANT boolean := (v_report ->> 'epoch')::uuid IS NOT DISTINCT FROM v_epoch;
  v_node      nebula.node;
  v_interface nebula.node_interface;
  v_told      jsonb;
  v_applied   bigint;
  v_news      boolean := false;
  v_moved     boolean := false;
  v_bases     jsonb := '{}';
BEGIN
  IF p_said_at NOT BETWEEN clock_timestamp() - interval '5 minutes' AND clock_timestamp() + interval '5 minutes' THEN
    RAISE EXCEPTION 'the report was made at %, now it is %', p_said_at, clock_timestamp()
      USING ERRCODE = '28000', HINT = 'Set the clock of the device.';
  END IF;
  PERFORM nebula.lock_for_change('{}', ARRAY[v_former.node_id], 'moving');
  v_former := nebula.node_of_device(p_device_id);
  v_node := nebula.accept_report(p_device_id, p_said_at, v_report);
  FOR v_interface IN
    SELECT i.* FROM nebula.node_interface i WHERE i.node_id = v_node.node_id
  LOOP
    v_told := nebula.told_interface(v_report, v_interface.interface_id);
    v_applied := nebula.known_generation(v_interface, v_told, v_same);
    v_bases := v_bases || jsonb_build_object(v_interface.interface_id::text, v_applied);
    IF v_told IS NOT NULL THEN
      v_news := nebula.take_interface_report(v_node, v_interface, v_told, v_same, v_applied) OR v_news;
    END IF;
    IF v_applied > 0 THEN
      v_moved := nebula.finish_moves(v_interface.interface_id) OR v_moved;
    END IF;
  END LOOP;
  -- Routes to peers that have moved. The row of the project is locked after all others.
  PERFORM nebula.bump_configuration(v_node.project_id) WHERE v_moved;
  -- Wakes requests that wait until peers are applied.
  PERFORM nebula.notify_node(v_node.node_id) WHERE v_news;
  RETURN jsonb_build_object(
    'epoch', v_epoch,
    'interfaces', (SELECT coalesce(jsonb_agg(nebula.desired_interface(
                                               v_node, i, (v_bases ->> i.interface_id::text)::bigint
                                             ) ORDER BY i.interface_id), '[]')
                     FROM nebula.node_interface i
                    WHERE i.node_id = v_node.node_id),
    'due', v_node.synced_version > v_former.synced_version
  );
END $$;
COMMENT ON FUNCTION nebula.sync_node(nebula.proven_gateway, uuid, timestamptz, jsonb) IS
  'For the gateway: takes the report of the agent of a node (NodeReport, without nonce) and answers what its '
  'interfaces are to run (NodeState, without nonce); due: firewall or overlay may have changed since the last '
  'answer. said_at: when the agent made the report. Errors: P0002 the device represents no node, 28000 the '
  'clock of the device is wrong, 55000 older than a report that was accepted, or the same, 22023 malformed';

-- Fixed plans (sql/README.md), also of the functions that this one calls: by statistics of the time before many peers
-- were created, all of them would be compared with each other.
CREATE FUNCTION nebula.node_state(p_gateway nebula.proven_gateway, p_device_id uuid, p_report jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan SET jit = off AS $$
DECLARE
  v_node   nebula.node := nebula.node_of_device(p_device_id);
  v_report CONSTANT jsonb := nebula.node_report(p_report);
  v_epoch  CONSTANT uuid := nebula.node_epoch();
BEGIN
  RETURN jsonb_build_object(
    'epoch', v_epoch,
    'interfaces', (
      SELECT coalesce(jsonb_agg(nebula.desired_interface(
                                  v_node, i,
                                  CASE
                                    WHEN (v_report ->> 'epoch')::uuid IS NOT DISTINCT FROM v_epoch
                                     AND r.generation BETWEEN i.acknowledged_generation AND i.generation
                                    THEN r.generation
                                    ELSE 0
                                  END) ORDER BY i.interface_id), '[]')
        FROM nebula.node_interface i
        LEFT JOIN LATERAL (SELECT (e ->> 'generation')::bigint AS generation
                             FROM jsonb_array_elements(v_report -> 'interfaces') e
                            WHERE (e ->> 'interfaceId')::uuid = i.interface_id
                            LIMIT 1) r ON true
       WHERE i.node_id = v_node.node_id)
  );
END $$;
COMMENT ON FUNCTION nebula.node_state(nebula.proven_gateway, uuid, jsonb) IS
  'For the gateway: what sync_node would answer to this report, without taking the report. Errors: P0002 the device '
  'represents no node';
