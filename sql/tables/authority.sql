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

-- The authority that signs for a project: at most one row per project.
CREATE TABLE nebula.project_authority (
  project_id   uuid        NOT NULL REFERENCES nebula.project ON DELETE CASCADE,
  fingerprint  bytea       NOT NULL REFERENCES nebula.authority,
  since        timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT project_authority_pkey PRIMARY KEY (project_id)
);
SELECT pg_catalog.pg_extension_config_dump('nebula.project_authority', '');

COMMENT ON TABLE nebula.project_authority IS
  'The authority that signs for a project; a project without a row gets the gateway''s shared one when '
  'it first needs one';
COMMENT ON COLUMN nebula.project_authority.project_id IS 'The project';
COMMENT ON COLUMN nebula.project_authority.fingerprint IS 'Authority that signs, by the fingerprint of its certificate';
COMMENT ON COLUMN nebula.project_authority.since IS 'Since when';
