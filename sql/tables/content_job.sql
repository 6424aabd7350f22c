-- The jobs that make the renditions of a content: state and progress of its files come from all of them.
CREATE TABLE nebula.content_job (
  content_id  uuid   NOT NULL REFERENCES nebula.content ON DELETE CASCADE,
  job_id      bigint NOT NULL,
  role        text   NOT NULL,
  n           integer,
  weight      real   NOT NULL DEFAULT 1,
  CONSTRAINT content_job_pkey PRIMARY KEY (content_id, job_id),
  CONSTRAINT content_job_role_check CHECK (
    role IN ('plan', 'chunk', 'audio', 'pictures', 'join', 'companion')),
  CONSTRAINT content_job_n_check CHECK ((role = 'chunk') = (n IS NOT NULL)),
  CONSTRAINT content_job_weight_check CHECK (weight > 0)
);
SELECT pg_catalog.pg_extension_config_dump('nebula.content_job', '');

COMMENT ON TABLE nebula.content_job IS 'Jobs that make the renditions of a content';
COMMENT ON COLUMN nebula.content_job.content_id IS 'The content';
COMMENT ON COLUMN nebula.content_job.job_id IS 'The job';
COMMENT ON COLUMN nebula.content_job.role IS
  'plan, chunk, audio, pictures, join, or companion for files that are no films';
COMMENT ON COLUMN nebula.content_job.n IS 'Place of the chunk in the film, from 0; null for other jobs';
COMMENT ON COLUMN nebula.content_job.weight IS 'Share in the progress: about the seconds that it takes';
