-- Shared secrets. The agent of a node signs its calls with one, in addition to the key of its device. Two may be
-- valid at a time, so that one can replace the other without a refused call in between.
CREATE TABLE nebula.node_secret (
  key_id      uuid        NOT NULL DEFAULT gen_random_uuid(),
  node_id     uuid        NOT NULL REFERENCES nebula.node ON DELETE CASCADE,
  place       smallint    NOT NULL,
  secret      bytea,
  made_by     text        NOT NULL,
  made_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  used_at     timestamptz,
  retired_at  timestamptz,
  CONSTRAINT node_secret_pkey PRIMARY KEY (key_id),
  CONSTRAINT node_secret_place_check CHECK (place IN (1, 2)),
  CONSTRAINT node_secret_length_check CHECK (octet_length(secret) IN (32, 60)),
  -- A retired secret is deleted, so that it cannot be used any more.
  CONSTRAINT node_secret_retired_check CHECK ((secret IS NULL) = (retired_at IS NOT NULL))
);
-- The valid secrets of a node (at most two, by place), read in each of its calls.
CREATE UNIQUE INDEX node_secret_place_key ON nebula.node_secret (node_id, place) WHERE retired_at IS NULL;
SELECT pg_catalog.pg_extension_config_dump('nebula.node_secret', '');

COMMENT ON TABLE nebula.node_secret IS 'Secrets that calls of nodes are signed with (HMAC-SHA256)';
COMMENT ON COLUMN nebula.node_secret.key_id IS 'Names it in a call; no secret';
COMMENT ON COLUMN nebula.node_secret.node_id IS 'The node';
COMMENT ON COLUMN nebula.node_secret.place IS 'Which of the two places it takes while it is valid';
COMMENT ON COLUMN nebula.node_secret.secret IS
  'Sealed by a gateway (60 bytes, AES-256-GCM); 32 random bytes until a gateway has sealed it; null once it is retired';
COMMENT ON COLUMN nebula.node_secret.made_by IS 'User who made it, as named by the caller';
COMMENT ON COLUMN nebula.node_secret.made_at IS 'When';
COMMENT ON COLUMN nebula.node_secret.used_at IS
  'Last call that was signed with it, give or take half a minute';
COMMENT ON COLUMN nebula.node_secret.retired_at IS 'When it was retired; null: valid';

-- Nonces of calls, kept as long as the clock tolerance would accept the same call again. In a table, not in the
-- memory of a gateway, so that they survive a restart and all gateways see them. Nodes are few and call a few times a
-- minute.
CREATE TABLE nebula.node_nonce (
  node_id     uuid        NOT NULL REFERENCES nebula.node ON DELETE CASCADE,
  nonce       text        NOT NULL,
  good_until  timestamptz NOT NULL,
  CONSTRAINT node_nonce_pkey PRIMARY KEY (node_id, nonce),
  CONSTRAINT node_nonce_length_check CHECK (octet_length(nonce) BETWEEN 16 AND 64)
);
SELECT pg_catalog.pg_extension_config_dump('nebula.node_nonce', '');

COMMENT ON TABLE nebula.node_nonce IS 'Nonces of calls of nodes that cannot be used again';
COMMENT ON COLUMN nebula.node_nonce.node_id IS 'The node';
COMMENT ON COLUMN nebula.node_nonce.nonce IS 'Nonce of the call';
COMMENT ON COLUMN nebula.node_nonce.good_until IS 'From then on the call is refused for its age';
