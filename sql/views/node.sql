-- Nodes with their score, and the reason if a node takes no peers.
CREATE VIEW nebula.node_status AS
SELECT n.name, n.endpoint, n.active_peers, n.max_peers, n.weight, n.score, coalesce(s.eligible, true) AS eligible,
       s.reason, n.cidr, n.capabilities, n.seen_at, n.health, n.node_id, d.name AS device,
       (SELECT count(*)
          FROM nebula.node_secret k
         WHERE k.node_id = n.node_id
           AND k.retired_at IS NULL) AS secrets,
       nebula.node_health(n.seen_at) AS state, n.desired_state, n.soft_max_peers, n.labels, n.repair, n.obstacles,
       (SELECT count(*)
          FROM nebula.node_interface i
          JOIN nebula.placement p USING (interface_id)
         WHERE i.node_id = n.node_id
           AND p.applied_generation < p.generation) AS unconfirmed,
       (SELECT count(*)
          FROM nebula.node_interface i
          JOIN nebula.drift t USING (interface_id)
         WHERE i.node_id = n.node_id) AS drift,
       (SELECT string_agg(i.error, '; ' ORDER BY i.name)
          FROM nebula.node_interface i
         WHERE i.node_id = n.node_id) AS error,
       n.enabled AND n.desired_state = 'active' AS enabled, n.local, j.name AS project, n.project_id, n.device_id,
       n.synced_at
  FROM nebula.node n
  LEFT JOIN nebula.node_scores() s USING (node_id)
  LEFT JOIN nebula.device d ON d.device_id = n.device_id
  LEFT JOIN nebula.project j ON j.project_id = n.project_id;

COMMENT ON VIEW nebula.node_status IS 'Nodes with score, state and health';
COMMENT ON COLUMN nebula.node_status.name IS 'Name';
COMMENT ON COLUMN nebula.node_status.endpoint IS 'host:port of its WireGuard on the underlay';
COMMENT ON COLUMN nebula.node_status.active_peers IS 'Seats taken: peers it hosts, and those it has to let go yet';
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
COMMENT ON COLUMN nebula.node_status.state IS
  'healthy, late or lost, by the age of the last report; unknown: it never reported';
COMMENT ON COLUMN nebula.node_status.desired_state IS 'active, draining or disabled, as set by an administrator';
COMMENT ON COLUMN nebula.node_status.soft_max_peers IS 'Peers from which on others are preferred';
COMMENT ON COLUMN nebula.node_status.labels IS 'Labels';
COMMENT ON COLUMN nebula.node_status.repair IS 'Whether its agent mends what differs on its interfaces';
COMMENT ON COLUMN nebula.node_status.obstacles IS 'What keeps the machine from forwarding';
COMMENT ON COLUMN nebula.node_status.unconfirmed IS 'Changes of peers that its agent has not confirmed';
COMMENT ON COLUMN nebula.node_status.drift IS 'Differences between its interfaces and what is wanted';
COMMENT ON COLUMN nebula.node_status.error IS 'Why interfaces do not run';
COMMENT ON COLUMN nebula.node_status.enabled IS 'Whether an administrator lets it take new peers';
COMMENT ON COLUMN nebula.node_status.local IS 'This server itself';
COMMENT ON COLUMN nebula.node_status.project IS 'Name of its project; null: of any';
COMMENT ON COLUMN nebula.node_status.project_id IS 'Its project';
COMMENT ON COLUMN nebula.node_status.device_id IS 'That device';
COMMENT ON COLUMN nebula.node_status.synced_at IS 'Last report of its interfaces; null: never';
