-- The audit log with the names of projects.
CREATE VIEW nebula.event_log AS
SELECT e.event_id, e.at, e.actor, e.action, e.subject, e.subject_id, p.name AS project, e.client, e.detail,
       e.project_id, e.actor_kind, e.actor_id, e.request_id
  FROM nebula.event e
  LEFT JOIN nebula.project p USING (project_id);

COMMENT ON VIEW nebula.event_log IS 'Actions: actor, object, time, origin';
COMMENT ON COLUMN nebula.event_log.event_id IS 'Order of writing';
COMMENT ON COLUMN nebula.event_log.at IS 'When';
COMMENT ON COLUMN nebula.event_log.actor IS 'Who';
COMMENT ON COLUMN nebula.event_log.action IS 'Did what';
COMMENT ON COLUMN nebula.event_log.subject IS 'To what kind of thing';
COMMENT ON COLUMN nebula.event_log.subject_id IS 'Which one';
COMMENT ON COLUMN nebula.event_log.project IS 'Name of the project';
COMMENT ON COLUMN nebula.event_log.client IS 'From where';
COMMENT ON COLUMN nebula.event_log.detail IS 'Further details';
COMMENT ON COLUMN nebula.event_log.project_id IS 'The project';
COMMENT ON COLUMN nebula.event_log.actor_kind IS 'account, agent, gateway, system or login (a role of the database)';
COMMENT ON COLUMN nebula.event_log.actor_id IS 'The account, where one did it';
COMMENT ON COLUMN nebula.event_log.request_id IS 'X-Request-Id of the request to the gateway';
