-- A WireGuard interface of a node. Its generation counts the changes of what is wanted on it; its agent acknowledges a
-- generation after it has read back what it applied.
CREATE TABLE nebula.node_interface (
  interface_id             uuid        NOT NULL DEFAULT gen_random_uuid(),
  node_id                  uuid        NOT NULL REFERENCES nebula.node ON DELETE CASCADE,
  name                     text        NOT NULL DEFAULT 'wg0',
  listen_port              integer     NOT NULL DEFAULT 51820,
  endpoint                 text,
  public_key               bytea,
  mtu                      integer     NOT NULL DEFAULT 1280,
  dns                      inet[]      NOT NULL DEFAULT '{}',
  keepalive                integer     NOT NULL DEFAULT 25,
  generation               bigint      NOT NULL DEFAULT 1,
  acknowledged_generation  bigint      NOT NULL DEFAULT 0,
  acknowledged_at          timestamptz,
  error                    text,
  CONSTRAINT node_interface_pkey PRIMARY KEY (interface_id),
  CONSTRAINT node_interface_name_key UNIQUE (node_id, name),
  CONSTRAINT node_interface_port_key UNIQUE (node_id, listen_port),
  -- The others are Linux's own: no link can be called so, and settings of "all" hold for every link.
  CONSTRAINT node_interface_name_check CHECK (
    name ~ '^[a-z0-9][a-z0-9-]{0,14}$' AND name NOT IN ('lo', 'all', 'default')),
  CONSTRAINT node_interface_port_check CHECK (listen_port BETWEEN 1 AND 65535),
  CONSTRAINT node_interface_endpoint_check CHECK (
    endpoint ~ '^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]{0,252}):[0-9]{1,5}$'),
  CONSTRAINT node_interface_key_check CHECK (octet_length(public_key) = 32),
  CONSTRAINT node_interface_mtu_check CHECK (mtu BETWEEN 1280 AND 9000),
  CONSTRAINT node_interface_keepalive_check CHECK (keepalive BETWEEN 0 AND 65535)
) WITH (fillfactor = 50);
SELECT pg_catalog.pg_extension_config_dump('nebula.node_interface', '');

COMMENT ON TABLE nebula.node_interface IS 'WireGuard interfaces of nodes';
COMMENT ON COLUMN nebula.node_interface.interface_id IS 'Identifier';
COMMENT ON COLUMN nebula.node_interface.node_id IS 'The node';
COMMENT ON COLUMN nebula.node_interface.name IS 'Name of the link on the node';
COMMENT ON COLUMN nebula.node_interface.listen_port IS 'UDP port';
COMMENT ON COLUMN nebula.node_interface.endpoint IS
  'host:port that peers connect to; null: that of the node, for an interface of its own with its own port';
COMMENT ON COLUMN nebula.node_interface.public_key IS
  'Its public key, as told by the agent, which made the private one; null: not told yet';
COMMENT ON COLUMN nebula.node_interface.mtu IS 'MTU, also of its peers';
COMMENT ON COLUMN nebula.node_interface.dns IS 'Resolvers that its peers get';
COMMENT ON COLUMN nebula.node_interface.keepalive IS
  'Seconds after which an idle peer sends a packet, so that routers on its way keep it reachable; 0: never';
COMMENT ON COLUMN nebula.node_interface.generation IS 'Number of the last change of what is wanted on it';
COMMENT ON COLUMN nebula.node_interface.acknowledged_generation IS
  'Last generation that its agent has applied and read back';
COMMENT ON COLUMN nebula.node_interface.acknowledged_at IS 'When that was last reported';
COMMENT ON COLUMN nebula.node_interface.error IS 'Why it does not run, as its agent reported; null: it runs';
