-- Peers: created, changed, moved and removed. What these functions write is wanted; the agents of the nodes follow.

CREATE FUNCTION nebula.check_peer_identity(p_peer nebula.peer) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_other record;
BEGIN
  SELECT e.name, e.removed_at, true AS same_key
    INTO v_other
    FROM nebula.peer e
   WHERE e.project_id = p_peer.project_id
     AND e.public_key = p_peer.public_key
     AND e.peer_id <> p_peer.peer_id
   UNION ALL
  SELECT e.name, NULL, false
    FROM nebula.peer e
   WHERE e.project_id = p_peer.project_id
     AND lower(e.name COLLATE "C") = lower(p_peer.name COLLATE "C")
     AND e.removed_at IS NULL
     AND e.peer_id <> p_peer.peer_id
   LIMIT 1;
  IF NOT FOUND THEN
    RETURN;
  ELSIF v_other.removed_at IS NOT NULL THEN
    RAISE EXCEPTION 'peer "%", which is being removed, has this public key', v_other.name
      USING ERRCODE = '55000', HINT = 'Wait until its node has confirmed that, or make another key pair.';
  ELSIF v_other.same_key THEN
    RAISE EXCEPTION 'peer "%" of the project has this public key', v_other.name
      USING ERRCODE = '23505', HINT = 'Make a key pair for each peer: wg genkey.';
  END IF;
  RAISE EXCEPTION 'another peer of the project is named "%"', v_other.name
    USING ERRCODE = '23505', HINT = 'Choose another name.';
END $$;
COMMENT ON FUNCTION nebula.check_peer_identity(nebula.peer) IS
  'Internal: refuses name or key of another peer of the project. Errors: 23505 taken, 55000 by one that is '
  'being removed';

CREATE FUNCTION nebula.file_name_base(p_name text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN coalesce(
           nullif(rtrim(left(trim(BOTH '-' FROM regexp_replace(lower(p_name), '[^a-z0-9]+', '-', 'g')), 15), '-'), ''),
           'peer');
END $$;
COMMENT ON FUNCTION nebula.file_name_base(text) IS
  'Internal: a name in at most 15 small letters, digits and dashes';

CREATE FUNCTION nebula.peer_file_name(p_project_id uuid, p_name text, p_peer_id uuid) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_base text := nebula.file_name_base(p_name);
BEGIN
  IF NOT EXISTS (SELECT
                   FROM nebula.peer e
                  WHERE e.project_id = p_project_id
                    AND e.file_name = v_base
                    AND e.removed_at IS NULL
                    AND e.peer_id <> p_peer_id)
  THEN
    RETURN v_base;
  END IF;
  RETURN (SELECT c.name
            FROM (SELECT n AS ordinal, rtrim(left(v_base, 14 - length(n::text)), '-') || '-' || n AS name
                    FROM generate_series(2, 20) n
                   UNION ALL
                  -- Many peers of one name: digits of the identifier instead of a long search.
                  SELECT 100, left(v_base, 6) || '-' || left(replace(p_peer_id::text, '-', ''), 8)) c
           WHERE NOT EXISTS (SELECT
                               FROM nebula.peer e
                              WHERE e.project_id = p_project_id
                                AND e.file_name = c.name
                                AND e.removed_at IS NULL
                                AND e.peer_id <> p_peer_id)
           ORDER BY c.ordinal
           LIMIT 1);
END $$;
COMMENT ON FUNCTION nebula.peer_file_name(uuid, text, uuid) IS
  'Internal: a free name for the .conf of a peer: at most 15 small letters, digits and dashes';

CREATE FUNCTION nebula.insert_peer(p_peer nebula.peer) RETURNS nebula.peer
LANGUAGE plpgsql AS $$
DECLARE
  v_peer nebula.peer := p_peer;
BEGIN
  -- The unique indexes decide; only a conflict is looked into. Again when another session takes the name of the file.
  FOR v_attempt IN 1 .. 20 LOOP
    v_peer.file_name := CASE
                          WHEN v_attempt = 1 THEN nebula.file_name_base(v_peer.name)
                          ELSE nebula.peer_file_name(v_peer.project_id, v_peer.name, v_peer.peer_id)
                        END;
    -- The key of the creator is not checked by insert_row.
    IF v_peer.creator_id IS NULL AND nebula.insert_row(v_peer) THEN
      RETURN v_peer;
    END IF;
    INSERT INTO nebula.peer SELECT v_peer.* ON CONFLICT DO NOTHING;
    IF FOUND THEN
      RETURN v_peer;
    END IF;
    IF EXISTS (SELECT FROM nebula.peer e WHERE e.peer_id = v_peer.peer_id) THEN
      RAISE EXCEPTION 'peer % was created by another session', v_peer.peer_id
        USING ERRCODE = '23505', HINT = 'Use a fresh identifier, or repeat the call with the same key.';
    END IF;
    PERFORM nebula.check_peer_identity(v_peer);
  END LOOP;
  RAISE EXCEPTION 'no name is free for the .conf of peer "%"', v_peer.name
    USING ERRCODE = '23505', HINT = 'Choose another name.';
END $$;
COMMENT ON FUNCTION nebula.insert_peer(nebula.peer) IS
  'Internal: inserts a peer under a free file name. Errors: 23505 name or key taken';

CREATE FUNCTION nebula.known_peer(p_peer nebula.peer) RETURNS nebula.peer
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_known nebula.peer;
BEGIN
  SELECT e.*
    INTO v_known
    FROM nebula.peer e
   WHERE e.peer_id = p_peer.peer_id;
  IF NOT FOUND THEN
    IF EXISTS (SELECT FROM nebula.device d WHERE d.device_id = p_peer.peer_id) THEN
      RAISE EXCEPTION '% is a device of the overlay', p_peer.peer_id
        USING ERRCODE = '23505', HINT = 'Use a fresh identifier for the peer.';
    END IF;
    RETURN NULL;
  END IF;
  IF v_known.removed_at IS NOT NULL THEN
    RAISE EXCEPTION 'peer "%" is being removed', v_known.name
      USING ERRCODE = '55000', HINT = 'Wait until its node has confirmed that, or use a fresh identifier and key.';
  END IF;
  IF (v_known.project_id, v_known.public_key) <> (p_peer.project_id, p_peer.public_key) THEN
    RAISE EXCEPTION 'there is a peer % already, with another key or in another project', p_peer.peer_id
      USING ERRCODE = '23505', HINT = 'Use a fresh identifier, or update_peer for another key.';
  END IF;
  -- Members see each other's identifiers and keys, so the same ones do not make it the same caller.
  IF p_peer.creator_id IS NOT NULL
     AND p_peer.creator_id IS DISTINCT FROM v_known.creator_id
     AND nebula.role_of(p_peer.creator_id) IS DISTINCT FROM 'admin'
  THEN
    RAISE EXCEPTION 'there is a peer % already, which another account created', p_peer.peer_id
      USING ERRCODE = '23505', HINT = 'Use a fresh identifier and key.';
  END IF;
  RETURN v_known;
END $$;
COMMENT ON FUNCTION nebula.known_peer(nebula.peer) IS
  'Internal: the peer that the same caller, or anybody if the caller is an administrator or no account, created before '
  'with this identifier and key; null if there is none. Errors: 23505 the identifier is taken, 55000 it is being '
  'removed';

CREATE FUNCTION nebula.place_peer(
  p_peer nebula.peer, p_interface_id uuid, p_generation bigint, p_address inet, p_deadline timestamptz, p_client inet
) RETURNS inet
LANGUAGE plpgsql AS $$
DECLARE
  v_peer      nebula.peer := nebula.insert_peer(p_peer);
  v_placement nebula.placement;
  v_got       record;
  v_event     bigint;
BEGIN
  v_got := nebula.assign_peer_addresses(v_peer, p_interface_id, p_address, p_client);
  v_placement.peer_id := v_peer.peer_id;
  v_placement.interface_id := p_interface_id;
  v_placement.role := 'serving';
  v_placement.wanted := nebula.wanted_state(v_peer);
  v_placement.generation := p_generation;
  v_placement.applied_generation := 0;
  v_placement.placed_at := now();
  v_placement.deadline := p_deadline;
  IF NOT nebula.insert_row(v_placement) THEN
    INSERT INTO nebula.placement (peer_id, interface_id, role, wanted, generation, applied_generation, placed_at,
                                  deadline)
    VALUES (v_placement.peer_id, v_placement.interface_id, v_placement.role, v_placement.wanted, v_placement.generation,
            v_placement.applied_generation, v_placement.placed_at, v_placement.deadline);
  END IF;
  v_event := nebula.append_event(
    v_peer.project_id, v_peer.created_by, 'create', 'peer', v_peer.peer_id::text, p_client,
    jsonb_build_object('name', v_peer.name, 'ip', host(v_got.ip), 'interface', p_interface_id));
  RETURN coalesce(CASE WHEN family(p_address) = 6 THEN v_got.ip6 END, v_got.ip);
END $$;
COMMENT ON FUNCTION nebula.place_peer(nebula.peer, uuid, bigint, inet, timestamptz, inet) IS
  'Internal: creates a peer on an interface on which a generation has begun and whose node has a seat for it; '
  'answers its address. Errors: 23505 name, key or address taken, 53400 no address, 22023 address of no pool';

CREATE FUNCTION nebula.shown_node(p_interface_id uuid) RETURNS uuid
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (SELECT n.node_id
            FROM nebula.node_interface i
            JOIN nebula.node n USING (node_id)
           WHERE i.interface_id = p_interface_id
             AND NOT n.local);
END $$;
COMMENT ON FUNCTION nebula.shown_node(uuid) IS 'Internal: the node of an interface; null: this server itself';

-- Fixed plans (sql/README.md), also of the functions that this one calls.
CREATE FUNCTION nebula.create_peer(
  project_id uuid,
  device_id uuid,
  public_key text,
  strategy text DEFAULT 'auto',
  name text DEFAULT NULL,
  address inet DEFAULT NULL,
  reach text DEFAULT 'overlay',
  networks inet[] DEFAULT '{}',
  groups text[] DEFAULT '{}',
  preshared boolean DEFAULT false,
  expires_at timestamptz DEFAULT NULL,
  created_by text DEFAULT NULL
) RETURNS TABLE (peer_id uuid, node_id uuid, ip inet)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan SET jit = off AS $$
DECLARE
  v_strategy     CONSTANT text := coalesce(strategy, 'auto');
  v_address      CONSTANT inet := address;
  v_preshared    CONSTANT boolean := coalesce(preshared, false);
  v_peer         nebula.peer;
  v_known        nebula.peer;
  v_interface_id uuid;
BEGIN
  v_peer.peer_id := coalesce(device_id, gen_random_uuid());
  v_peer.project_id := project_id;
  v_peer.public_key := nebula.wireguard_key(public_key);
  v_peer.name := coalesce(name, 'peer-' || left(v_peer.peer_id::text, 8));
  v_peer.reach := coalesce(reach, 'overlay');
  v_peer.networks := nebula.peer_networks(networks);
  v_peer.groups := coalesce(groups, '{}');
  v_peer.expires_at := nebula.peer_expiry(expires_at);
  v_peer.admin_expires_at := v_peer.expires_at;
  v_peer.created_by := coalesce(created_by, session_user::text);
  v_peer.created_at := now();
  v_peer.disabled_by_admin := false;
  v_peer.made_by_sql := true;
  v_peer.received_bytes := 0;
  v_peer.sent_bytes := 0;
  PERFORM nebula.require_project(v_peer.project_id);
  PERFORM nebula.check_peer(v_peer);
  IF device_id IS NOT NULL THEN
    v_known := nebula.known_peer(v_peer);
  END IF;
  IF v_known.peer_id IS NOT NULL THEN
    RETURN QUERY
      SELECT v_known.peer_id, nebula.shown_node(p.interface_id),
             (SELECT a.ip
                FROM nebula.allocation a
               WHERE a.device_id = v_known.peer_id
                 AND a.released_at IS NULL
               ORDER BY family(a.ip)
               LIMIT 1)
        FROM nebula.placement p
       WHERE p.peer_id = v_known.peer_id
         AND p.role = 'serving';
    RETURN;
  END IF;
  IF v_preshared THEN
    v_peer.preshared_key := nebula.random_key();
  END IF;
  -- Assignments, because PL/pgSQL evaluates an expression in a fraction of the time that a query takes.
  node_id := nebula.claim_seat(v_peer.project_id, v_strategy);
  v_interface_id := nebula.interface_for_peers(coalesce(node_id, nebula.take_local_seats(v_peer.project_id, 1)));
  peer_id := v_peer.peer_id;
  ip := nebula.place_peer(v_peer, v_interface_id, nebula.raise_generation(v_interface_id), v_address, NULL,
                          inet_client_addr());
  RETURN NEXT;
END $$;
COMMENT ON FUNCTION nebula.create_peer(
  uuid, uuid, text, text, text, inet, text, inet[], text[], boolean, timestamptz, text
) IS
  'Creates a peer: a seat on the node that the strategy chooses (select_node), an address of each family and the '
  'record, in one transaction. device_id: its identifier; null: a random one. The same identifier and key again '
  'answer the same peer. node_id null: this server. reach: overlay, all or listed (networks). preshared: makes a '
  'preshared key. expires_at: null or infinity: never. Errors: P0002 no such project or node, 22023 malformed, 23505 '
  'identifier, name, key or address taken, 53000 no node has room, 53400 no address is free, 55000 identifier or key '
  'of one that is being removed';

CREATE FUNCTION nebula.require_peer(p_peer_id uuid) RETURNS nebula.peer
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_known nebula.peer;
BEGIN
  SELECT e.*
    INTO v_known
    FROM nebula.peer e
   WHERE e.peer_id = p_peer_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no peer %', p_peer_id
      USING ERRCODE = 'P0002', HINT = 'List peers: nebulactl peer ls, or SELECT peer_id, name FROM nebula.peer_status.';
  ELSIF v_known.removed_at IS NOT NULL THEN
    RAISE EXCEPTION 'peer "%" is being removed', v_known.name
      USING ERRCODE = '55000', HINT = 'Nothing is left to do but for its node, which has to confirm it.';
  END IF;
  RETURN v_known;
END $$;
COMMENT ON FUNCTION nebula.require_peer(uuid) IS
  'Internal: the peer. Errors: P0002 no such peer, 55000 it is being removed';
