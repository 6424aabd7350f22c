-- Signed certificates. A row is inserted in the transaction that allocates the address, before the certificate leaves
-- the gateway, so no certificate exists without a row.
CREATE TABLE nebula.certificate (
  fingerprint            bytea       NOT NULL,
  project_id             uuid        NOT NULL,
  device_id              uuid        NOT NULL REFERENCES nebula.device,
  name                   text,
  version                smallint    NOT NULL,
  curve                  text        NOT NULL,
  networks               inet[]      NOT NULL,
  unsafe_networks        inet[]      NOT NULL DEFAULT '{}',
  groups                 text[]      NOT NULL,
  public_key             bytea       NOT NULL,
  issuer                 bytea       NOT NULL,
  alternate_fingerprint  bytea,
  not_before             timestamptz NOT NULL,
  not_after              timestamptz NOT NULL,
  issued_at              timestamptz NOT NULL DEFAULT now(),
  revoked_at             timestamptz,
  revoked_version        bigint,
  revoked_everywhere_at  timestamptz,
  pem                    text        NOT NULL,
  CONSTRAINT certificate_pkey PRIMARY KEY (fingerprint),
  CONSTRAINT certificate_fingerprint_check CHECK (octet_length(fingerprint) = 32 AND octet_length(issuer) = 32),
  CONSTRAINT certificate_version_check CHECK (version IN (1, 2)),
  CONSTRAINT certificate_curve_check CHECK (curve IN ('25519', 'P256')),
  CONSTRAINT certificate_validity_check CHECK (not_before < not_after),
  -- A malleable P256 signature has two fingerprints; a blocklist must name both.
  CONSTRAINT certificate_alternate_check CHECK ((alternate_fingerprint IS NOT NULL) = (curve = 'P256')),
  CONSTRAINT certificate_revoked_check CHECK (revoked_everywhere_at IS NULL OR revoked_at IS NOT NULL)
);
-- For release (the latest expiry of a device) and status (its newest certificate).
CREATE INDEX certificate_device_idx ON nebula.certificate (device_id, not_after);
-- The blocklist of a project.
CREATE INDEX certificate_revoked_idx ON nebula.certificate (project_id, not_after) WHERE revoked_at IS NOT NULL;
-- Revocations that are not complete yet; read at each acknowledgement.
CREATE INDEX certificate_waiting_idx ON nebula.certificate (project_id)
  WHERE revoked_at IS NOT NULL AND revoked_everywhere_at IS NULL;
SELECT pg_catalog.pg_extension_config_dump('nebula.certificate', '');

COMMENT ON TABLE nebula.certificate IS 'Every host certificate ever issued';
COMMENT ON COLUMN nebula.certificate.fingerprint IS
  'SHA-256 as nebula computes it for the version; what a blocklist names';
COMMENT ON COLUMN nebula.certificate.project_id IS 'Project of the device';
COMMENT ON COLUMN nebula.certificate.device_id IS 'Device that it names';
COMMENT ON COLUMN nebula.certificate.name IS
  'Name of the device when it was signed; null: signed under an earlier release';
COMMENT ON COLUMN nebula.certificate.version IS '1 or 2';
COMMENT ON COLUMN nebula.certificate.curve IS '25519 or P256';
COMMENT ON COLUMN nebula.certificate.networks IS 'Overlay addresses with the prefix length of the network';
COMMENT ON COLUMN nebula.certificate.unsafe_networks IS 'Networks behind the device that it may route for';
COMMENT ON COLUMN nebula.certificate.groups IS 'Groups that firewall rules refer to';
COMMENT ON COLUMN nebula.certificate.public_key IS 'Raw public key inside the certificate';
COMMENT ON COLUMN nebula.certificate.issuer IS 'Fingerprint of the CA';
COMMENT ON COLUMN nebula.certificate.alternate_fingerprint IS
  'The fingerprint with the other of the two equivalent P256 signatures';
COMMENT ON COLUMN nebula.certificate.not_before IS 'Valid from, whole seconds';
COMMENT ON COLUMN nebula.certificate.not_after IS
  'Valid until, whole seconds; the address stays in quarantine until then';
COMMENT ON COLUMN nebula.certificate.issued_at IS 'When it was signed';
COMMENT ON COLUMN nebula.certificate.revoked_at IS 'When it was revoked';
COMMENT ON COLUMN nebula.certificate.revoked_version IS
  'First configuration of the project whose blocklist names it';
COMMENT ON COLUMN nebula.certificate.revoked_everywhere_at IS
  'When every live member was known to run that configuration; until then its address stays in quarantine';
COMMENT ON COLUMN nebula.certificate.pem IS 'The certificate as delivered';

-- A certificate as record_certificates takes it.
CREATE TYPE nebula.new_certificate AS (
  actor                  uuid,
  code_hash              bytea,
  counter                bigint,
  device_id              uuid,
  fingerprint            bytea,
  alternate_fingerprint  bytea,
  name                   text,
  version                smallint,
  curve                  text,
  networks               inet[],
  unsafe_networks        inet[],
  groups                 text[],
  public_key             bytea,
  issuer                 bytea,
  not_before             timestamptz,
  not_after              timestamptz,
  pem                    text
);

COMMENT ON TYPE nebula.new_certificate IS 'A signed certificate to record';
COMMENT ON COLUMN nebula.new_certificate.actor IS
  'Account that authorizes it; null: a code or an answer does';
COMMENT ON COLUMN nebula.new_certificate.code_hash IS 'SHA-256 of the enrolment code that authorizes it';
COMMENT ON COLUMN nebula.new_certificate.counter IS 'Counter of the answer that contains it, which authorizes it';
COMMENT ON COLUMN nebula.new_certificate.device_id IS 'Device that it names';
COMMENT ON COLUMN nebula.new_certificate.fingerprint IS 'SHA-256 as nebula computes it';
COMMENT ON COLUMN nebula.new_certificate.alternate_fingerprint IS
  'SHA-256 with the other P256 signature; null for 25519';
COMMENT ON COLUMN nebula.new_certificate.name IS 'Name of the device in it';
COMMENT ON COLUMN nebula.new_certificate.version IS 'Encoding: 1 or 2';
COMMENT ON COLUMN nebula.new_certificate.curve IS '25519 or P256';
COMMENT ON COLUMN nebula.new_certificate.networks IS
  'Addresses in it, each with the prefix length of the overlay';
COMMENT ON COLUMN nebula.new_certificate.unsafe_networks IS 'Networks behind the device';
COMMENT ON COLUMN nebula.new_certificate.groups IS 'Groups in it';
COMMENT ON COLUMN nebula.new_certificate.public_key IS 'Raw public key of the device';
COMMENT ON COLUMN nebula.new_certificate.issuer IS 'Fingerprint of the authority that signed it';
COMMENT ON COLUMN nebula.new_certificate.not_before IS 'Valid from';
COMMENT ON COLUMN nebula.new_certificate.not_after IS 'Valid until';
COMMENT ON COLUMN nebula.new_certificate.pem IS 'The certificate';
