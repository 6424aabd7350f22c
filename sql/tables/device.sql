-- A device is a member of a project: a laptop, a phone, a lighthouse.
CREATE TABLE nebula.device (
  device_id      uuid        NOT NULL,
  project_id     uuid        NOT NULL REFERENCES nebula.project,
  owner_id       uuid        REFERENCES nebula.account ON DELETE SET NULL,
  name           text        NOT NULL,
  role           text        NOT NULL DEFAULT 'host',
  endpoints      text[]      NOT NULL DEFAULT '{}',
  groups         text[]      NOT NULL DEFAULT '{}',
  curve          text        NOT NULL,
  public_key     bytea       NOT NULL,
  registered_at  timestamptz NOT NULL DEFAULT now(),
  last_seen_at   timestamptz,
  revoked_at     timestamptz,
  CONSTRAINT device_pkey PRIMARY KEY (device_id),
  CONSTRAINT device_project_name_key UNIQUE (project_id, name),
  CONSTRAINT device_name_check CHECK (nebula.is_name(name)),
  CONSTRAINT device_role_check CHECK (role IN ('host', 'lighthouse', 'relay')),
  -- A lighthouse must be reachable from the underlay.
  CONSTRAINT device_lighthouse_check CHECK (role <> 'lighthouse' OR cardinality(endpoints) > 0),
  CONSTRAINT device_key_check CHECK (
    (curve = '25519' AND octet_length(public_key) = 32) OR (curve = 'P256' AND octet_length(public_key) = 65)
  )
);
-- "Is the name taken in another letter case, or the key by another device?", asked by every registration.
CREATE INDEX device_lower_name_idx ON nebula.device (project_id, lower(name));
CREATE INDEX device_public_key_idx ON nebula.device (public_key);
-- Lighthouses and relays, which every configuration lists: found without reading all devices of the project.
CREATE INDEX device_static_host_idx ON nebula.device (project_id) WHERE role IN ('lighthouse', 'relay');
-- Sessions cache this set: an allocation or release for one of these devices changes the configuration of all
-- members.
CREATE INDEX device_static_host_key ON nebula.device (device_id)
  WHERE role IN ('lighthouse', 'relay') AND revoked_at IS NULL;
SELECT pg_catalog.pg_extension_config_dump('nebula.device', '');

COMMENT ON TABLE nebula.device IS 'Members of projects: what holds an address and a certificate';
COMMENT ON COLUMN nebula.device.device_id IS 'Identifier chosen by the device';
COMMENT ON COLUMN nebula.device.project_id IS 'Its project';
COMMENT ON COLUMN nebula.device.owner_id IS 'Account that registered it and may register it again';
COMMENT ON COLUMN nebula.device.name IS
  'Name in the certificate, unique in the project: letters, digits, dots, underscores, dashes';
COMMENT ON COLUMN nebula.device.role IS 'host, lighthouse or relay';
COMMENT ON COLUMN nebula.device.endpoints IS
  'host:port where other devices reach it on the underlay; a lighthouse has at least one';
COMMENT ON COLUMN nebula.device.groups IS
  'Groups in its certificate; it takes its address first from a range reserved under one of these names';
COMMENT ON COLUMN nebula.device.curve IS '25519 or P256, as nebula-cert names them';
COMMENT ON COLUMN nebula.device.public_key IS 'Raw public key: 32 bytes X25519 or 65 bytes P256';
COMMENT ON COLUMN nebula.device.registered_at IS 'First registration';
COMMENT ON COLUMN nebula.device.last_seen_at IS 'Last sign of life, null before the first';
COMMENT ON COLUMN nebula.device.revoked_at IS 'Set: registration is refused';

-- A device as register_devices takes it.
CREATE TYPE nebula.new_device AS (
  device_id   uuid,
  actor       uuid,
  name        text,
  role        text,
  endpoints   text[],
  curve       text,
  public_key  bytea,
  client      inet,
  request_id  text
);

COMMENT ON TYPE nebula.new_device IS 'A device to register';
COMMENT ON COLUMN nebula.new_device.device_id IS 'Identifier, chosen by the device';
COMMENT ON COLUMN nebula.new_device.actor IS 'Account that registers it';
COMMENT ON COLUMN nebula.new_device.name IS 'Name in its certificate, unique in the project';
COMMENT ON COLUMN nebula.new_device.role IS 'host, lighthouse or relay';
COMMENT ON COLUMN nebula.new_device.endpoints IS 'host:port where others reach it on the underlay';
COMMENT ON COLUMN nebula.new_device.curve IS '25519 or P256';
COMMENT ON COLUMN nebula.new_device.public_key IS 'Raw public key';
COMMENT ON COLUMN nebula.new_device.client IS 'Client address that asked for it';
COMMENT ON COLUMN nebula.new_device.request_id IS 'X-Request-Id of the request; null: that of the statement';
