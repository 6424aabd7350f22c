-- The agent of a device, and the configuration it has acknowledged.
CREATE TABLE nebula.agent (
  device_id             uuid        NOT NULL REFERENCES nebula.device ON DELETE CASCADE,
  project_id            uuid        NOT NULL,
  counter               bigint      NOT NULL,
  acknowledged_counter  bigint      NOT NULL,
  acknowledged_version  bigint      NOT NULL,
  acknowledged_at       timestamptz NOT NULL DEFAULT now(),
  said_at               timestamptz,
  refused_version       bigint,
  refused_at            timestamptz,
  refused_reason        text,
  enrolled_at           timestamptz NOT NULL DEFAULT now(),
  reported_at           timestamptz,
  nebula_version        text,
  agent_version         text,
  syncthing_id          text,
  report                jsonb,
  CONSTRAINT agent_pkey PRIMARY KEY (device_id),
  CONSTRAINT agent_counter_check CHECK (acknowledged_counter BETWEEN 1 AND counter),
  CONSTRAINT agent_refused_check CHECK ((refused_version IS NULL) = (refused_at IS NULL))
) WITH (fillfactor = 80);
-- Finds the lowest acknowledged version of a project: a revocation is complete when that version contains it.
CREATE INDEX agent_version_idx ON nebula.agent (project_id, acknowledged_version);
SELECT pg_catalog.pg_extension_config_dump('nebula.agent', '');

COMMENT ON TABLE nebula.agent IS 'Agents of enrolled devices: what they run and report';
COMMENT ON COLUMN nebula.agent.device_id IS 'The device';
COMMENT ON COLUMN nebula.agent.project_id IS 'Its project';
COMMENT ON COLUMN nebula.agent.counter IS 'Counter of the newest answer sent to it';
COMMENT ON COLUMN nebula.agent.acknowledged_counter IS
  'Counter of the answer it runs: the highest it has signed a call with';
COMMENT ON COLUMN nebula.agent.acknowledged_version IS
  'Version of the project''s configuration in that answer, or a later one; 0: not known to have taken '
  'the place of a bundle yet';
COMMENT ON COLUMN nebula.agent.acknowledged_at IS 'Since when it is known to run it';
COMMENT ON COLUMN nebula.agent.said_at IS
  'Timestamp of the last call that changed something; one that is not later is a replay';
COMMENT ON COLUMN nebula.agent.refused_version IS
  'Version of the configuration that its nebula would not take';
COMMENT ON COLUMN nebula.agent.refused_at IS 'When it said so';
COMMENT ON COLUMN nebula.agent.refused_reason IS 'Why, in the words of nebula';
COMMENT ON COLUMN nebula.agent.enrolled_at IS 'When it enrolled';
COMMENT ON COLUMN nebula.agent.reported_at IS 'Last report';
COMMENT ON COLUMN nebula.agent.nebula_version IS 'Version of the nebula it runs';
COMMENT ON COLUMN nebula.agent.agent_version IS 'Version of the agent';
COMMENT ON COLUMN nebula.agent.syncthing_id IS 'Device identifier of its Syncthing, if it has one';
COMMENT ON COLUMN nebula.agent.report IS 'The last report: traffic, handshakes, folders';

-- The answers sent to an agent, from the acknowledged one on. A call names one of them by its counter and is signed
-- with its host_key. Any answer may have been lost on the way, so all of them are kept until a later one is
-- acknowledged.
CREATE TABLE nebula.agent_answer (
  device_id   uuid        NOT NULL REFERENCES nebula.agent ON DELETE CASCADE,
  counter     bigint      NOT NULL,
  version     bigint      NOT NULL,
  host_key    bytea       NOT NULL,
  public_key  bytea       NOT NULL,
  sent_at     timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT agent_answer_pkey PRIMARY KEY (device_id, counter),
  CONSTRAINT agent_answer_key_check CHECK (
    octet_length(host_key) IN (32, 65)
    AND octet_length(host_key) = octet_length(public_key))
);
SELECT pg_catalog.pg_extension_config_dump('nebula.agent_answer', '');

COMMENT ON TABLE nebula.agent_answer IS
  'Answers an agent may be running, with the key that signs its calls while it does';
COMMENT ON COLUMN nebula.agent_answer.device_id IS 'The device';
COMMENT ON COLUMN nebula.agent_answer.counter IS 'Counter in the answer';
COMMENT ON COLUMN nebula.agent_answer.version IS
  'Version of the project''s configuration in it that a call with it acknowledges; 0: none';
COMMENT ON COLUMN nebula.agent_answer.host_key IS
  'Raw public key that signs calls: 32 bytes Ed25519 or 65 bytes P256';
COMMENT ON COLUMN nebula.agent_answer.public_key IS 'Raw public key in the certificates of the answer';
COMMENT ON COLUMN nebula.agent_answer.sent_at IS 'Start of the transaction that made it';

-- A call of an agent as agent_keys, accept_calls and update_agents take it.
CREATE TYPE nebula.agent_call AS (
  device_id       uuid,
  counter         bigint,
  host_key        bytea,
  said_at         timestamptz,
  new_host_key    bytea,
  new_public_key  bytea
);

COMMENT ON TYPE nebula.agent_call IS 'A call of the agent of a device';
COMMENT ON COLUMN nebula.agent_call.device_id IS 'The device';
COMMENT ON COLUMN nebula.agent_call.counter IS 'Counter of the answer that the device runs';
COMMENT ON COLUMN nebula.agent_call.host_key IS 'Key that the signature was verified with';
COMMENT ON COLUMN nebula.agent_call.said_at IS 'Timestamp in the call';
COMMENT ON COLUMN nebula.agent_call.new_host_key IS
  'Key that will sign later calls; only in calls that fetch a configuration';
COMMENT ON COLUMN nebula.agent_call.new_public_key IS 'Key for a new certificate; null: none is wanted';

-- An answer as add_answers takes it.
CREATE TYPE nebula.new_answer AS (
  device_id   uuid,
  host_key    bytea,
  public_key  bytea
);

COMMENT ON TYPE nebula.new_answer IS 'An answer that is about to be sent to the agent of a device';
COMMENT ON COLUMN nebula.new_answer.device_id IS 'The device';
COMMENT ON COLUMN nebula.new_answer.host_key IS 'Key that will sign its calls';
COMMENT ON COLUMN nebula.new_answer.public_key IS 'Key in the certificates of the answer';
