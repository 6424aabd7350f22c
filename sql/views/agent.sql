-- Agents: the configuration each device runs, and its last call.
CREATE VIEW nebula.agent_status AS
SELECT p.name AS project, d.name, d.role, d.last_seen_at, a.acknowledged_version AS runs,
       p.config_version AS newest,
       CASE WHEN d.revoked_at IS NOT NULL THEN 'revoked' ELSE nebula.agent_due(a.device_id) END AS due,
       a.nebula_version, a.agent_version, a.refused_reason, a.reported_at, a.device_id, a.project_id
  FROM nebula.agent a
  JOIN nebula.device d USING (device_id)
  JOIN nebula.project p ON p.project_id = a.project_id;

COMMENT ON VIEW nebula.agent_status IS 'Agents: what each device runs, and what it should fetch';
COMMENT ON COLUMN nebula.agent_status.project IS 'Name of the project';
COMMENT ON COLUMN nebula.agent_status.name IS 'Name of the device';
COMMENT ON COLUMN nebula.agent_status.role IS 'host, lighthouse or relay';
COMMENT ON COLUMN nebula.agent_status.last_seen_at IS 'Last call';
COMMENT ON COLUMN nebula.agent_status.runs IS 'Version of the project''s configuration it is known to run';
COMMENT ON COLUMN nebula.agent_status.newest IS 'Version of the project''s configuration';
COMMENT ON COLUMN nebula.agent_status.due IS 'certificate, configuration, revoked, or null: up to date';
COMMENT ON COLUMN nebula.agent_status.nebula_version IS 'Version of its nebula';
COMMENT ON COLUMN nebula.agent_status.agent_version IS 'Version of the agent';
COMMENT ON COLUMN nebula.agent_status.refused_reason IS
  'Why its nebula would not take a configuration, the last time';
COMMENT ON COLUMN nebula.agent_status.reported_at IS 'Last report';
COMMENT ON COLUMN nebula.agent_status.device_id IS 'The device';
COMMENT ON COLUMN nebula.agent_status.project_id IS 'The project';
