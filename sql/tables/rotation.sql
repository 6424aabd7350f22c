-- Replacement of the authority of a project without an interruption for connected devices:
-- distributing (both are trusted, the old one signs) -> reissuing (both are trusted, the new one signs)
-- -> retiring (the new one alone is trusted, and being told so) -> done; or cancelled. Once the new one signs, there is
-- a way back only, which is another rotation: from reissuing in the state reissuing, as both are trusted already.
CREATE TABLE nebula.rotation (
  rotation_id  uuid        NOT NULL DEFAULT gen_random_uuid(),
  project_id   uuid        NOT NULL REFERENCES nebula.project ON DELETE CASCADE,
  retiring     bytea       NOT NULL REFERENCES nebula.authority,
  incoming     bytea       NOT NULL REFERENCES nebula.authority,
  state        text        NOT NULL DEFAULT 'distributing',
  version      bigint      NOT NULL,
  started_by   text        NOT NULL,
  started_at   timestamptz NOT NULL DEFAULT now(),
  changed_at   timestamptz NOT NULL DEFAULT now(),
  returns      boolean     NOT NULL DEFAULT false,
  CONSTRAINT rotation_pkey PRIMARY KEY (rotation_id),
  CONSTRAINT rotation_state_check CHECK (state IN ('distributing', 'reissuing', 'retiring', 'done', 'cancelled')),
  CONSTRAINT rotation_authority_check CHECK (retiring <> incoming)
);
-- At most one running rotation per project; also the lookup of trusted authorities.
CREATE UNIQUE INDEX rotation_active_key ON nebula.rotation (project_id) WHERE state NOT IN ('done', 'cancelled');
SELECT pg_catalog.pg_extension_config_dump('nebula.rotation', '');

COMMENT ON TABLE nebula.rotation IS 'Changes of the authority of a project, running and past';
COMMENT ON COLUMN nebula.rotation.rotation_id IS 'Identifier';
COMMENT ON COLUMN nebula.rotation.project_id IS 'The project';
COMMENT ON COLUMN nebula.rotation.retiring IS 'Authority that signed before';
COMMENT ON COLUMN nebula.rotation.incoming IS 'Authority that is to sign';
COMMENT ON COLUMN nebula.rotation.state IS 'distributing, reissuing, retiring, done or cancelled';
COMMENT ON COLUMN nebula.rotation.version IS
  'Configuration version that every live member has to run before the next state';
COMMENT ON COLUMN nebula.rotation.started_by IS 'User who started it';
COMMENT ON COLUMN nebula.rotation.started_at IS 'When';
COMMENT ON COLUMN nebula.rotation.changed_at IS 'Since when it is in this state';
COMMENT ON COLUMN nebula.rotation.returns IS
  'The way back from a rotation that was cancelled while certificates were reissued: every device trusts '
  'incoming, but not every one retiring';
