-- Nodes with their score, and the reason if a node takes no peers.
CREATE VIEW nebula.node_status AS
SELECT s.name, n.endpoint, s.active_peers, s.max_peers, s.weight, s.score, s.eligible, s.reason, n.cidr,
       n.capabilities, n.seen_at, n.health, n.node_id, d.name AS device,
       (SELECT count(*)
          FROM nebula.node_secret k
         WHERE k.node_id = n.node_id
           AND k.retired_at IS NULL) AS secrets
  FROM nebula.node_scores() s
  JOIN nebula.node n USING (node_id)
  LEFT JOIN nebula.device d USING (device_id);

COMMENT ON VIEW nebula.node_status IS 'Nodes with score and health';
COMMENT ON COLUMN nebula.node_status.name IS 'Name';
COMMENT ON COLUMN nebula.node_status.endpoint IS 'host:port of its WireGuard on the underlay';
COMMENT ON COLUMN nebula.node_status.active_peers IS 'Peers it hosts';
COMMENT ON COLUMN nebula.node_status.max_peers IS 'Peers it may host';
COMMENT ON COLUMN nebula.node_status.weight IS 'Relative strength';
COMMENT ON COLUMN nebula.node_status.score IS '(active_peers / max_peers) / weight: lowest is chosen';
COMMENT ON COLUMN nebula.node_status.eligible IS 'Takes peers';
COMMENT ON COLUMN nebula.node_status.reason IS 'Why it takes none';
COMMENT ON COLUMN nebula.node_status.cidr IS 'Range of its peers';
COMMENT ON COLUMN nebula.node_status.capabilities IS 'Capabilities';
COMMENT ON COLUMN nebula.node_status.seen_at IS 'Last report; null: never';
COMMENT ON COLUMN nebula.node_status.health IS 'Last report of its health';
COMMENT ON COLUMN nebula.node_status.node_id IS 'The node';
COMMENT ON COLUMN nebula.node_status.device IS 'Device whose agent reports for it';
COMMENT ON COLUMN nebula.node_status.secrets IS
  'Secrets its calls may be signed with: one, two while they are exchanged, none before the first';
