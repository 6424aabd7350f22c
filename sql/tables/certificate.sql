-- What was signed. A row is written in the transaction that allocates the address, so none is ever unaccounted for.
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
-- Release asks until when the certificates of a device are valid; status asks for the newest.
CREATE INDEX certificate_device_idx ON nebula.certificate (device_id, not_after);
-- The blocklist of a project; small, because what expired is not looked at.
CREATE INDEX certificate_revoked_idx ON nebula.certificate (project_id, not_after) WHERE revoked_at IS NOT NULL;
-- Revocations that not everyone runs yet: each acknowledgement asks whether there is one.
CREATE INDEX certificate_waiting_idx ON nebula.certificate (project_id) WHERE revoked_at IS NOT NULL AND revoked_everywhere_at IS NULL;
SELECT pg_catalog.pg_extension_config_dump('nebula.certificate', '');

COMMENT ON TABLE nebula.certificate IS 'Every host certificate ever issued';
COMMENT ON COLUMN nebula.certificate.fingerprint IS 'SHA-256 as nebula computes it for the version; what a blocklist names';
COMMENT ON COLUMN nebula.certificate.project_id IS 'Project of the device';
COMMENT ON COLUMN nebula.certificate.device_id IS 'For whom';
COMMENT ON COLUMN nebula.certificate.name IS 'Name of the device when it was signed; null: signed under an earlier release';
COMMENT ON COLUMN nebula.certificate.version IS '1 or 2';
COMMENT ON COLUMN nebula.certificate.curve IS '25519 or P256';
COMMENT ON COLUMN nebula.certificate.networks IS 'Overlay addresses with the prefix length of the network';
COMMENT ON COLUMN nebula.certificate.unsafe_networks IS 'Networks behind the device that it may route for';
COMMENT ON COLUMN nebula.certificate.groups IS 'Groups that firewall rules refer to';
COMMENT ON COLUMN nebula.certificate.public_key IS 'Raw public key inside the certificate';
COMMENT ON COLUMN nebula.certificate.issuer IS 'Fingerprint of the CA';
COMMENT ON COLUMN nebula.certificate.alternate_fingerprint IS 'The fingerprint with the other of the two equivalent P256 signatures';
COMMENT ON COLUMN nebula.certificate.not_before IS 'Valid from, whole seconds';
COMMENT ON COLUMN nebula.certificate.not_after IS 'Valid until, whole seconds; the address stays in quarantine until then';
COMMENT ON COLUMN nebula.certificate.issued_at IS 'When it was signed';
COMMENT ON COLUMN nebula.certificate.revoked_at IS 'When it was revoked';
COMMENT ON COLUMN nebula.certificate.revoked_version IS 'First configuration of the project whose blocklist names it';
COMMENT ON COLUMN nebula.certificate.revoked_everywhere_at IS 'When every live member was known to run that configuration; until then its address stays in quarantine';
COMMENT ON COLUMN nebula.certificate.pem IS 'The certificate as delivered';
