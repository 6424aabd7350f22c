-- Peers: where they are, whether they can connect, their traffic; and what differs on the interfaces of their nodes.
--   psql -f sql/admin/peers.sql                        all
--   psql -v project=home -f sql/admin/peers.sql        of one project, by name
--   psql -v node=berlin -f sql/admin/peers.sql         of one node, by name
\if :{?project}
\else
  \set project ''
\endif
\if :{?node}
\else
  \set node ''
\endif
\pset footer off
\pset null '-'

SELECT s.project, s.name AS peer, s.addresses[1] AS address, coalesce(s.node, 'this server') AS node, s.moving_to,
       s.state, s.reason, date_trunc('second', now() - s.handshake_at) AS "last handshake, ago",
       pg_size_pretty(s.received_bytes) || ' / ' || pg_size_pretty(s.sent_bytes) AS "received / sent",
       CASE WHEN s.config_outdated THEN 'outdated' END AS ".conf"
  FROM nebula.peer_status s
 WHERE :'project' IN ('', s.project)
   AND :'node' IN ('', s.node)
 ORDER BY s.project, s.name;

SELECT n.name AS node, i.name AS interface, n.active_peers || '/' || n.max_peers AS seats,
       nebula.node_health(n.seen_at) AS health, n.desired_state AS wanted,
       i.acknowledged_generation || '/' || i.generation AS confirmed, i.error,
       (SELECT string_agg(l.cidr::text, ' ' ORDER BY l.pool_id)
          FROM nebula.pool l
         WHERE l.interface_id = i.interface_id) AS pools
  FROM nebula.node n
  JOIN nebula.node_interface i USING (node_id)
 WHERE :'node' IN ('', n.name)
 ORDER BY n.name, i.name;

SELECT n.name AS node, i.name AS interface, t.kind AS differs, coalesce(e.name, t.public_key) AS peer,
       array_to_string(t.allowed_ips, ' ') AS "allowed IPs", date_trunc('second', now() - t.first_seen_at) AS since
  FROM nebula.drift t
  JOIN nebula.node_interface i USING (interface_id)
  JOIN nebula.node n USING (node_id)
  LEFT JOIN nebula.peer e ON e.public_key = decode(t.public_key, 'base64') AND e.project_id = n.project_id
 WHERE :'node' IN ('', n.name)
 ORDER BY n.name, t.first_seen_at;
