-- Authorities and the projects they sign for, by expiry.
CREATE VIEW nebula.authority_status AS
SELECT a.name, encode(a.fingerprint, 'hex') AS fingerprint, a.curve, a.version, a.not_before, a.not_after,
       floor(extract(epoch FROM a.not_after - now()) / 86400)::integer AS days_left,
       coalesce(p.projects, '{}') AS projects,
       CASE
         WHEN cardinality(p.projects) IS NULL THEN NULL
         WHEN a.not_after < now() THEN 'expired: devices cannot renew'
         WHEN cardinality(p.projects) > 1 THEN
           format('signs for %s projects, so that devices of one can enter the others: make one for each '
                  'but the first and rotate to it', cardinality(p.projects))
         WHEN a.not_after < now() + interval '60 days' THEN 'expires soon: make another and rotate to it'
       END AS warning
  FROM nebula.authority a
  LEFT JOIN (SELECT s.fingerprint, array_agg(j.name ORDER BY j.name) AS projects
               FROM nebula.project_authority s
               JOIN nebula.project j USING (project_id)
              GROUP BY s.fingerprint) p USING (fingerprint)
 ORDER BY a.not_after;

COMMENT ON VIEW nebula.authority_status IS
  'Certificate authorities, what they sign for and how long they last';
COMMENT ON COLUMN nebula.authority_status.name IS 'Name in its certificate';
COMMENT ON COLUMN nebula.authority_status.fingerprint IS 'SHA-256, hex';
COMMENT ON COLUMN nebula.authority_status.curve IS '25519 or P256';
COMMENT ON COLUMN nebula.authority_status.version IS 'Encoding of its own certificate';
COMMENT ON COLUMN nebula.authority_status.not_before IS 'Valid from';
COMMENT ON COLUMN nebula.authority_status.not_after IS 'Valid until';
COMMENT ON COLUMN nebula.authority_status.days_left IS 'Whole days until then; negative when it has expired';
COMMENT ON COLUMN nebula.authority_status.projects IS 'Names of the projects it signs for';
COMMENT ON COLUMN nebula.authority_status.warning IS
  'From 60 days before the end, if it signs for anyone, and while it signs for several projects';

-- Rotations, running ones first.
CREATE VIEW nebula.rotation_status AS
SELECT p.name AS project, o.name AS retiring, n.name AS incoming, r.state, r.started_by, r.started_at,
       r.changed_at, coalesce(m.missing, '{}') AS missing,
       encode(r.retiring, 'hex') AS retiring_fingerprint, encode(r.incoming, 'hex') AS incoming_fingerprint,
       r.rotation_id, r.project_id
  FROM nebula.rotation r
  JOIN nebula.project p USING (project_id)
  JOIN nebula.authority o ON o.fingerprint = r.retiring
  JOIN nebula.authority n ON n.fingerprint = r.incoming
  LEFT JOIN LATERAL (SELECT array_agg(w.name ORDER BY w.name) AS missing
                       FROM nebula.rotation_missing(r) w) m ON r.state NOT IN ('done', 'cancelled')
 ORDER BY r.state IN ('done', 'cancelled'), r.started_at DESC;

COMMENT ON VIEW nebula.rotation_status IS 'Rotations of authorities: state, and the devices that they wait for';
COMMENT ON COLUMN nebula.rotation_status.project IS 'Name of the project';
COMMENT ON COLUMN nebula.rotation_status.retiring IS 'Name of the authority that signed before';
COMMENT ON COLUMN nebula.rotation_status.incoming IS 'Name of the one that takes over';
COMMENT ON COLUMN nebula.rotation_status.state IS 'distributing, reissuing, retiring, done or cancelled';
COMMENT ON COLUMN nebula.rotation_status.started_by IS 'User who started it';
COMMENT ON COLUMN nebula.rotation_status.started_at IS 'When';
COMMENT ON COLUMN nebula.rotation_status.changed_at IS 'Since when it is in this state';
COMMENT ON COLUMN nebula.rotation_status.missing IS 'Names of the live members it waits for';
COMMENT ON COLUMN nebula.rotation_status.retiring_fingerprint IS 'SHA-256, hex';
COMMENT ON COLUMN nebula.rotation_status.incoming_fingerprint IS 'SHA-256, hex';
COMMENT ON COLUMN nebula.rotation_status.rotation_id IS 'Identifier';
COMMENT ON COLUMN nebula.rotation_status.project_id IS 'The project';
