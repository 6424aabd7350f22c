-- The state of a file is derived from its job and its renditions, not stored, so it cannot be stale.
CREATE VIEW nebula.file_status AS
SELECT f.file_id, f.project_id, f.name, c.size, c.sha256, c.content_type, o.username AS owner,
       f.uploaded_at, c.job_id,
       CASE
         WHEN c.job_id IS NULL OR r.list IS NOT NULL THEN 'ready'
         WHEN j.state IN ('dead', 'cancelled') THEN 'failed'
         WHEN j.state = 'running' THEN 'processing'
         ELSE 'waiting'
       END AS state,
       j.progress,
       CASE
         WHEN r.list IS NULL
              AND (j.state IN ('dead', 'cancelled') OR j.state = 'available' AND j.errors -> -1 ? 'postponed')
         THEN j.errors -> -1 ->> 'error'
       END AS error,
       coalesce(r.list, '[]') AS renditions
  FROM nebula.file f
  JOIN nebula.content c USING (content_id)
  LEFT JOIN nebula.account o ON o.account_id = f.owner_id
  LEFT JOIN nebula.job_status j ON j.job_id = c.job_id
  LEFT JOIN LATERAL (SELECT jsonb_agg(jsonb_build_object(
                                        'kind', x.kind, 'size', x.size,
                                        'contentType', x.content_type,
                                        'sha256', encode(x.sha256, 'hex'), 'madeAt', x.made_at,
                                        'detail', x.detail
                                      ) ORDER BY x.kind) AS list
                       FROM nebula.rendition x
                      WHERE x.content_id = f.content_id) r ON true;

COMMENT ON VIEW nebula.file_status IS 'Files with their state, progress and renditions';
COMMENT ON COLUMN nebula.file_status.file_id IS 'Identifier';
COMMENT ON COLUMN nebula.file_status.project_id IS 'Project it belongs to';
COMMENT ON COLUMN nebula.file_status.name IS 'File name';
COMMENT ON COLUMN nebula.file_status.size IS 'Bytes as uploaded';
COMMENT ON COLUMN nebula.file_status.sha256 IS 'SHA-256 of the upload';
COMMENT ON COLUMN nebula.file_status.content_type IS 'Media type of the upload';
COMMENT ON COLUMN nebula.file_status.owner IS 'Account that uploaded it';
COMMENT ON COLUMN nebula.file_status.uploaded_at IS 'When';
COMMENT ON COLUMN nebula.file_status.job_id IS 'Job that makes its renditions';
COMMENT ON COLUMN nebula.file_status.state IS 'waiting, processing, ready or failed';
COMMENT ON COLUMN nebula.file_status.progress IS '0 to 1 while processing';
COMMENT ON COLUMN nebula.file_status.error IS 'Why it failed, or what it waits for';
COMMENT ON COLUMN nebula.file_status.renditions IS 'Files made from it';
