-- A project is one isolated overlay network: its pools, its devices, its files.
CREATE TABLE nebula.project (
  project_id            uuid        NOT NULL DEFAULT gen_random_uuid(),
  name                  text        NOT NULL,
  cidr                  cidr,
  created_at            timestamptz NOT NULL DEFAULT now(),
  -- Options of the configuration of all devices. Columns, not a table of their own, so that every project has them.
  config_version        bigint      NOT NULL DEFAULT 1,
  certificate_lifetime  interval,
  certificate_versions  smallint[]  NOT NULL DEFAULT '{1,2}',
  mtu                   integer     NOT NULL DEFAULT 1300,
  cipher                text        NOT NULL DEFAULT 'aes',
  punchy                boolean     NOT NULL DEFAULT true,
  dns_port              integer,
  inbound               text        NOT NULL DEFAULT 'open',
  outbound              text        NOT NULL DEFAULT 'open',
  -- Options of Syncthing for the shared folder; null: its own default. There is none for the block size, which
  -- Syncthing always chooses by the size of each file.
  sync_pending_kib      integer,
  sync_hashers          integer,
  sync_writes           integer,
  sync_order            text,
  sync_connections      integer,
  member_reach          text        NOT NULL DEFAULT 'overlay',
  dns_domain            text,
  CONSTRAINT project_pkey PRIMARY KEY (project_id),
  CONSTRAINT project_name_key UNIQUE (name),
  CONSTRAINT project_name_check CHECK (nebula.is_label(name)),
  CONSTRAINT project_lifetime_check CHECK (certificate_lifetime BETWEEN interval '1 minute' AND interval '10 years'),
  CONSTRAINT project_versions_check CHECK (certificate_versions IN ('{1}', '{2}', '{1,2}')),
  CONSTRAINT project_mtu_check CHECK (mtu BETWEEN 576 AND 9001),
  CONSTRAINT project_cipher_check CHECK (cipher IN ('aes', 'chachapoly')),
  CONSTRAINT project_dns_check CHECK (dns_port BETWEEN 1 AND 65535),
  CONSTRAINT project_stance_check CHECK (inbound IN ('open', 'closed') AND outbound IN ('open', 'closed')),
  -- Outside of these ranges Syncthing silently uses another value.
  CONSTRAINT project_sync_check CHECK (
    sync_pending_kib BETWEEN 16384 AND 4194304 AND sync_hashers BETWEEN 1 AND 256 AND sync_writes BETWEEN 1 AND 64
    AND sync_order IN ('standard', 'random', 'inOrder') AND sync_connections BETWEEN 1 AND 128),
  CONSTRAINT project_reach_check CHECK (member_reach IN ('overlay', 'internet')),
  -- Names below local are looked up by multicast.
  CONSTRAINT project_domain_check CHECK (
    dns_domain ~ '^(?!(.*\.)?local$)(?=.{1,253}$)'
                 '([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$')
);
SELECT pg_catalog.pg_extension_config_dump('nebula.project', '');

COMMENT ON TABLE nebula.project IS 'An isolated overlay network with its pools, devices and files';
COMMENT ON COLUMN nebula.project.project_id IS 'Identifier used by every function and route';
COMMENT ON COLUMN nebula.project.name IS
  'Unique name: a letter or digit, then up to 62 letters, digits, spaces, dots, underscores or dashes';
COMMENT ON COLUMN nebula.project.cidr IS
  'The whole overlay; every pool of its address family lies inside it and host certificates carry its '
  'prefix length. Pools of the other family, and all without it, stand for themselves';
COMMENT ON COLUMN nebula.project.created_at IS 'When the project was made';
COMMENT ON COLUMN nebula.project.config_version IS
  'Counts up with whatever changes what its devices must run; agents acknowledge it';
COMMENT ON COLUMN nebula.project.certificate_lifetime IS
  'How long device certificates are valid, cut to the end of the authority; null: what the gateway is '
  'set to';
COMMENT ON COLUMN nebula.project.certificate_versions IS
  'Encodings a device gets: {1}, {2} or {1,2}; nebula before 1.10 reads version 1 only';
COMMENT ON COLUMN nebula.project.mtu IS 'MTU of the overlay interface';
COMMENT ON COLUMN nebula.project.cipher IS
  'aes or chachapoly; must be the same everywhere, so a change cuts devices off until all run it';
COMMENT ON COLUMN nebula.project.punchy IS 'Whether devices keep holes in their routers open';
COMMENT ON COLUMN nebula.project.dns_port IS
  'UDP port on which lighthouses answer DNS for device names; null: none';
COMMENT ON COLUMN nebula.project.inbound IS
  'open: devices take everything from members; closed: ping, and what firewall rules let in';
COMMENT ON COLUMN nebula.project.outbound IS
  'open: devices send anything to members; closed: only what firewall rules let out';
COMMENT ON COLUMN nebula.project.sync_pending_kib IS
  'KiB that a Syncthing asks for before the first of them has come (pullerMaxPendingKiB): more for fast '
  'and distant devices';
COMMENT ON COLUMN nebula.project.sync_hashers IS
  'Files it hashes at a time (hashers): fewer leave processors to others';
COMMENT ON COLUMN nebula.project.sync_writes IS
  'Writes at a time while it fetches (maxConcurrentWrites): more for solid state, fewer for disks that '
  'turn';
COMMENT ON COLUMN nebula.project.sync_order IS
  'Blocks it asks for first (blockPullOrder): standard, random or inOrder, with which a film can be '
  'begun before it is whole';
COMMENT ON COLUMN nebula.project.sync_connections IS
  'Connections between two devices (numConnections), from Syncthing 1.25 on';
COMMENT ON COLUMN nebula.project.member_reach IS
  'How far members may let their peers reach: overlay; internet: public addresses, too. Administrators may let peers '
  'reach everything';
COMMENT ON COLUMN nebula.project.dns_domain IS
  'Domain of the names of devices: the resolver of a device asks the lighthouses for names below it, and for no '
  'others; null: no resolver is changed';

-- Which account may act in which project. Administrators may act in all and need no row.
CREATE TABLE nebula.project_member (
  project_id  uuid        NOT NULL REFERENCES nebula.project ON DELETE CASCADE,
  account_id  uuid        NOT NULL REFERENCES nebula.account ON DELETE CASCADE,
  added_at    timestamptz NOT NULL DEFAULT now(),
  role        text        NOT NULL DEFAULT 'member',
  CONSTRAINT project_member_pkey PRIMARY KEY (project_id, account_id),
  CONSTRAINT project_member_role_check CHECK (role IN ('viewer', 'member', 'admin', 'owner'))
);
-- "Which projects are mine?", asked by every listing.
CREATE INDEX project_member_account_idx ON nebula.project_member (account_id);
SELECT pg_catalog.pg_extension_config_dump('nebula.project_member', '');

COMMENT ON TABLE nebula.project_member IS
  'Membership of accounts in projects, each with a role';
COMMENT ON COLUMN nebula.project_member.project_id IS 'The project';
COMMENT ON COLUMN nebula.project_member.account_id IS 'The account that may act in it';
COMMENT ON COLUMN nebula.project_member.added_at IS 'Since when';
COMMENT ON COLUMN nebula.project_member.role IS
  'viewer, member, admin or owner; nebula.permission lists what each may do';
