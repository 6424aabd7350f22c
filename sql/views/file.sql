-- The state of a file is derived from its jobs and renditions, not stored, so it cannot be stale.
CREATE VIEW nebula.file_status AS
SELECT f.file_id, f.project_id, f.name, c.size, c.sha256, c.content_type, o.username AS owner,
       f.uploaded_at, c.job_id,
       CASE
         WHEN c.job_id IS NULL OR r.is_playable THEN 'ready'
         WHEN j.failed > 0 OR j.known = 0 THEN 'failed'
         WHEN j.started > 0 THEN 'processing'
         ELSE 'waiting'
       END AS state,
       CASE WHEN r.is_playable THEN 1 ELSE j.progress END::real AS progress,
       CASE
         WHEN c.job_id IS NULL OR r.is_playable THEN NULL
         WHEN j.known = 0 THEN 'its job is no longer on record: upload the file again'
         ELSE j.error
       END AS error,
       coalesce(r.list, '[]') || coalesce(b.list, '[]') AS renditions, f.folder, f.tags, c.kind, c.duration,
       f.deleted_at,
       coalesce(r.web -> 'sentences', c.media #> '{summary,sentences}', '[]')
       || coalesce(r.poster -> 'sentences', '[]') AS summary,
       coalesce(r.web -> 'warnings', c.media #> '{summary,warnings}', '[]')
       || coalesce(r.poster -> 'warnings', '[]') AS warnings
  FROM nebula.file f
  JOIN nebula.content c USING (content_id)
  LEFT JOIN nebula.account o ON o.account_id = f.owner_id
 CROSS JOIN LATERAL (SELECT coalesce(bool_or(x.kind = 'web'), false) AS is_playable,
                            jsonb_agg(jsonb_build_object(
                                        'kind', x.kind, 'size', x.size,
                                        'contentType', x.content_type,
                                        'sha256', encode(x.sha256, 'hex'), 'madeAt', x.made_at,
                                        'detail', x.detail
                                      ) ORDER BY x.kind <> 'web', x.kind) AS list,
                            (array_agg(x.detail) FILTER (WHERE x.kind = 'web'))[1] AS web,
                            (array_agg(x.detail) FILTER (WHERE x.kind = 'poster'))[1] AS poster
                       FROM nebula.rendition x
                      WHERE x.content_id = f.content_id) r
-- Subtitles beside a film are renditions of files of their own.
  LEFT JOIN LATERAL (SELECT jsonb_agg(jsonb_build_object(
                                        'kind', s.kind, 'size', s.size,
                                        'contentType', s.content_type,
                                        'sha256', encode(s.sha256, 'hex'), 'madeAt', s.made_at,
                                        'detail', s.detail
                                      ) ORDER BY s.detail ->> 'file') AS list
                       FROM nebula.subtitles_beside(f.project_id, f.folder, f.name) s
                      WHERE c.job_id IS NOT NULL
                        AND f.deleted_at IS NULL) b ON true
-- Of a file that can be played the jobs do not matter, and reading them is most of the work of a list.
  LEFT JOIN LATERAL (SELECT count(*) AS known,
                            -- A film without its pictures is still a film.
                            count(*) FILTER (WHERE s.state IN ('dead', 'cancelled')
                                                   AND k.role <> 'pictures') AS failed,
                            count(*) FILTER (WHERE s.state IN ('running', 'succeeded')) AS started,
                            sum(k.weight * coalesce(s.progress, 0))
                              FILTER (WHERE s.state <> 'available' OR s.progress > 0) / sum(k.weight) AS progress,
                            (array_agg(s.errors -> -1 ->> 'error' ORDER BY k.job_id) FILTER (
                               WHERE s.state = 'dead'
                                     OR s.state = 'cancelled'
                                     OR s.state = 'available' AND s.errors -> -1 ? 'postponed'))[1] AS error
                       FROM nebula.content_job k
                       JOIN nebula.job_status s USING (job_id)
                      WHERE k.content_id = f.content_id
                        AND NOT r.is_playable) j ON true;

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
COMMENT ON COLUMN nebula.file_status.folder IS 'Names of folders joined by slashes, empty at the top';
COMMENT ON COLUMN nebula.file_status.tags IS 'Words by which its people find it';
COMMENT ON COLUMN nebula.file_status.kind IS 'film, sound, picture or other';
COMMENT ON COLUMN nebula.file_status.duration IS 'Seconds; 0: none, or not known yet';
COMMENT ON COLUMN nebula.file_status.summary IS 'What was done with it and what was left out, as sentences';
COMMENT ON COLUMN nebula.file_status.warnings IS 'Damage, losses, and streams that were left out';
COMMENT ON COLUMN nebula.file_status.deleted_at IS 'Since when it has been in the trash; null: it is not';
