-- A peer on an interface. The wanted state is here, the reported one in placement_seen, so that a report never changes
-- what is wanted.
CREATE TABLE nebula.placement (
  peer_id             uuid        NOT NULL REFERENCES nebula.peer,
  interface_id        uuid        NOT NULL REFERENCES nebula.node_interface,
  role                text        NOT NULL DEFAULT 'serving',
  wanted              text        NOT NULL DEFAULT 'present',
  generation          bigint      NOT NULL,
  applied_generation  bigint      NOT NULL DEFAULT 0,
  placed_at           timestamptz NOT NULL DEFAULT now(),
  deadline            timestamptz,
  refused_at          timestamptz,
  refused_reason      text,
  CONSTRAINT placement_pkey PRIMARY KEY (peer_id, interface_id),
  CONSTRAINT placement_role_check CHECK (role IN ('serving', 'target', 'leaving')),
  CONSTRAINT placement_wanted_check CHECK (wanted IN ('present', 'blocked', 'absent')),
  CONSTRAINT placement_leaving_check CHECK ((role = 'leaving') = (wanted = 'absent')),
  CONSTRAINT placement_refused_check CHECK ((refused_at IS NULL) = (refused_reason IS NULL))
);
-- One node serves a peer, and it moves to one at a time.
CREATE UNIQUE INDEX placement_role_key ON nebula.placement (peer_id, role) WHERE role <> 'leaving';
-- The changes of an interface since a generation, and how many peers it is to have.
CREATE INDEX placement_interface_idx ON nebula.placement (interface_id, generation) INCLUDE (wanted);
-- Each report asks for these, and mostly there are none: peers that come or go, and changes that are not confirmed.
CREATE INDEX placement_moving_idx ON nebula.placement (interface_id) WHERE role <> 'serving';
CREATE INDEX placement_unconfirmed_idx ON nebula.placement (interface_id) WHERE applied_generation < generation;
-- Placements that are withdrawn if their node does not apply them in time.
CREATE INDEX placement_deadline_idx ON nebula.placement (deadline) WHERE deadline IS NOT NULL;
SELECT pg_catalog.pg_extension_config_dump('nebula.placement', '');

COMMENT ON TABLE nebula.placement IS 'Peers on interfaces, as they are wanted';
COMMENT ON COLUMN nebula.placement.peer_id IS 'The peer';
COMMENT ON COLUMN nebula.placement.interface_id IS 'The interface';
COMMENT ON COLUMN nebula.placement.role IS
  'serving; target: of a move, until the peer has been seen there; leaving: until the node has confirmed it';
COMMENT ON COLUMN nebula.placement.wanted IS
  'present; blocked: not on the interface, but its seat is kept (disabled, expired); absent: for good';
COMMENT ON COLUMN nebula.placement.generation IS 'Generation of the interface that brought the last change';
COMMENT ON COLUMN nebula.placement.applied_generation IS
  'Generation in which the node has confirmed what was wanted then; lower than generation: not yet';
COMMENT ON COLUMN nebula.placement.placed_at IS 'Since when';
COMMENT ON COLUMN nebula.placement.deadline IS
  'Withdrawn if its node has not applied it by then, because a caller waits for that; null: nobody waits';
COMMENT ON COLUMN nebula.placement.refused_at IS 'When the node reported that it cannot apply it; null: it did not';
COMMENT ON COLUMN nebula.placement.refused_reason IS 'Why';

-- A table of its own, because each report writes it: a report must not wait for those who change what is wanted, nor
-- they for it.
CREATE TABLE nebula.placement_seen (
  peer_id         uuid        NOT NULL,
  interface_id    uuid        NOT NULL,
  handshake_at    timestamptz,
  endpoint        text,
  counters        uuid,
  received_bytes  bigint      NOT NULL DEFAULT 0,
  sent_bytes      bigint      NOT NULL DEFAULT 0,
  received_total  bigint      NOT NULL DEFAULT 0,
  sent_total      bigint      NOT NULL DEFAULT 0,
  seen_at         timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT placement_seen_pkey PRIMARY KEY (peer_id, interface_id),
  CONSTRAINT placement_seen_placement_fkey FOREIGN KEY (peer_id, interface_id)
    REFERENCES nebula.placement ON DELETE CASCADE
) WITH (fillfactor = 50);
SELECT pg_catalog.pg_extension_config_dump('nebula.placement_seen', '');

COMMENT ON TABLE nebula.placement_seen IS 'Peers on interfaces, as their nodes last saw them';
COMMENT ON COLUMN nebula.placement_seen.peer_id IS 'The peer';
COMMENT ON COLUMN nebula.placement_seen.interface_id IS 'The interface';
COMMENT ON COLUMN nebula.placement_seen.handshake_at IS 'Last handshake; null: none';
COMMENT ON COLUMN nebula.placement_seen.endpoint IS 'Address it last came from';
COMMENT ON COLUMN nebula.placement_seen.counters IS
  'Identifies the run of the counters of traffic; another one: they began again at 0';
COMMENT ON COLUMN nebula.placement_seen.received_bytes IS 'Bytes received since the counters began';
COMMENT ON COLUMN nebula.placement_seen.sent_bytes IS 'Bytes sent since then';
COMMENT ON COLUMN nebula.placement_seen.received_total IS 'Bytes received before';
COMMENT ON COLUMN nebula.placement_seen.sent_total IS 'Bytes sent before';
COMMENT ON COLUMN nebula.placement_seen.seen_at IS 'When that was reported';

CREATE TABLE nebula.drift (
  interface_id   uuid        NOT NULL REFERENCES nebula.node_interface ON DELETE CASCADE,
  public_key     text        NOT NULL,
  kind           text        NOT NULL,
  allowed_ips    text[]      NOT NULL DEFAULT '{}',
  first_seen_at  timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT drift_pkey PRIMARY KEY (interface_id, public_key, kind),
  CONSTRAINT drift_key_check CHECK (public_key ~ '^[A-Za-z0-9+/]{43}=$'),
  CONSTRAINT drift_kind_check CHECK (kind IN ('unknown', 'missing', 'allowedIps', 'presharedKey'))
);
SELECT pg_catalog.pg_extension_config_dump('nebula.drift', '');

COMMENT ON TABLE nebula.drift IS 'Differences between interfaces and what is wanted, as nodes last reported them';
COMMENT ON COLUMN nebula.drift.interface_id IS 'The interface';
COMMENT ON COLUMN nebula.drift.public_key IS 'Key of the peer, base64';
COMMENT ON COLUMN nebula.drift.kind IS
  'unknown: nobody wants this peer; missing: a wanted one; allowedIps, presharedKey: it has others';
COMMENT ON COLUMN nebula.drift.allowed_ips IS 'Networks that the interface takes from it';
COMMENT ON COLUMN nebula.drift.first_seen_at IS 'First report';
