-- Where people stopped in films and sounds, so that they go on there, also on another device.
CREATE TABLE nebula.bookmark (
  account_id   uuid             NOT NULL REFERENCES nebula.account ON DELETE CASCADE,
  file_id      uuid             NOT NULL REFERENCES nebula.file ON DELETE CASCADE,
  seconds      double precision NOT NULL,
  duration     double precision NOT NULL,
  is_finished  boolean          NOT NULL,
  updated_at   timestamptz      NOT NULL DEFAULT now(),
  CONSTRAINT bookmark_pkey PRIMARY KEY (account_id, file_id),
  CONSTRAINT bookmark_seconds_check CHECK (seconds >= 0 AND seconds < 'Infinity'),
  CONSTRAINT bookmark_duration_check CHECK (duration >= 0 AND duration < 'Infinity')
);
-- Files that an account has begun and not finished, the last one first.
CREATE INDEX bookmark_unfinished_idx ON nebula.bookmark (account_id, updated_at) WHERE NOT is_finished;
-- Those of a file that is deleted.
CREATE INDEX bookmark_file_idx ON nebula.bookmark (file_id);
SELECT pg_catalog.pg_extension_config_dump('nebula.bookmark', '');

COMMENT ON TABLE nebula.bookmark IS 'Where accounts stopped in files';
COMMENT ON COLUMN nebula.bookmark.account_id IS 'Account that plays it';
COMMENT ON COLUMN nebula.bookmark.file_id IS 'What it plays';
COMMENT ON COLUMN nebula.bookmark.seconds IS 'From the start of the film';
COMMENT ON COLUMN nebula.bookmark.duration IS 'Length of the film in seconds; 0: not known';
COMMENT ON COLUMN nebula.bookmark.is_finished IS 'It was played to the end, or nearly';
COMMENT ON COLUMN nebula.bookmark.updated_at IS 'When it was played last';
