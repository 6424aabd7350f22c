-- Agents: the configuration each device runs, and what it should fetch next.
--   psql -f sql/admin/agents.sql                      all
--   psql -v project=home -f sql/admin/agents.sql      one project, by name
\if :{?project}
\else
  \set project ''
\endif
\pset footer off
\pset null '-'

SELECT project, name, role, runs || ' of ' || newest AS configuration, coalesce(due, 'up to date') AS due,
       to_char(last_seen_at, 'YYYY-MM-DD HH24:MI') AS "last seen", nebula_version AS nebula,
       agent_version AS agent, refused_reason AS refused
  FROM nebula.agent_status
 WHERE :'project' IN ('', project)
 ORDER BY project, name;
