-- The agent of a device: what it runs, as far as it has said so.
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
-- The oldest configuration that is still run in a project decides whether a revocation has reached everyone.
CREATE INDEX agent_version_idx ON nebula.agent (project_id, acknowledged_version);
SELECT pg_catalog.pg_extension_config_dump('nebula.agent', '');

COMMENT ON TABLE nebula.agent IS 'Agents of enrolled devices: what they run and report';
COMMENT ON COLUMN nebula.agent.device_id IS 'The device';
COMMENT ON COLUMN nebula.agent.project_id IS 'Its project';
COMMENT ON COLUMN nebula.agent.counter IS 'Counter of the newest answer sent to it';
COMMENT ON COLUMN nebula.agent.acknowledged_counter IS 'Counter of the answer it runs: the highest it has signed a call with';
COMMENT ON COLUMN nebula.agent.acknowledged_version IS 'Version of the project''s configuration in that answer, or a later one; 0: not known to have taken the place of a bundle yet';
COMMENT ON COLUMN nebula.agent.acknowledged_at IS 'Since when it is known to run it';
COMMENT ON COLUMN nebula.agent.said_at IS 'Timestamp of the last call that changed something; one that is not later is a replay';
COMMENT ON COLUMN nebula.agent.refused_version IS 'Version of the configuration that its nebula would not take';
COMMENT ON COLUMN nebula.agent.refused_at IS 'When it said so';
COMMENT ON COLUMN nebula.agent.refused_reason IS 'Why, in the words of nebula';
COMMENT ON COLUMN nebula.agent.enrolled_at IS 'When it enrolled';
COMMENT ON COLUMN nebula.agent.reported_at IS 'Last report';
COMMENT ON COLUMN nebula.agent.nebula_version IS 'Version of the nebula it runs';
COMMENT ON COLUMN nebula.agent.agent_version IS 'Version of the agent';
COMMENT ON COLUMN nebula.agent.syncthing_id IS 'Device identifier of its Syncthing, if it has one';
COMMENT ON COLUMN nebula.agent.report IS 'The last report: traffic, handshakes, folders';

-- What was sent under which counter, from the acknowledged one on. A call is signed with the key of the row it names:
-- whichever answer was lost, one of these rows is what the device has.
CREATE TABLE nebula.agent_answer (
  device_id   uuid        NOT NULL REFERENCES nebula.agent ON DELETE CASCADE,
  counter     bigint      NOT NULL,
  version     bigint      NOT NULL,
  host_key    bytea       NOT NULL,
  public_key  bytea       NOT NULL,
  sent_at     timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT agent_answer_pkey PRIMARY KEY (device_id, counter),
  CONSTRAINT agent_answer_key_check CHECK (octet_length(host_key) IN (32, 65) AND octet_length(host_key) = octet_length(public_key))
);
SELECT pg_catalog.pg_extension_config_dump('nebula.agent_answer', '');

COMMENT ON TABLE nebula.agent_answer IS 'Answers an agent may be running, with the key that signs its calls while it does';
COMMENT ON COLUMN nebula.agent_answer.device_id IS 'The device';
COMMENT ON COLUMN nebula.agent_answer.counter IS 'Counter in the answer';
COMMENT ON COLUMN nebula.agent_answer.version IS 'Version of the project''s configuration in it that a call with it acknowledges; 0: none';
COMMENT ON COLUMN nebula.agent_answer.host_key IS 'Raw public key that signs calls: 32 bytes Ed25519 or 65 bytes P256';
COMMENT ON COLUMN nebula.agent_answer.public_key IS 'Raw public key in the certificates of the answer';
COMMENT ON COLUMN nebula.agent_answer.sent_at IS 'Start of the transaction that made it';
