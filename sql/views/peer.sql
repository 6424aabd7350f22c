-- Peers with what is wanted of them and what was seen.
CREATE VIEW nebula.peer_status AS
SELECT e.name, j.name AS project, nebula.peer_addresses(e.peer_id) AS addresses,
       CASE WHEN NOT n.local THEN n.name END AS node, t.node AS moving_to,
       CASE
         WHEN e.removed_at IS NOT NULL THEN 'leaving'
         WHEN coalesce(t.refused_reason, p.refused_reason) IS NOT NULL THEN 'refused'
         WHEN p.unconfirmed THEN 'unconfirmed'
         WHEN p.wanted = 'blocked' AND p.applied_generation >= p.generation THEN 'disabled'
         WHEN p.applied_generation < p.generation THEN 'pending'
         WHEN t.peer_id IS NOT NULL THEN 'moving'
         WHEN s.kind IS NOT NULL THEN 'drifted'
         ELSE 'active'
       END AS state,
       CASE
         WHEN e.removed_at IS NOT NULL AND n.device_id IS NULL
         THEN 'no device represents its node, which has not confirmed that it is gone; tie one, or force remove_node'
         WHEN e.removed_at IS NOT NULL THEN 'its node has not yet confirmed that it is gone'
         WHEN coalesce(t.refused_reason, p.refused_reason) IS NOT NULL THEN coalesce(t.refused_reason, p.refused_reason)
         WHEN p.unconfirmed THEN format('no report of the node since %s', date_trunc('second', n.seen_at))
         WHEN e.disabled_by_admin THEN 'disabled by an administrator'
         WHEN e.disabled_at IS NOT NULL THEN 'disabled'
         WHEN p.wanted = 'blocked' THEN format('expired at %s', date_trunc('second', e.expires_at))
         WHEN t.peer_id IS NOT NULL AND t.applied_generation < t.generation THEN 'the new node has not yet confirmed it'
         WHEN t.peer_id IS NOT NULL THEN 'the new node has not yet seen it: its new .conf has to be in use'
         WHEN p.applied_generation < p.generation THEN coalesce(i.error, nebula.missing_agent(n))
         WHEN s.kind IS NOT NULL THEN
           CASE s.kind
             WHEN 'missing' THEN 'the interface does not have it'
             WHEN 'allowedIps' THEN 'the interface takes other addresses from it'
             ELSE 'the interface has another preshared key for it'
           END
       END AS reason,
       e.reach, e.networks, e.groups, e.preshared_key IS NOT NULL AS preshared, e.disabled_at, e.expires_at,
       CASE
         WHEN e.config_fingerprint IS NOT NULL
         THEN sha256(convert_to(nebula.conf_of(e, nebula.overlay_networks(e.project_id)), 'UTF8'))
              IS DISTINCT FROM e.config_fingerprint
         ELSE false
       END AS config_outdated,
       v.handshake_at, v.endpoint, nebula.add_bytes(e.received_bytes, v.received_bytes) AS received_bytes,
       nebula.add_bytes(e.sent_bytes, v.sent_bytes) AS sent_bytes, encode(e.public_key, 'base64') AS public_key,
       e.file_name, e.created_by, e.created_at, e.project_id, e.peer_id,
       CASE WHEN NOT n.local THEN n.node_id END AS node_id
  FROM nebula.peer e
  JOIN nebula.project j USING (project_id)
  LEFT JOIN LATERAL (
         SELECT k.*, h.seen_at < clock_timestamp() - nebula.node_late_after() AS unconfirmed
           FROM nebula.placement k
           JOIN nebula.node_interface l USING (interface_id)
           JOIN nebula.node h USING (node_id)
          WHERE k.peer_id = e.peer_id
            AND k.role <> 'target'
          ORDER BY k.role = 'serving' DESC
          LIMIT 1) p ON true
  LEFT JOIN nebula.node_interface i ON i.interface_id = p.interface_id
  LEFT JOIN nebula.node n ON n.node_id = i.node_id
  LEFT JOIN LATERAL (
         SELECT k.*, CASE WHEN h.local THEN 'this server' ELSE h.name END AS node
           FROM nebula.placement k
           JOIN nebula.node_interface l USING (interface_id)
           JOIN nebula.node h USING (node_id)
          WHERE k.peer_id = e.peer_id
            AND k.role = 'target'
          LIMIT 1) t ON true
  LEFT JOIN LATERAL (
         SELECT k.kind
           FROM nebula.drift k
          WHERE k.interface_id = p.interface_id
            AND k.public_key = encode(e.public_key, 'base64')
            AND k.kind <> 'unknown'
          LIMIT 1) s ON true
  LEFT JOIN LATERAL (
         SELECT max(k.handshake_at) AS handshake_at,
                (array_agg(k.endpoint ORDER BY k.handshake_at DESC NULLS LAST))[1] AS endpoint,
                nebula.add_bytes(VARIADIC array_agg(k.received_bytes) || array_agg(k.received_total)) AS received_bytes,
                nebula.add_bytes(VARIADIC array_agg(k.sent_bytes) || array_agg(k.sent_total)) AS sent_bytes
           FROM nebula.placement_seen k
          WHERE k.peer_id = e.peer_id) v ON true;

COMMENT ON VIEW nebula.peer_status IS 'Peers: where they are, whether they can connect, and what was seen of them';
COMMENT ON COLUMN nebula.peer_status.name IS 'Name';
COMMENT ON COLUMN nebula.peer_status.project IS 'Name of the project';
COMMENT ON COLUMN nebula.peer_status.addresses IS 'Its addresses, IPv4 first';
COMMENT ON COLUMN nebula.peer_status.node IS 'Name of the node that serves it; null: this server';
COMMENT ON COLUMN nebula.peer_status.moving_to IS 'Name of the node that it moves to';
COMMENT ON COLUMN nebula.peer_status.state IS
  'pending: its node has not yet confirmed what is wanted; active; drifted: the interface has something else; '
  'refused: the node cannot apply it; moving: the new node has not seen it yet; disabled; leaving: being removed; '
  'unconfirmed: its node does not report';
COMMENT ON COLUMN nebula.peer_status.reason IS 'Why it is not active';
COMMENT ON COLUMN nebula.peer_status.reach IS 'What it sends into the tunnel: overlay, all, or listed networks';
COMMENT ON COLUMN nebula.peer_status.networks IS 'The listed networks';
COMMENT ON COLUMN nebula.peer_status.groups IS 'Its groups';
COMMENT ON COLUMN nebula.peer_status.preshared IS 'Whether it has a preshared key';
COMMENT ON COLUMN nebula.peer_status.disabled_at IS 'Since when it is disabled';
COMMENT ON COLUMN nebula.peer_status.expires_at IS 'When its node begins to refuse it';
COMMENT ON COLUMN nebula.peer_status.config_outdated IS
  'Something in its .conf has changed since it was handed out last';
COMMENT ON COLUMN nebula.peer_status.handshake_at IS 'Last handshake with a node';
COMMENT ON COLUMN nebula.peer_status.endpoint IS 'Address that it last came from';
COMMENT ON COLUMN nebula.peer_status.received_bytes IS 'Bytes received from it';
COMMENT ON COLUMN nebula.peer_status.sent_bytes IS 'Bytes sent to it';
COMMENT ON COLUMN nebula.peer_status.public_key IS 'Its public key, base64';
COMMENT ON COLUMN nebula.peer_status.file_name IS 'Name of its .conf without the ending';
COMMENT ON COLUMN nebula.peer_status.created_by IS 'User who created it';
COMMENT ON COLUMN nebula.peer_status.created_at IS 'When';
COMMENT ON COLUMN nebula.peer_status.project_id IS 'The project';
COMMENT ON COLUMN nebula.peer_status.peer_id IS 'The peer';
COMMENT ON COLUMN nebula.peer_status.node_id IS 'The node that serves it; null: this server';
