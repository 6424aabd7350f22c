-- Certificates of authorities. Their keys are with the gateway or in a PKCS#11 token.
CREATE TABLE nebula.authority (
  fingerprint  bytea       NOT NULL,
  name         text        NOT NULL,
  curve        text        NOT NULL,
  version      smallint    NOT NULL,
  not_before   timestamptz NOT NULL,
  not_after    timestamptz NOT NULL,
  recorded_at  timestamptz NOT NULL DEFAULT now(),
  pem          text        NOT NULL,
  -- What it may grant; {}: anything; null: not told yet, by a gateway of an earlier release.
  networks         inet[],
  unsafe_networks  inet[],
  groups           text[],
  CONSTRAINT authority_pkey PRIMARY KEY (fingerprint),
  CONSTRAINT authority_fingerprint_check CHECK (octet_length(fingerprint) = 32),
  CONSTRAINT authority_curve_check CHECK (curve IN ('25519', 'P256')),
  CONSTRAINT authority_version_check CHECK (version IN (1, 2)),
  CONSTRAINT authority_validity_check CHECK (not_before < not_after)
);
SELECT pg_catalog.pg_extension_config_dump('nebula.authority', '');

COMMENT ON TABLE nebula.authority IS 'Certificate authorities without their keys';
COMMENT ON COLUMN nebula.authority.fingerprint IS
  'SHA-256 as nebula computes it; what certificates name as their issuer';
COMMENT ON COLUMN nebula.authority.name IS 'Name in its certificate';
COMMENT ON COLUMN nebula.authority.curve IS '25519 or P256: the curve of every key it signs';
COMMENT ON COLUMN nebula.authority.version IS 'Encoding of its own certificate, 1 or 2; it may sign both';
COMMENT ON COLUMN nebula.authority.not_before IS 'Valid from';
COMMENT ON COLUMN nebula.authority.not_after IS 'Valid until; nothing it signed is valid longer';
COMMENT ON COLUMN nebula.authority.recorded_at IS 'When a gateway first showed it';
COMMENT ON COLUMN nebula.authority.pem IS 'Its certificate';
COMMENT ON COLUMN nebula.authority.networks IS
  'Networks whose addresses it may grant; {}: any; null: a gateway has yet to say';
COMMENT ON COLUMN nebula.authority.unsafe_networks IS
  'Networks that it may let devices route for; {}: any; null: a gateway has yet to say';
COMMENT ON COLUMN nebula.authority.groups IS
  'Groups that it may grant; {}: any; null: a gateway has yet to say';

-- The authority that signs for a project: at most one row per project. nebula lets in every device whose certificate
-- is of a trusted authority, whatever its own configuration says; therefore no two projects adopt the same one. Not a
-- unique key, because projects of earlier releases share one until they are moved: nebula.authority_status warns.
CREATE TABLE nebula.project_authority (
  project_id   uuid        NOT NULL REFERENCES nebula.project ON DELETE CASCADE,
  fingerprint  bytea       NOT NULL REFERENCES nebula.authority,
  since        timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT project_authority_pkey PRIMARY KEY (project_id)
);
SELECT pg_catalog.pg_extension_config_dump('nebula.project_authority', '');

COMMENT ON TABLE nebula.project_authority IS
  'The authority that signs for a project. A project without a row gets one when it first needs one: that '
  'of the gateway''s settings, or, if that signs for another project, one that the gateway makes';
COMMENT ON COLUMN nebula.project_authority.project_id IS 'The project';
COMMENT ON COLUMN nebula.project_authority.fingerprint IS 'Authority that signs, by the fingerprint of its certificate';
COMMENT ON COLUMN nebula.project_authority.since IS 'Since when';
