-- The .conf of a peer, without its private key, which only its owner has.

CREATE FUNCTION nebula.overlay_networks(p_project_id uuid) RETURNS cidr[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN ARRAY(
    WITH reached AS (
      SELECT p.cidr AS network FROM nebula.project p WHERE p.project_id = p_project_id AND p.cidr IS NOT NULL
       UNION
      SELECT l.cidr FROM nebula.pool l WHERE l.project_id = p_project_id
       UNION
      SELECT r.network FROM nebula.route r WHERE r.project_id = p_project_id
    )
    SELECT e.network
      FROM reached e
     WHERE NOT EXISTS (SELECT FROM reached o WHERE e.network << o.network)
     ORDER BY family(e.network), e.network
  );
END $$;
COMMENT ON FUNCTION nebula.overlay_networks(uuid) IS
  'Internal: the networks of a project that peers reach: overlay, pools, routes; none that lies in another';

CREATE FUNCTION nebula.interface_endpoint(p_node nebula.node, p_interface nebula.node_interface) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN coalesce(
           p_interface.endpoint,
           CASE
             WHEN p_node.endpoint = '' THEN NULL
             -- The first interface is behind the port of the node's endpoint, which a router may translate.
             WHEN p_interface.name = 'wg0' THEN p_node.endpoint
             ELSE regexp_replace(p_node.endpoint, '[0-9]+$', p_interface.listen_port::text)
           END
         );
END $$;
COMMENT ON FUNCTION nebula.interface_endpoint(nebula.node, nebula.node_interface) IS
  'Internal: host:port that peers of an interface connect to; null: not known';

CREATE FUNCTION nebula.render_conf(
  p_peer nebula.peer, p_interface nebula.node_interface, p_endpoint text, p_addresses text[], p_overlay cidr[]
) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN concat_ws(E'\n',
    '# ' || p_peer.name,
    '[Interface]',
    'PrivateKey = <private key>',
    'Address = ' || array_to_string(p_addresses, ', '),
    'DNS = ' || nullif((SELECT string_agg(host(d), ', ') FROM unnest(p_interface.dns) d), ''),
    'MTU = ' || p_interface.mtu,
    '',
    '[Peer]',
    'PublicKey = ' || encode(p_interface.public_key, 'base64'),
    'PresharedKey = ' || encode(p_peer.preshared_key, 'base64'),
    'AllowedIPs = ' || CASE p_peer.reach
                         WHEN 'all' THEN '0.0.0.0/0, ::/0'
                         WHEN 'listed' THEN array_to_string(p_peer.networks, ', ')
                         ELSE array_to_string(p_overlay, ', ')
                       END,
    'Endpoint = ' || p_endpoint,
    'PersistentKeepalive = ' || nullif(p_interface.keepalive, 0),
    '');
END $$;
COMMENT ON FUNCTION nebula.render_conf(nebula.peer, nebula.node_interface, text, text[], cidr[]) IS
  'Internal: text of a .conf';

CREATE FUNCTION nebula.peer_addresses(p_peer_id uuid) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN ARRAY(SELECT host(a.ip)
                 FROM nebula.allocation a
                WHERE a.device_id = p_peer_id
                  AND a.released_at IS NULL
                ORDER BY family(a.ip));
END $$;
COMMENT ON FUNCTION nebula.peer_addresses(uuid) IS 'Internal: addresses of a peer, IPv4 first';

CREATE FUNCTION nebula.allowed_ips(p_peer_id uuid) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN ARRAY(SELECT format('%s/%s', host(a.ip), CASE family(a.ip) WHEN 4 THEN 32 ELSE 128 END)
                 FROM nebula.allocation a
                WHERE a.device_id = p_peer_id
                  AND a.released_at IS NULL
                ORDER BY family(a.ip));
END $$;
COMMENT ON FUNCTION nebula.allowed_ips(uuid) IS
  'Internal: what an interface takes from a peer: its addresses as networks of one address, IPv4 first';

-- While it moves, that of the new node: its owner needs it to be seen there.
CREATE FUNCTION nebula.conf_of(p_peer nebula.peer, p_overlay cidr[]) RETURNS text
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (SELECT nebula.render_conf(p_peer, i, nebula.interface_endpoint(n, i), nebula.allowed_ips(p_peer.peer_id),
                                    p_overlay)
            FROM nebula.placement p
            JOIN nebula.node_interface i USING (interface_id)
            JOIN nebula.node n USING (node_id)
           WHERE p.peer_id = p_peer.peer_id
             AND p.role IN ('serving', 'target')
           ORDER BY p.role = 'target' DESC
           LIMIT 1);
END $$;
COMMENT ON FUNCTION nebula.conf_of(nebula.peer, cidr[]) IS
  'Internal: text of the .conf of a peer as it is now, with lines missing if its node has not told their contents';

CREATE FUNCTION nebula.peer_conf(peer_id uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_peer nebula.peer := nebula.require_peer(peer_id);
  v_conf text := nebula.conf_of(v_peer, nebula.overlay_networks(v_peer.project_id));
  v_node text;
  v_local boolean;
BEGIN
  SELECT n.name, n.local
    INTO v_node, v_local
    FROM nebula.placement p
    JOIN nebula.node_interface i USING (interface_id)
    JOIN nebula.node n USING (node_id)
   WHERE p.peer_id = v_peer.peer_id
     AND p.role IN ('serving', 'target')
   ORDER BY p.role = 'target' DESC
   LIMIT 1;
  IF v_conf !~ E'\nPublicKey = ' AND v_local THEN
    RAISE EXCEPTION 'no device of this server runs its peers yet'
      USING ERRCODE = '55000',
        HINT = 'Name the device: nebulactl node local-device DEVICE; and start nebulactl agent on it.';
  ELSIF v_conf !~ E'\nPublicKey = ' THEN
    RAISE EXCEPTION 'the agent of node "%" has not yet reported the key of its interface', v_node
      USING ERRCODE = '55000', HINT = 'Tie a device to the node, and start nebulactl agent on it.';
  ELSIF v_conf !~ E'\nEndpoint = ' THEN
    RAISE EXCEPTION 'where node "%" can be reached is not known', v_node
      USING ERRCODE = '55000',
        HINT = 'Give it an endpoint: SELECT nebula.update_node(node_id, endpoint => ''host:port'').';
  END IF;
  UPDATE nebula.peer e
     SET config_fingerprint = sha256(convert_to(v_conf, 'UTF8'))
   WHERE e.peer_id = v_peer.peer_id
     AND e.config_fingerprint IS DISTINCT FROM sha256(convert_to(v_conf, 'UTF8'));
  RETURN v_conf;
END $$;
COMMENT ON FUNCTION nebula.peer_conf(uuid) IS
  'The .conf of a peer for wg-quick and the WireGuard apps; the owner writes the private key in the place of '
  '<private key>. While the peer moves, for its new node. Errors: P0002 no such peer, 55000 being removed, or its '
  'node has not told key or endpoint yet';
