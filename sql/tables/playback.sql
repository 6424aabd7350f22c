-- How films are played, and why so: what a client could not play is asked about later. An account has one row for a
-- file, so that playing it again and again adds none.
CREATE TABLE nebula.playback (
  playback_id  uuid        NOT NULL DEFAULT gen_random_uuid(),
  file_id      uuid        NOT NULL REFERENCES nebula.file ON DELETE CASCADE,
  account_id   uuid        NOT NULL REFERENCES nebula.account ON DELETE CASCADE,
  decision     text        NOT NULL,
  rendition    text,
  reasons      text[]      NOT NULL,
  program      text,
  decided_at   timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT playback_pkey PRIMARY KEY (playback_id),
  CONSTRAINT playback_account_file_key UNIQUE (account_id, file_id),
  CONSTRAINT playback_decision_check CHECK (decision IN ('direct', 'remux', 'audio', 'full')),
  CONSTRAINT playback_reasons_check CHECK (cardinality(reasons) <= 20),
  CONSTRAINT playback_text_check CHECK (
    octet_length(rendition) <= 32 AND octet_length(program) <= nebula.text_limit('client'))
);
-- For the last decisions about a file.
CREATE INDEX playback_file_idx ON nebula.playback (file_id, decided_at);
-- For deleting those of an account that are old.
CREATE INDEX playback_account_idx ON nebula.playback (account_id, decided_at);
SELECT pg_catalog.pg_extension_config_dump('nebula.playback', '');

COMMENT ON TABLE nebula.playback IS 'The last decision how an account plays a file';
COMMENT ON COLUMN nebula.playback.playback_id IS 'Identifier';
COMMENT ON COLUMN nebula.playback.file_id IS 'The file';
COMMENT ON COLUMN nebula.playback.account_id IS 'Who wanted to play it';
COMMENT ON COLUMN nebula.playback.decision IS
  'direct: the upload itself; remux: in another container; audio: with another sound; full: with another picture';
COMMENT ON COLUMN nebula.playback.rendition IS
  'What is played: original, hls, or the kind of a rendition; null: it is not made yet';
COMMENT ON COLUMN nebula.playback.reasons IS 'What the client cannot play of the upload';
COMMENT ON COLUMN nebula.playback.program IS 'The client, as it named itself';
COMMENT ON COLUMN nebula.playback.decided_at IS 'When';
