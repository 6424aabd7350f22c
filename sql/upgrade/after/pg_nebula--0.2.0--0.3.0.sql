-- From 0.2.0 to 0.3.0: steps that need the new tables and functions.
ALTER TABLE nebula.pool
  ADD CONSTRAINT pool_interface_id_fkey FOREIGN KEY (interface_id) REFERENCES nebula.node_interface ON DELETE SET NULL;

-- Limits of texts. Longer texts, which nobody needs, are cut; a character has at most four bytes.
UPDATE nebula.event e
   SET actor = left(e.actor, 50),
       subject_id = left(e.subject_id, 125)
 WHERE octet_length(e.actor) > 200
    OR octet_length(e.subject_id) > 500;
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
ALTER TABLE nebula.event
  DROP CONSTRAINT IF EXISTS event_actor_check,
  ADD CONSTRAINT event_actor_check CHECK (
    octet_length(actor) <= nebula.text_limit('actor') AND octet_length(subject_id) <= nebula.text_limit('subject'));
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
