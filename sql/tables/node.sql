-- A node is a server that hosts peers and workers.
CREATE TABLE nebula.node (
  node_id         uuid             NOT NULL DEFAULT gen_random_uuid(),
  name            text             NOT NULL,
  project_id      uuid             REFERENCES nebula.project,
  local           boolean          NOT NULL DEFAULT false,
  device_id       uuid             REFERENCES nebula.device ON DELETE SET NULL,
  device_gone     text,
  endpoint        text             NOT NULL,
  weight          integer          NOT NULL DEFAULT 100,
  max_peers       integer          NOT NULL DEFAULT 100,
  soft_max_peers  integer,
  active_peers    integer          NOT NULL DEFAULT 0,
  cidr            cidr,
  capabilities    text[]           NOT NULL DEFAULT '{}',
  labels          jsonb            NOT NULL DEFAULT '{}',
  enabled         boolean          NOT NULL DEFAULT true,
  desired_state   text             NOT NULL DEFAULT 'active',
  repair          boolean          NOT NULL DEFAULT true,
  obstacles       text[]           NOT NULL DEFAULT '{}',
  health          jsonb,
  seen_at         timestamptz,
  synced_at       timestamptz,
  synced_version  bigint           NOT NULL DEFAULT 0,
  alarms          text[]           NOT NULL DEFAULT '{}',
  created_at      timestamptz      NOT NULL DEFAULT now(),
  score           double precision NOT NULL
                  GENERATED ALWAYS AS (active_peers::double precision / max_peers / weight) STORED,
  -- The score is at most 1, so a node that has reached its soft limit comes after all others.
  rank            double precision NOT NULL
                  GENERATED ALWAYS AS (active_peers::double precision / max_peers / weight
                                       + CASE WHEN active_peers >= soft_max_peers THEN 1000 ELSE 0 END) STORED,
  -- Indexed instead of the rank, so that most seats change no index (HOT) and sessions do not wait for its pages.
  rank_step       integer          NOT NULL DEFAULT 16,
  rank_bound      double precision NOT NULL
                  GENERATED ALWAYS AS (CASE
                                         WHEN active_peers >= max_peers THEN 'Infinity'
                                         ELSE (active_peers - active_peers % rank_step)::double precision
                                              / max_peers / weight
                                              + CASE
                                                  WHEN active_peers - active_peers % rank_step >= soft_max_peers
                                                  THEN 1000
                                                  ELSE 0
                                                END
                                       END) STORED,
  CONSTRAINT node_pkey PRIMARY KEY (node_id),
  CONSTRAINT node_name_key UNIQUE (name),
  CONSTRAINT node_device_key UNIQUE (device_id),
  -- Ranges of nodes do not overlap.
  CONSTRAINT node_cidr_excl EXCLUDE USING gist (cidr inet_ops WITH &&),
  CONSTRAINT node_name_check CHECK (nebula.is_name(name)),
  CONSTRAINT node_endpoint_check CHECK (
    endpoint ~ '^(\[[0-9a-fA-F:.]+\]|[^][\s:]+):[0-9]{1,5}$' OR local AND endpoint = ''),
  CONSTRAINT node_local_check CHECK (NOT local OR project_id IS NOT NULL),
  CONSTRAINT node_weight_check CHECK (weight BETWEEN 1 AND 10000),
  CONSTRAINT node_max_peers_check CHECK (max_peers BETWEEN 1 AND 1000000),
  CONSTRAINT node_soft_max_peers_check CHECK (soft_max_peers BETWEEN 1 AND 1000000),
  CONSTRAINT node_active_peers_check CHECK (active_peers BETWEEN 0 AND max_peers),
  CONSTRAINT node_rank_step_check CHECK (rank_step >= 1),
  CONSTRAINT node_labels_check CHECK (jsonb_typeof(labels) = 'object'),
  CONSTRAINT node_device_gone_check CHECK (device_gone IN ('revoked', 'removed')),
  CONSTRAINT node_state_check CHECK (desired_state IN ('active', 'draining', 'disabled')),
  -- A trigger derives it.
  CONSTRAINT node_enabled_check CHECK (enabled = (desired_state = 'active'))
) WITH (fillfactor = 50);
-- Placement: the lowest rank among nodes with room. The name breaks ties, so that the result is deterministic, byte by
-- byte, whatever the locale. The condition does not name active_peers, which would put it into the index.
CREATE INDEX node_rank_idx ON nebula.node (project_id, rank_bound, name COLLATE "C")
  WHERE enabled AND desired_state = 'active' AND NOT local AND device_gone IS NULL;
-- This server itself, for the peers of a project that it hosts.
CREATE UNIQUE INDEX node_local_key ON nebula.node (project_id) WHERE local;
-- Endpoints that are addresses of a network; byte by byte, whatever the locale.
CREATE INDEX node_endpoint_idx ON nebula.node (endpoint COLLATE "C");
SELECT pg_catalog.pg_extension_config_dump('nebula.node', '');

COMMENT ON TABLE nebula.node IS 'Servers that host peers and workers';
COMMENT ON COLUMN nebula.node.node_id IS 'Identifier';
COMMENT ON COLUMN nebula.node.name IS 'Unique name';
COMMENT ON COLUMN nebula.node.project_id IS
  'Project whose peers it hosts: that of its device; null: of any, as long as it has no device';
COMMENT ON COLUMN nebula.node.local IS
  'This server itself: hosts the peers that no other node is chosen for, and is not among the nodes to choose from';
COMMENT ON COLUMN nebula.node.device_id IS
  'Device whose agent reports its health and signs every call with its secret; null: none';
COMMENT ON COLUMN nebula.node.device_gone IS
  'revoked or removed: that was its device, so it takes no peers until it is tied again; null: neither';
COMMENT ON COLUMN nebula.node.endpoint IS
  'host:port of its WireGuard on the underlay; empty: not known yet, for a local node';
COMMENT ON COLUMN nebula.node.weight IS 'Relative strength, 1 to 10000: twice the weight, twice the peers';
COMMENT ON COLUMN nebula.node.max_peers IS 'Most peers it may host';
COMMENT ON COLUMN nebula.node.soft_max_peers IS
  'From this number of peers on others are preferred, and an alarm is raised; null: no such limit';
COMMENT ON COLUMN nebula.node.active_peers IS
  'Seats taken: its placements, including those that its agent has not yet confirmed as removed';
COMMENT ON COLUMN nebula.node.cidr IS 'Range its peers get their addresses from';
COMMENT ON COLUMN nebula.node.capabilities IS 'Capabilities, for example gpu';
COMMENT ON COLUMN nebula.node.labels IS 'Labels: an object of texts, for example {"region": "eu"}';
COMMENT ON COLUMN nebula.node.enabled IS 'Whether desired_state is active; written alone, it sets active or disabled';
COMMENT ON COLUMN nebula.node.desired_state IS
  'active; draining: takes no new peers and is being emptied; disabled: takes no new peers';
COMMENT ON COLUMN nebula.node.repair IS
  'Whether its agent mends differences between the interfaces and what is wanted; false: it reports them';
COMMENT ON COLUMN nebula.node.obstacles IS
  'What keeps the machine from forwarding, as its agent found it, each with the command that helps';
COMMENT ON COLUMN nebula.node.health IS 'Last report of its agent';
COMMENT ON COLUMN nebula.node.seen_at IS
  'When that report came; null: never, the node is trusted as registered';
COMMENT ON COLUMN nebula.node.synced_at IS
  'Time in the last report of its interfaces that was accepted: an older one, or the same again, is refused';
COMMENT ON COLUMN nebula.node.synced_version IS
  'Configuration of the project that the last answer to such a report was made from';
COMMENT ON COLUMN nebula.node.alarms IS
  'Conditions that are on record as events and not over: late, lost, crowded, full, old-secret';
COMMENT ON COLUMN nebula.node.created_at IS 'When it was registered';
COMMENT ON COLUMN nebula.node.score IS '(active_peers / max_peers) / weight: lowest is chosen';
COMMENT ON COLUMN nebula.node.rank IS 'Order of placement: the score, and 1000 more from the soft limit on';
COMMENT ON COLUMN nebula.node.rank_step IS
  'Seats after which rank_bound changes: 1 where many nodes have to be told apart, set by maintain_peers';
COMMENT ON COLUMN nebula.node.rank_bound IS
  'Lower bound of rank: of active_peers rounded down to a multiple of rank_step; infinite: no seat is free';
