-- Public keys of gateways, which sign tokens. Two may be in force at a time, so that one can replace the other.
CREATE TABLE nebula.token_key (
  key_id      uuid        NOT NULL,
  public_key  bytea       NOT NULL,
  added_at    timestamptz NOT NULL DEFAULT now(),
  retired_at  timestamptz,
  CONSTRAINT token_key_pkey PRIMARY KEY (key_id),
  CONSTRAINT token_key_length_check CHECK (octet_length(public_key) = 32),
  CONSTRAINT token_key_id_check CHECK (key_id = encode(substr(sha256(public_key), 1, 16), 'hex')::uuid)
);
SELECT pg_catalog.pg_extension_config_dump('nebula.token_key', '');

COMMENT ON TABLE nebula.token_key IS 'Keys that verify access tokens; the keys that sign are in the gateways';
COMMENT ON COLUMN nebula.token_key.key_id IS
  'Names it in a token (kid): the first 16 bytes of the SHA-256 of the key';
COMMENT ON COLUMN nebula.token_key.public_key IS 'Ed25519';
COMMENT ON COLUMN nebula.token_key.added_at IS 'When an administrator added it';
COMMENT ON COLUMN nebula.token_key.retired_at IS 'Set: no token that it signed is accepted any more';
