-- Failed sign-ins, so that passwords cannot be guessed without end; in a table, so that all gateways see them and a
-- restart forgets nothing. A row counts for a name from one network, for a network whatever the name, or for a name
-- whatever the network. Names are hashed: people type passwords where the name belongs.
CREATE TABLE nebula.sign_in_failure (
  name_hash  bytea       NOT NULL,
  network    inet        NOT NULL,
  failures   integer     NOT NULL DEFAULT 0,
  failed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT sign_in_failure_pkey PRIMARY KEY (name_hash, network),
  CONSTRAINT sign_in_failure_hash_check CHECK (octet_length(name_hash) IN (0, 32)),
  CONSTRAINT sign_in_failure_count_check CHECK (failures >= 0)
);
-- Finds rows that no longer count.
CREATE INDEX sign_in_failure_age_idx ON nebula.sign_in_failure (failed_at);
SELECT pg_catalog.pg_extension_config_dump('nebula.sign_in_failure', '');

COMMENT ON TABLE nebula.sign_in_failure IS 'How often signing in has failed lately, by name and network';
COMMENT ON COLUMN nebula.sign_in_failure.name_hash IS
  'SHA-256 of the name, whether an account has it or not; empty: any name';
COMMENT ON COLUMN nebula.sign_in_failure.network IS
  'Address of the client, of IPv6 its /64; 0.0.0.0/0: any network';
COMMENT ON COLUMN nebula.sign_in_failure.failures IS
  'In a row; forgotten after an hour without one, and by a success of name and network';
COMMENT ON COLUMN nebula.sign_in_failure.failed_at IS 'The last one';
