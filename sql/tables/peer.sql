-- A peer is a WireGuard client: a phone, a television, a router. It reaches the overlay through a node. Its addresses
-- are rows of nebula.allocation with its identifier, from pools of peers.
-- No foreign key to the project: checking it would lock the same row in every session that creates a peer.
CREATE TABLE nebula.peer (
  peer_id             uuid        NOT NULL DEFAULT gen_random_uuid(),
  project_id          uuid        NOT NULL,
  name                text        NOT NULL,
  file_name           text        NOT NULL,
  public_key          bytea       NOT NULL,
  preshared_key       bytea,
  reach               text        NOT NULL DEFAULT 'overlay',
  networks            cidr[]      NOT NULL DEFAULT '{}',
  groups              text[]      NOT NULL DEFAULT '{}',
  disabled_at         timestamptz,
  disabled_by_admin   boolean     NOT NULL DEFAULT false,
  expires_at          timestamptz,
  admin_expires_at    timestamptz,
  expired_at          timestamptz,
  removed_at          timestamptz,
  creator_id          uuid        REFERENCES nebula.account ON DELETE SET NULL,
  made_by_sql         boolean     NOT NULL DEFAULT false,
  created_by          text        NOT NULL,
  created_at          timestamptz NOT NULL DEFAULT now(),
  config_fingerprint  bytea,
  received_bytes      bigint      NOT NULL DEFAULT 0,
  sent_bytes          bigint      NOT NULL DEFAULT 0,
  CONSTRAINT peer_pkey PRIMARY KEY (peer_id),
  -- Also of a peer that is being removed: an interface tells its peers apart by their keys.
  CONSTRAINT peer_public_key_key UNIQUE (project_id, public_key),
  CONSTRAINT peer_name_check CHECK (nebula.is_label(name)),
  CONSTRAINT peer_file_name_check CHECK (file_name ~ '^[a-z0-9][a-z0-9-]{0,14}$'),
  CONSTRAINT peer_key_check CHECK (octet_length(public_key) = 32),
  CONSTRAINT peer_preshared_key_check CHECK (octet_length(preshared_key) = 32),
  CONSTRAINT peer_reach_check CHECK (reach IN ('overlay', 'all', 'listed')),
  CONSTRAINT peer_networks_check CHECK ((reach = 'listed') = (networks <> '{}')),
  CONSTRAINT peer_disabled_check CHECK (NOT disabled_by_admin OR disabled_at IS NOT NULL),
  CONSTRAINT peer_expiry_check CHECK (nebula.is_time(expires_at)),
  CONSTRAINT peer_admin_expiry_check CHECK (
    coalesce(expires_at, 'infinity') <= coalesce(admin_expires_at, 'infinity')),
  CONSTRAINT peer_creator_check CHECK (octet_length(created_by) <= nebula.text_limit('actor'))
);
-- Names of those that are not being removed.
-- Small and capital letters of ASCII are the same, which they are in every locale that a dump is restored into.
CREATE UNIQUE INDEX peer_name_key ON nebula.peer (project_id, lower(name COLLATE "C")) WHERE removed_at IS NULL;
CREATE UNIQUE INDEX peer_file_name_key ON nebula.peer (project_id, file_name) WHERE removed_at IS NULL;
-- Finds the peers whose expiry has not been passed on to their nodes yet, the next to expire first.
CREATE INDEX peer_expiry_idx ON nebula.peer (expires_at)
  WHERE expires_at IS DISTINCT FROM expired_at AND removed_at IS NULL;
-- Removed ones, until their nodes have confirmed that they no longer have them.
CREATE INDEX peer_removed_idx ON nebula.peer (peer_id) WHERE removed_at IS NOT NULL;
-- Read for each report of a node: the peers that firewall rules may name by a group, and the peers that may reach more
-- than the overlay.
CREATE INDEX peer_groups_idx ON nebula.peer (project_id) WHERE groups <> '{}';
CREATE INDEX peer_reach_idx ON nebula.peer (project_id) WHERE reach <> 'overlay';
SELECT pg_catalog.pg_extension_config_dump('nebula.peer', '');

COMMENT ON TABLE nebula.peer IS 'WireGuard clients that reach an overlay through a node';
COMMENT ON COLUMN nebula.peer.peer_id IS 'Identifier, chosen by the caller or random; also the holder of its addresses';
COMMENT ON COLUMN nebula.peer.project_id IS 'Its project';
COMMENT ON COLUMN nebula.peer.name IS
  'Unique in the project: a letter or digit, then up to 62 letters, digits, spaces, dots, underscores or dashes';
COMMENT ON COLUMN nebula.peer.file_name IS
  'Name of its .conf without the ending, unique in the project and short enough for every WireGuard client';
COMMENT ON COLUMN nebula.peer.public_key IS 'Its public key; its owner has the private one';
COMMENT ON COLUMN nebula.peer.preshared_key IS 'Key that its node and its .conf share in addition; null: none';
COMMENT ON COLUMN nebula.peer.reach IS
  'What it sends into the tunnel: overlay (with what is behind devices), all, or the listed networks';
COMMENT ON COLUMN nebula.peer.networks IS 'The networks of reach listed';
COMMENT ON COLUMN nebula.peer.groups IS 'Groups that firewall rules name; its node enforces them';
COMMENT ON COLUMN nebula.peer.disabled_at IS 'Set: its node refuses it';
COMMENT ON COLUMN nebula.peer.disabled_by_admin IS
  'An administrator disabled it: the account that it belongs to can neither enable nor remove it';
COMMENT ON COLUMN nebula.peer.expires_at IS 'From then on its node refuses it; null: never';
COMMENT ON COLUMN nebula.peer.admin_expires_at IS
  'The expires_at that an administrator set last: the account that it belongs to can set an earlier one, no later one, '
  'and cannot remove it afterwards; null: none';
COMMENT ON COLUMN nebula.peer.expired_at IS
  'The expires_at that has passed and that its nodes have been told of; null: none yet';
COMMENT ON COLUMN nebula.peer.removed_at IS
  'Set: removed; the row goes when its nodes have confirmed that they no longer have it';
COMMENT ON COLUMN nebula.peer.creator_id IS
  'Account that it belongs to: created it, and may change it; null: administrators alone may';
COMMENT ON COLUMN nebula.peer.made_by_sql IS
  'A user of SQL created it, for no account; false and creator_id null: its account was deleted';
COMMENT ON COLUMN nebula.peer.created_by IS 'User who created it, as named by the caller; gives no right to change it';
COMMENT ON COLUMN nebula.peer.created_at IS 'When';
COMMENT ON COLUMN nebula.peer.config_fingerprint IS
  'SHA-256 of the .conf that was handed out last, without private key; null: none was';
COMMENT ON COLUMN nebula.peer.received_bytes IS 'Bytes received from it by nodes that no longer have it';
COMMENT ON COLUMN nebula.peer.sent_bytes IS 'Bytes sent to it by those';
