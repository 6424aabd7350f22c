-- Secrets that the agent of a node signs its calls with, beside the key of its device. Two may be good at a time, so that
-- one can take the other's place without a call that is refused in between.
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
  CONSTRAINT node_secret_length_check CHECK (octet_length(secret) = 32),
  -- What is retired is good for nobody, whoever reads the table.
  CONSTRAINT node_secret_retired_check CHECK ((secret IS NULL) = (retired_at IS NOT NULL))
);
-- At most two are good; every call of a node looks for them.
CREATE UNIQUE INDEX node_secret_place_key ON nebula.node_secret (node_id, place) WHERE retired_at IS NULL;
SELECT pg_catalog.pg_extension_config_dump('nebula.node_secret', '');

COMMENT ON TABLE nebula.node_secret IS 'Secrets that calls of nodes are signed with (HMAC-SHA256)';
COMMENT ON COLUMN nebula.node_secret.key_id IS 'Names it in a call; no secret';
COMMENT ON COLUMN nebula.node_secret.node_id IS 'The node';
COMMENT ON COLUMN nebula.node_secret.place IS 'Which of the two places it takes while it is good';
COMMENT ON COLUMN nebula.node_secret.secret IS '32 random bytes; null once it is retired';
COMMENT ON COLUMN nebula.node_secret.made_by IS 'Who made it, in words';
COMMENT ON COLUMN nebula.node_secret.made_at IS 'When';
COMMENT ON COLUMN nebula.node_secret.used_at IS 'Last call that was signed with it, give or take half a minute';
COMMENT ON COLUMN nebula.node_secret.retired_at IS 'Not good any more since then';

-- Nonces that calls have used, for as long as the clocks' tolerance would let such a call in again. In a table and not in
-- a gateway's memory: a restart forgets none, and of two gateways each knows what the other has seen. Nodes are few and
-- call a few times a minute.
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
COMMENT ON COLUMN nebula.node_nonce.nonce IS 'As the call said it';
COMMENT ON COLUMN nebula.node_nonce.good_until IS 'From then on the call is refused for its age';
