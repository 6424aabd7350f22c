-- Pools of peers: outside of everything that members of the project reach already, one or more for each interface of a
-- node and address family.

-- Endpoints are compared as text first, by an index: most are names, or lie far away.
CREATE FUNCTION nebula.network_uses(p_project_id uuid, p_node_id uuid, p_network inet)
RETURNS TABLE (network inet, purpose text)
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET jit = off AS $$
DECLARE
  v_endpoint CONSTANT text := CASE
                                WHEN family(p_network) = 6 THEN '['
                                WHEN masklen(p_network) < 16 THEN ''
                                ELSE substring(host(p_network) FROM '^[0-9]+\.[0-9]+\.')
                              END;
BEGIN
  RETURN QUERY
    SELECT p.cidr::inet, format('the overlay %s', p.cidr)
      FROM nebula.project p
     WHERE p.project_id = p_project_id
       AND p.cidr && p_network;
  -- A node without a device may host peers of several projects.
  RETURN QUERY
    SELECT l.cidr::inet, format('pool %s of another project on the same node', l.cidr)
      FROM nebula.node_interface i
      JOIN nebula.pool l USING (interface_id)
     WHERE i.node_id = p_node_id
       AND l.project_id <> p_project_id
       AND l.cidr && p_network;
  RETURN QUERY
    SELECT n.cidr::inet, format('the range %s of node "%s"', n.cidr, n.name)
      FROM nebula.node n
     WHERE n.cidr && p_network
       AND n.node_id <> p_node_id;
  RETURN QUERY
    SELECT r.network::inet, format('the route to %s', r.network)
      FROM nebula.route r
     WHERE r.project_id = p_project_id
       AND r.network && p_network;
  RETURN QUERY
    SELECT e.address, format('the endpoint %s of "%s"', e.endpoint, e.name)
      FROM nebula.static_endpoints(p_project_id) e
     WHERE e.address <<= p_network;
  RETURN QUERY
    SELECT nebula.endpoint_address(n.endpoint), format('the endpoint %s of node "%s"', n.endpoint, n.name)
      FROM nebula.node n
     WHERE n.endpoint COLLATE "C" >= v_endpoint
       AND n.endpoint COLLATE "C" < v_endpoint || '~'
       AND (n.project_id = p_project_id OR n.node_id = p_node_id)
       AND nebula.endpoint_address(n.endpoint) <<= p_network;
END $$;
COMMENT ON FUNCTION nebula.network_uses(uuid, uuid, inet) IS
  'Internal: networks and addresses, other than the pools of the project, that a pool of peers of this network on this '
  'node would overlap';

CREATE FUNCTION nebula.peer_network_conflict(p_project_id uuid, p_node_id uuid, p_network inet) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_pool nebula.pool := nebula.overlapping_pool(p_project_id, p_network);
BEGIN
  RETURN coalesce('pool "' || v_pool.name || '" (' || v_pool.cidr || ')',
                  (SELECT u.purpose FROM nebula.network_uses(p_project_id, p_node_id, p_network) u LIMIT 1));
END $$;
COMMENT ON FUNCTION nebula.peer_network_conflict(uuid, uuid, inet) IS
  'Internal: what a pool of peers would overlap or contain, in words; null: nothing';

-- Private ranges that home routers and virtual machines seldom use. The prefix of IPv6 is made from the identifier of
-- the project, as RFC 4193 makes it from random bytes.
CREATE FUNCTION nebula.peer_ranges(p_project_id uuid, p_family integer) RETURNS SETOF inet
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_hash CONSTANT text := encode(sha256(uuid_send(p_project_id)), 'hex');
BEGIN
  IF p_family = 4 THEN
    RETURN QUERY SELECT format('10.%s.0.0/16', n)::inet FROM generate_series(77, 95) n;
    RETURN QUERY SELECT format('172.%s.0.0/16', n)::inet FROM generate_series(29, 31) n;
    RETURN QUERY SELECT format('10.%s.0.0/16', n)::inet FROM generate_series(96, 127) n;
  ELSE
    RETURN QUERY
      SELECT format('fd%s:%s:%s::/48', substr(v_hash, n, 2), substr(v_hash, n + 2, 4), substr(v_hash, n + 6, 4))::inet
        FROM generate_series(1, 41, 10) n;
  END IF;
END $$;
COMMENT ON FUNCTION nebula.peer_ranges(uuid, integer) IS
  'Internal: the ranges that pools of peers of a project are cut from, the preferred one first';

-- The number of a network of this length in a range, from 0: the bits between the two lengths.
CREATE FUNCTION nebula.network_number(p_range inet, p_length integer, p_address inet) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE family(p_range)
           WHEN 4 THEN (set_masklen(p_address, 32) - set_masklen(p_range, 32)) >> (32 - p_length)
           -- The fourth group: the ranges are /48, the networks /64.
           ELSE get_byte(inet_send(p_address), 10) * 256 + get_byte(inet_send(p_address), 11)
         END
$$;
COMMENT ON FUNCTION nebula.network_number(inet, integer, inet) IS
  'Internal: which network of a range an address lies in, where the range is cut into networks of this length';

CREATE FUNCTION nebula.free_numbers(p_range inet, p_length integer, p_used inet[]) RETURNS int8multirange
LANGUAGE sql IMMUTABLE AS $$
  SELECT int8multirange(int8range(0, 1 << (p_length - masklen(p_range))))
         - coalesce(range_agg(CASE
                                WHEN u >>= p_range THEN int8range(NULL, NULL)
                                ELSE int8range(nebula.network_number(p_range, p_length, network(u)),
                                               nebula.network_number(p_range, p_length, broadcast(u)), '[]')
                              END), '{}')
    FROM unnest(p_used) u
$$;
COMMENT ON FUNCTION nebula.free_numbers(inet, integer, inet[]) IS
  'Internal: the networks of this length in a range, by number, that overlap none of those in use';

CREATE FUNCTION nebula.numbered_network(p_range inet, p_length integer, p_number bigint) RETURNS inet
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE family(p_range)
           WHEN 4 THEN set_masklen(p_range + (p_number << (32 - p_length)), p_length)
           ELSE set_masklen(replace(host(p_range), '::', ':' || to_hex(p_number) || '::')::inet, 64)
         END
$$;
COMMENT ON FUNCTION nebula.numbered_network(inet, integer, bigint) IS
  'Internal: the network with this number, as network_number counts';

CREATE FUNCTION nebula.is_grantable(p_project_id uuid, p_network inet) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN NOT EXISTS (SELECT
                       FROM nebula.project_authority s
                       JOIN nebula.authority a USING (fingerprint)
                      WHERE s.project_id = p_project_id
                        AND nebula.not_grantable(a, '{}', '{}', ARRAY[p_network]) IS NOT NULL);
END $$;
COMMENT ON FUNCTION nebula.is_grantable(uuid, inet) IS
  'Internal: whether the authorities of a project may write a network into the certificate of a node';

CREATE FUNCTION nebula.first_peer_network(p_project_id uuid, p_node_id uuid, p_range inet, p_length integer)
RETURNS inet
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_used inet[] := ARRAY(SELECT l.cidr FROM nebula.pool l WHERE l.project_id = p_project_id AND l.cidr && p_range
                          UNION ALL
                         SELECT u.network FROM nebula.network_uses(p_project_id, p_node_id, p_range) u);
BEGIN
  RETURN (SELECT c.network
            FROM (SELECT generate_series(lower(f), upper(f) - 1) AS number
                    FROM unnest(nebula.free_numbers(p_range, p_length, v_used)) f) w
           CROSS JOIN LATERAL (SELECT nebula.numbered_network(p_range, p_length, w.number)) AS c(network)
           WHERE nebula.is_grantable(p_project_id, c.network)
           -- In the order of the series: a sort would first look at every network of the range.
           LIMIT 1);
END $$;
COMMENT ON FUNCTION nebula.first_peer_network(uuid, uuid, inet, integer) IS
  'Internal: the first network of this length in a range that overlaps nothing, and that the authorities of the '
  'project may write into a certificate; null: none';

-- Networks are given out upwards, so the next one is behind the last pool of a range, which the index finds. Only where
-- that is no good, the whole range is looked at.
CREATE FUNCTION nebula.next_peer_network(p_project_id uuid, p_range inet, p_length integer) RETURNS inet
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
  v_last    CONSTANT cidr := set_masklen(broadcast(p_range), CASE family(p_range) WHEN 4 THEN 32 ELSE 128 END)::cidr;
  v_highest CONSTANT inet := (SELECT l.cidr
                                FROM nebula.pool l
                               WHERE l.project_id = p_project_id
                                 AND l.cidr >= p_range::cidr
                                 AND l.cidr <= v_last
                               ORDER BY l.cidr DESC
                               LIMIT 1);
  v_number  CONSTANT bigint := coalesce(nebula.network_number(p_range, p_length, broadcast(v_highest)) + 1, 0);
  v_network CONSTANT inet := nebula.numbered_network(p_range, p_length, v_number);
BEGIN
  IF v_number >= 1 << (p_length - masklen(p_range)) THEN
    RETURN NULL;
  END IF;
  RETURN v_network;
END $$;
COMMENT ON FUNCTION nebula.next_peer_network(uuid, inet, integer) IS
  'Internal: the network of this length behind all pools of a range; null: the last one is a pool';

CREATE FUNCTION nebula.free_peer_network(p_project_id uuid, p_node nebula.node, p_family integer) RETURNS cidr
LANGUAGE plpgsql STABLE AS $$
DECLARE
  -- Room for the peers that the node may have, 253 to 4093: an interface whose pools are full gets another one.
  v_length CONSTANT integer := CASE
                                 WHEN p_family = 6 THEN 64
                                 WHEN p_node.local THEN 22
                                 ELSE greatest(20, least(24, 32 - ceil(log(2, p_node.max_peers + 3))::integer))
                               END;
  v_range  inet;
  v_found  inet;
BEGIN
  FOR v_range IN SELECT * FROM nebula.peer_ranges(p_project_id, p_family) LOOP
    v_found := nebula.next_peer_network(p_project_id, v_range, v_length);
    CONTINUE WHEN v_found IS NULL;
    IF nebula.peer_network_conflict(p_project_id, p_node.node_id, v_found) IS NULL
       AND nebula.is_grantable(p_project_id, v_found)
    THEN
      RETURN v_found::cidr;
    END IF;
    v_found := nebula.first_peer_network(p_project_id, p_node.node_id, v_range, v_length);
    IF v_found IS NOT NULL THEN
      RETURN v_found::cidr;
    END IF;
  END LOOP;
  -- Networks that were given back, in ranges whose last network is a pool.
  FOR v_range IN SELECT * FROM nebula.peer_ranges(p_project_id, p_family) LOOP
    v_found := nebula.first_peer_network(p_project_id, p_node.node_id, v_range, v_length);
    IF v_found IS NOT NULL THEN
      RETURN v_found::cidr;
    END IF;
  END LOOP;
  RAISE EXCEPTION 'no network of IPv% is free for peers of project %', p_family, p_project_id
    USING ERRCODE = '53400',
      HINT = 'Give the interface one: SELECT nebula.add_interface(node_id, name, cidr => ...).';
END $$;
COMMENT ON FUNCTION nebula.free_peer_network(uuid, nebula.node, integer) IS
  'Internal: a network for the next pool of peers on a node that overlaps nothing the project knows, and that '
  'its authority may write into the certificate of the node. Errors: 53400 there is none';

-- One version is enough for what a transaction changes, and each UPDATE of the row would make later ones slower. The
-- setting goes when the transaction, or the part of it that set it, is rolled back.
CREATE FUNCTION nebula.bump_once(p_project_id uuid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_mark CONSTANT text := pg_current_xact_id() || ' ' || p_project_id;
BEGIN
  IF current_setting('nebula_transaction.bumped', true) IS DISTINCT FROM v_mark THEN
    PERFORM nebula.bump_configuration(p_project_id), set_config('nebula_transaction.bumped', v_mark, true);
  END IF;
END $$;
COMMENT ON FUNCTION nebula.bump_once(uuid) IS
  'Internal: bump_configuration, unless this transaction has called it for the project just before';

CREATE FUNCTION nebula.insert_peer_pool(p_project_id uuid, p_interface_id uuid, p_cidr cidr) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO nebula.pool (project_id, name, cidr, gateway, purpose, interface_id)
  SELECT p_project_id, 'peers-' || translate(p_cidr::text, ':/', '--'), p_cidr, r.first, 'peer', p_interface_id
    FROM nebula.assignable_range(p_cidr) r;
  PERFORM nebula.bump_once(p_project_id);
END $$;
COMMENT ON FUNCTION nebula.insert_peer_pool(uuid, uuid, cidr) IS
  'Internal: makes a pool of peers for an interface, which takes its first address';

CREATE FUNCTION nebula.give_peer_pool(p_project_id uuid, p_interface nebula.node_interface, p_cidr inet)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_conflict text;
BEGIN
  PERFORM nebula.check_host_bits(p_cidr);
  PERFORM nebula.check_network(p_cidr);
  IF masklen(p_cidr) > (CASE family(p_cidr) WHEN 4 THEN 30 ELSE 126 END) THEN
    RAISE EXCEPTION '% has no room for the interface and a peer', p_cidr
      USING ERRCODE = '22023', HINT = 'Give a wider network, for example a /24 or a /64.';
  END IF;
  v_conflict := nebula.peer_network_conflict(p_project_id, p_interface.node_id, p_cidr);
  IF v_conflict IS NOT NULL THEN
    RAISE EXCEPTION 'the pool % of peers would overlap %', p_cidr, v_conflict
      USING ERRCODE = '22023', HINT = 'Peers have networks of their own, outside the overlay and all that it reaches.';
  END IF;
  PERFORM nebula.check_grantable(p_project_id, '{}', '{}', ARRAY[p_cidr]);
  PERFORM nebula.insert_peer_pool(p_project_id, p_interface.interface_id, p_cidr::cidr);
END $$;
COMMENT ON FUNCTION nebula.give_peer_pool(uuid, nebula.node_interface, inet) IS
  'Internal: makes a pool of peers of this network for an interface. Errors: 22023 not a network for peers';

-- The caller has locked the row of the interface, so that two sessions do not both make a pool.
CREATE FUNCTION nebula.add_peer_pool(p_project_id uuid, p_interface_id uuid, p_family integer) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_interface nebula.node_interface;
  v_node      nebula.node;
  v_idle      integer;
BEGIN
  -- The row of the project is locked after the table, as everywhere.
  LOCK TABLE nebula.allocation IN ROW EXCLUSIVE MODE;
  SELECT i.*
    INTO v_interface
    FROM nebula.node_interface i
   WHERE i.interface_id = p_interface_id;
  SELECT n.*
    INTO v_node
    FROM nebula.node n
   WHERE n.node_id = v_interface.node_id;
  IF family(v_node.cidr) = p_family THEN
    PERFORM nebula.give_peer_pool(p_project_id, v_interface, v_node.cidr)
      WHERE NOT EXISTS (SELECT FROM nebula.pool l WHERE l.purpose = 'peer' AND l.cidr && v_node.cidr);
    IF FOUND THEN
      RETURN;
    END IF;
  END IF;
  -- A pool of an interface that was dropped.
  SELECT l.pool_id
    INTO v_idle
    FROM nebula.pool l
   WHERE l.project_id = p_project_id
     AND l.purpose = 'peer'
     AND l.interface_id IS NULL
     AND l.enabled
     AND family(l.cidr) = p_family
     AND NOT EXISTS (SELECT
                       FROM nebula.node n
                      WHERE n.cidr && l.cidr
                        AND n.node_id <> v_node.node_id)
   LIMIT 1
     FOR NO KEY UPDATE SKIP LOCKED;
  IF FOUND THEN
    UPDATE nebula.pool l
       SET interface_id = p_interface_id
     WHERE l.pool_id = v_idle;
    PERFORM nebula.bump_configuration(p_project_id);
    RETURN;
  END IF;
  -- Nothing that the search has found free is taken before this transaction ends.
  PERFORM
    FROM nebula.project p
   WHERE p.project_id = p_project_id
     FOR NO KEY UPDATE;
  PERFORM nebula.insert_peer_pool(p_project_id, p_interface_id,
                                  nebula.free_peer_network(p_project_id, v_node, p_family));
END $$;
COMMENT ON FUNCTION nebula.add_peer_pool(uuid, uuid, integer) IS
  'Internal: gives an interface one more pool for peers of a project: the range of its node, else a pool '
  'without interface, else a new one. Errors: 53400 no network is free, 22023 the range of the node cannot be one';

CREATE FUNCTION nebula.peer_routes(p_project_id uuid)
RETURNS TABLE (device_id uuid, network cidr)
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN QUERY
    SELECT n.device_id, l.cidr
      FROM nebula.pool l
      JOIN nebula.node_interface i USING (interface_id)
      JOIN nebula.node n USING (node_id)
     WHERE l.project_id = p_project_id
       AND n.device_id IS NOT NULL
     UNION ALL
    -- Peers that another node serves than that of their pool.
    SELECT n.device_id, a.ip::cidr
      FROM nebula.pool l
      JOIN nebula.allocation a ON a.project_id = l.project_id AND a.pool_id = l.pool_id
           AND a.ip <<= l.cidr
           AND a.released_at IS NULL
      JOIN nebula.placement p ON p.peer_id = a.device_id AND p.role = 'serving'
      JOIN nebula.node_interface i ON i.interface_id = p.interface_id
      JOIN nebula.node n ON n.node_id = i.node_id
      LEFT JOIN nebula.node_interface o ON o.interface_id = l.interface_id
     WHERE l.project_id = p_project_id
       AND l.purpose = 'peer'
       AND o.node_id IS DISTINCT FROM i.node_id
       AND n.device_id IS NOT NULL;
END $$;
COMMENT ON FUNCTION nebula.peer_routes(uuid) IS
  'Internal: the networks of peers that members reach through devices of nodes: the pools, and each peer that '
  'has moved away from the node of its pool';

CREATE FUNCTION nebula.assign_peer_addresses(
  p_peer nebula.peer, p_interface_id uuid, p_address inet, p_client inet, OUT ip inet, OUT ip6 inet
)
LANGUAGE plpgsql AS $$
DECLARE
  v_family  integer;
  v_address inet;
  v_got     inet;
BEGIN
  FOREACH v_family IN ARRAY ARRAY[4, 6] LOOP
    v_address := CASE WHEN family(p_address) = v_family THEN p_address END;
    v_got := nebula.allocate_peer_ip(p_peer.project_id, p_peer.peer_id, p_interface_id, v_family, v_address,
                                     p_peer.created_by, p_client);
    IF v_got IS NULL THEN
      PERFORM nebula.add_peer_pool(p_peer.project_id, p_interface_id, v_family);
      v_got := nebula.allocate_peer_ip(p_peer.project_id, p_peer.peer_id, p_interface_id, v_family, v_address,
                                       p_peer.created_by, p_client);
    END IF;
    IF v_family = 4 THEN
      ip := v_got;
    ELSE
      ip6 := v_got;
    END IF;
  END LOOP;
END $$;
COMMENT ON FUNCTION nebula.assign_peer_addresses(nebula.peer, uuid, inet, inet) IS
  'Internal: an address of each family for a peer, from the pools of its interface, which gets one more if '
  'they are full. Errors: as allocate_peer_ip and add_peer_pool';
