-- A node is a server that hosts peers and workers.
CREATE TABLE nebula.node (
  node_id       uuid             NOT NULL DEFAULT gen_random_uuid(),
  name          text             NOT NULL,
  device_id     uuid             REFERENCES nebula.device ON DELETE SET NULL,
  endpoint      text             NOT NULL,
  weight        integer          NOT NULL DEFAULT 100,
  max_peers     integer          NOT NULL DEFAULT 100,
  active_peers  integer          NOT NULL DEFAULT 0,
  cidr          cidr,
  capabilities  text[]           NOT NULL DEFAULT '{}',
  enabled       boolean          NOT NULL DEFAULT true,
  health        jsonb,
  seen_at       timestamptz,
  created_at    timestamptz      NOT NULL DEFAULT now(),
  -- Stored and indexed, so that choosing a node is one index lookup.
  score         double precision NOT NULL
                GENERATED ALWAYS AS (active_peers::double precision / max_peers / weight) STORED,
  CONSTRAINT node_pkey PRIMARY KEY (node_id),
  CONSTRAINT node_name_key UNIQUE (name),
  CONSTRAINT node_device_key UNIQUE (device_id),
  -- Ranges of nodes do not overlap.
  CONSTRAINT node_cidr_excl EXCLUDE USING gist (cidr inet_ops WITH &&),
  CONSTRAINT node_name_check CHECK (name ~ '^[[:alnum:]][[:alnum:]._-]{0,62}$'),
  CONSTRAINT node_endpoint_check CHECK (endpoint ~ '^(\[[0-9a-fA-F:.]+\]|[^][\s:]+):[0-9]{1,5}$'),
  CONSTRAINT node_weight_check CHECK (weight BETWEEN 1 AND 10000),
  CONSTRAINT node_max_peers_check CHECK (max_peers BETWEEN 1 AND 1000000),
  CONSTRAINT node_active_peers_check CHECK (active_peers BETWEEN 0 AND max_peers)
);
-- Placement: the lowest score among nodes with room. The name breaks ties, so that the choice is deterministic.
CREATE INDEX node_choice_idx ON nebula.node (score, name) WHERE enabled AND active_peers < max_peers;
SELECT pg_catalog.pg_extension_config_dump('nebula.node', '');

COMMENT ON TABLE nebula.node IS 'Servers that host peers and workers';
COMMENT ON COLUMN nebula.node.node_id IS 'Identifier';
COMMENT ON COLUMN nebula.node.name IS 'Unique name';
COMMENT ON COLUMN nebula.node.device_id IS
  'Device whose agent reports its health and signs every call with its secret; null: none';
COMMENT ON COLUMN nebula.node.endpoint IS 'host:port of its WireGuard on the underlay';
COMMENT ON COLUMN nebula.node.weight IS 'Relative strength, 1 to 10000: twice the weight, twice the peers';
COMMENT ON COLUMN nebula.node.max_peers IS 'Most peers it may host';
COMMENT ON COLUMN nebula.node.active_peers IS 'Peers it hosts now';
COMMENT ON COLUMN nebula.node.cidr IS 'Range its peers get their addresses from';
COMMENT ON COLUMN nebula.node.capabilities IS 'Capabilities, for example gpu';
COMMENT ON COLUMN nebula.node.enabled IS 'False: takes no new peers';
COMMENT ON COLUMN nebula.node.health IS 'Last report of its agent';
COMMENT ON COLUMN nebula.node.seen_at IS
  'When that report came; null: never, the node is trusted as registered';
COMMENT ON COLUMN nebula.node.created_at IS 'When it was registered';
COMMENT ON COLUMN nebula.node.score IS '(active_peers / max_peers) / weight: lowest is chosen';
