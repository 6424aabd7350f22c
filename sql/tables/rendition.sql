-- Objects derived from a content: today an MP4 for browsers.
CREATE TABLE nebula.rendition (
  rendition_id  uuid        NOT NULL DEFAULT gen_random_uuid(),
  content_id    uuid        NOT NULL REFERENCES nebula.content ON DELETE CASCADE,
  kind          text        NOT NULL,
  storage_key   text        NOT NULL,
  size          bigint      NOT NULL,
  sha256        bytea       NOT NULL,
  content_type  text        NOT NULL,
  detail        jsonb       NOT NULL DEFAULT '{}',
  made_at       timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT rendition_pkey PRIMARY KEY (rendition_id),
  CONSTRAINT rendition_content_kind_key UNIQUE (content_id, kind),
  CONSTRAINT rendition_storage_key_key UNIQUE (storage_key),
  CONSTRAINT rendition_kind_check CHECK (kind ~ '^[a-z][a-z0-9_-]{0,31}$'),
  CONSTRAINT rendition_size_check CHECK (size > 0),
  CONSTRAINT rendition_content_check CHECK (
    octet_length(content_type) <= nebula.text_limit('content')
    AND octet_length(storage_key) <= nebula.text_limit('content')),
  CONSTRAINT rendition_sha256_check CHECK (octet_length(sha256) = 32)
);
SELECT pg_catalog.pg_extension_config_dump('nebula.rendition', '');

COMMENT ON TABLE nebula.rendition IS 'Objects made from an upload: the film for browsers, pictures, subtitles';
COMMENT ON COLUMN nebula.rendition.rendition_id IS 'Identifier';
COMMENT ON COLUMN nebula.rendition.content_id IS 'What it was made from';
COMMENT ON COLUMN nebula.rendition.kind IS 'web: MP4 that browsers play';
COMMENT ON COLUMN nebula.rendition.storage_key IS 'Where the bytes are in object storage';
COMMENT ON COLUMN nebula.rendition.size IS 'Bytes';
COMMENT ON COLUMN nebula.rendition.sha256 IS 'SHA-256 of the bytes; also the strong ETag';
COMMENT ON COLUMN nebula.rendition.content_type IS 'Media type';
COMMENT ON COLUMN nebula.rendition.detail IS 'How it was made: decision, reasons, codecs, duration, warnings';
COMMENT ON COLUMN nebula.rendition.made_at IS 'When';
