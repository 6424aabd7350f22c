-- Variants of a film for adaptive streaming (HLS, CMAF): each a picture size or a sound, made chunk by chunk, so that
-- the first minutes play while the rest is made.
CREATE TABLE nebula.variant (
  content_id  uuid              NOT NULL REFERENCES nebula.content ON DELETE CASCADE,
  name        text              NOT NULL,
  kind        text              NOT NULL,
  codecs      text,
  width       integer,
  height      integer,
  frame_rate  real,
  language    text,
  label       text,
  channels    integer,
  is_default  boolean           NOT NULL DEFAULT false,
  init        bytea,
  chunks      integer,
  CONSTRAINT variant_pkey PRIMARY KEY (content_id, name),
  CONSTRAINT variant_name_check CHECK (name ~ '^[a-z][a-z0-9]{0,15}$'),
  CONSTRAINT variant_kind_check CHECK (kind IN ('video', 'audio')),
  CONSTRAINT variant_size_check CHECK ((kind = 'video') = (width > 0 AND height > 0 AND width IS NOT NULL)),
  CONSTRAINT variant_init_check CHECK (
    init IS NULL OR octet_length(init) BETWEEN 1 AND 1048576 AND codecs IS NOT NULL),
  CONSTRAINT variant_chunks_check CHECK (chunks > 0),
  CONSTRAINT variant_text_check CHECK (
    octet_length(codecs) <= nebula.text_limit('content')
    AND octet_length(language) <= nebula.text_limit('content')
    AND octet_length(label) <= nebula.text_limit('note'))
);
SELECT pg_catalog.pg_extension_config_dump('nebula.variant', '');

-- One object for a chunk of a variant. Its segments lie in it one after the other, so that a film of two hours is some
-- hundred objects and rows for a variant instead of thousands.
CREATE TABLE nebula.chunk (
  content_id   uuid             NOT NULL,
  variant      text             NOT NULL,
  n            integer          NOT NULL,
  storage_key  text             NOT NULL,
  size         bigint           NOT NULL,
  sha256       bytea            NOT NULL,
  starts_at    double precision NOT NULL,
  durations    real[]           NOT NULL,
  sizes        integer[]        NOT NULL,
  made_at      timestamptz      NOT NULL DEFAULT now(),
  CONSTRAINT chunk_pkey PRIMARY KEY (content_id, variant, n),
  CONSTRAINT chunk_variant_fkey FOREIGN KEY (content_id, variant) REFERENCES nebula.variant ON DELETE CASCADE,
  CONSTRAINT chunk_storage_key_key UNIQUE (storage_key),
  CONSTRAINT chunk_n_check CHECK (n >= 0),
  CONSTRAINT chunk_size_check CHECK (size > 0),
  CONSTRAINT chunk_sha256_check CHECK (octet_length(sha256) = 32),
  CONSTRAINT chunk_segments_check CHECK (
    cardinality(durations) BETWEEN 1 AND 1000
    AND cardinality(durations) = cardinality(sizes)
    AND 0 < ALL (durations)
    AND 0 < ALL (sizes)),
  CONSTRAINT chunk_key_check CHECK (octet_length(storage_key) <= nebula.text_limit('content'))
);
SELECT pg_catalog.pg_extension_config_dump('nebula.chunk', '');

COMMENT ON TABLE nebula.variant IS 'Variants of a film for adaptive streaming: picture sizes and sounds';
COMMENT ON COLUMN nebula.variant.content_id IS 'The film';
COMMENT ON COLUMN nebula.variant.name IS 'v1080, a0: part of the URL';
COMMENT ON COLUMN nebula.variant.kind IS 'video or audio';
COMMENT ON COLUMN nebula.variant.codecs IS 'As in RFC 6381; null until the first chunk is made';
COMMENT ON COLUMN nebula.variant.width IS 'Pixels; null for sounds';
COMMENT ON COLUMN nebula.variant.height IS 'Pixels; null for sounds';
COMMENT ON COLUMN nebula.variant.frame_rate IS 'Pictures a second; null for sounds';
COMMENT ON COLUMN nebula.variant.language IS 'ISO 639 language of a sound, if the upload names it';
COMMENT ON COLUMN nebula.variant.label IS 'Title of a sound in the upload';
COMMENT ON COLUMN nebula.variant.channels IS 'Channels of a sound';
COMMENT ON COLUMN nebula.variant.is_default IS 'The sound that plays unless another is chosen';
COMMENT ON COLUMN nebula.variant.init IS 'Initialization segment (ftyp, moov); null until the first chunk is made';
COMMENT ON COLUMN nebula.variant.chunks IS 'Number of chunks; null while it is not known';
COMMENT ON TABLE nebula.chunk IS 'Chunks of variants that are made: one object each';
COMMENT ON COLUMN nebula.chunk.content_id IS 'The film';
COMMENT ON COLUMN nebula.chunk.variant IS 'The variant';
COMMENT ON COLUMN nebula.chunk.n IS 'Place in the film, from 0';
COMMENT ON COLUMN nebula.chunk.storage_key IS 'Where the bytes are in object storage';
COMMENT ON COLUMN nebula.chunk.size IS 'Bytes';
COMMENT ON COLUMN nebula.chunk.sha256 IS 'SHA-256 of the bytes';
COMMENT ON COLUMN nebula.chunk.starts_at IS 'Seconds from the start of the film';
COMMENT ON COLUMN nebula.chunk.durations IS 'Seconds of each segment';
COMMENT ON COLUMN nebula.chunk.sizes IS 'Bytes of each segment';
COMMENT ON COLUMN nebula.chunk.made_at IS 'When';
