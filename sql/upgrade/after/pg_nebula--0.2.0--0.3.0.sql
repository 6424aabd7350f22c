-- From 0.2.0 to 0.3.0: steps that need the new tables and functions.
ALTER TABLE nebula.pool
  ADD CONSTRAINT pool_interface_id_fkey FOREIGN KEY (interface_id) REFERENCES nebula.node_interface ON DELETE SET NULL;

-- Limits of texts. Longer texts, which nobody needs, are cut; a character has at most four bytes.
INSERT INTO nebula.event (event_id, at, project_id, actor, actor_kind, actor_id, action, subject, subject_id, client,
                          detail)
OVERRIDING SYSTEM VALUE
SELECT e.event_id, e.at, e.project_id, CASE WHEN octet_length(e.actor) > 200 THEN left(e.actor, 50) ELSE e.actor END,
       nebula.kind_of_actor(e.actor, a.account_id), a.account_id, e.action, e.subject,
       CASE WHEN octet_length(e.subject_id) > 500 THEN left(e.subject_id, 125) ELSE e.subject_id END, e.client, e.detail
  FROM nebula.event_unsegmented e
  LEFT JOIN nebula.account a ON a.username = e.actor
   AND e.actor NOT IN ('agent', 'gateway', 'maintenance', 'rotation', 'scrub')
 ORDER BY e.event_id;
SELECT setval('nebula.event_event_id_seq', s.last_value, s.is_called) FROM nebula.event_unsegmented_event_id_seq s;
ALTER EXTENSION pg_nebula DROP SEQUENCE nebula.event_unsegmented_event_id_seq;
ALTER EXTENSION pg_nebula DROP TABLE nebula.event_unsegmented;
DROP TABLE nebula.event_unsegmented;
UPDATE nebula.firewall_rule r SET note = left(r.note, 250) WHERE octet_length(r.note) > 1000;
UPDATE nebula.reservation v SET reason = left(v.reason, 250) WHERE octet_length(v.reason) > 1000;
UPDATE nebula.reservation v SET created_by = left(v.created_by, 50) WHERE octet_length(v.created_by) > 200;
UPDATE nebula.enrolment e SET created_by = left(e.created_by, 50) WHERE octet_length(e.created_by) > 200;
UPDATE nebula.session s SET user_agent = left(s.user_agent, 200) WHERE octet_length(s.user_agent) > 800;
UPDATE nebula.rendition r SET content_type = left(r.content_type, 250) WHERE octet_length(r.content_type) > 1000;

ALTER TABLE nebula.project
  DROP CONSTRAINT project_name_check,
  ADD CONSTRAINT project_name_check CHECK (nebula.is_label(name));
ALTER TABLE nebula.pool
  DROP CONSTRAINT pool_name_check,
  ADD CONSTRAINT pool_name_check CHECK (nebula.is_label(name));
ALTER TABLE nebula.node
  DROP CONSTRAINT node_name_check,
  ADD CONSTRAINT node_name_check CHECK (nebula.is_name(name));
ALTER TABLE nebula.device
  DROP CONSTRAINT device_name_check,
  ADD CONSTRAINT device_name_check CHECK (nebula.is_name(name));
ALTER TABLE nebula.reservation
  DROP CONSTRAINT reservation_label_check,
  DROP CONSTRAINT IF EXISTS reservation_reason_check,
  DROP CONSTRAINT IF EXISTS reservation_creator_check,
  ADD CONSTRAINT reservation_label_check CHECK (nebula.is_label(label)),
  ADD CONSTRAINT reservation_reason_check CHECK (octet_length(reason) <= nebula.text_limit('note')),
  ADD CONSTRAINT reservation_creator_check CHECK (octet_length(created_by) <= nebula.text_limit('actor'));
ALTER TABLE nebula.job_schedule
  DROP CONSTRAINT job_schedule_name_check,
  DROP CONSTRAINT IF EXISTS job_schedule_cron_check,
  ADD CONSTRAINT job_schedule_name_check CHECK (nebula.is_label(name)),
  ADD CONSTRAINT job_schedule_cron_check CHECK (
    octet_length(cron) <= nebula.text_limit('cron') AND octet_length(time_zone) <= nebula.text_limit('cron'));
ALTER TABLE nebula.enrolment
  DROP CONSTRAINT enrolment_name_check,
  DROP CONSTRAINT IF EXISTS enrolment_creator_check,
  ADD CONSTRAINT enrolment_name_check CHECK (nebula.is_name(name)),
  ADD CONSTRAINT enrolment_creator_check CHECK (octet_length(created_by) <= nebula.text_limit('actor'));
ALTER TABLE nebula.firewall_rule
  DROP CONSTRAINT IF EXISTS firewall_rule_note_check,
  ADD CONSTRAINT firewall_rule_note_check CHECK (octet_length(note) <= nebula.text_limit('note'));
ALTER TABLE nebula.session
  DROP CONSTRAINT IF EXISTS session_user_agent_check,
  ADD CONSTRAINT session_user_agent_check CHECK (octet_length(user_agent) <= nebula.text_limit('client'));
ALTER TABLE nebula.rendition
  DROP CONSTRAINT IF EXISTS rendition_content_check,
  ADD CONSTRAINT rendition_content_check CHECK (
    octet_length(content_type) <= nebula.text_limit('content')
    AND octet_length(storage_key) <= nebula.text_limit('content'));

-- Files with the same bytes share the content of the first one. Renditions of the others lose their rows, and their
-- objects are found as orphans.
UPDATE nebula.file f
   SET content_id = (SELECT o.file_id
                       FROM nebula.file o
                      WHERE o.project_id = f.project_id
                        AND o.sha256 = f.sha256
                      ORDER BY o.uploaded_at, o.file_id
                      LIMIT 1);
DELETE FROM nebula.rendition r USING nebula.file f
 WHERE f.file_id = r.content_id
   AND f.content_id <> f.file_id;
INSERT INTO nebula.content (content_id, project_id, owner_id, size, sha256, content_type, storage_key, job_id,
                            stored_at)
SELECT f.file_id, f.project_id, f.owner_id, f.size, f.sha256,
       CASE WHEN octet_length(f.content_type) > 1000 THEN left(f.content_type, 250) ELSE f.content_type END,
       f.storage_key, f.job_id, f.uploaded_at
  FROM nebula.file f
 WHERE f.content_id = f.file_id;
INSERT INTO nebula.content_job (content_id, job_id, role)
SELECT c.content_id, c.job_id, 'plan' FROM nebula.content c WHERE c.job_id IS NOT NULL;
ALTER TABLE nebula.file
  DROP COLUMN size,
  DROP COLUMN sha256,
  DROP COLUMN content_type,
  DROP COLUMN storage_key,
  DROP COLUMN job_id,
  ALTER COLUMN content_id SET NOT NULL,
  ADD CONSTRAINT file_content_id_fkey FOREIGN KEY (content_id) REFERENCES nebula.content;
ALTER TABLE nebula.rendition
  ADD CONSTRAINT rendition_content_id_fkey FOREIGN KEY (content_id) REFERENCES nebula.content ON DELETE CASCADE;
ALTER TABLE nebula.file
  ADD CONSTRAINT file_folder_check CHECK (nebula.is_folder(folder)),
  ADD CONSTRAINT file_tags_check CHECK (nebula.are_tags(tags));
-- Files that were there before their trigger are counted; then renditions, likewise.
INSERT INTO nebula.file_count (project_id, files)
SELECT f.project_id, count(*) FROM nebula.file f GROUP BY f.project_id;
DO $$ BEGIN PERFORM nebula.check_storage(repair => true); END $$;
