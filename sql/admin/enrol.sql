-- Makes an enrolment code, or lists the open ones.
--   psql -f sql/admin/enrol.sql                                                      the open ones
--   psql -v project=home -f sql/admin/enrol.sql                                      a code for one device, for a day
--   psql -v project=home -v name=nas -v role=host -v groups=backup,eu -v uses=1 -v lifetime='2 hours' \
--        -f sql/admin/enrol.sql
\pset footer off
\pset null '-'

\if :{?project}
\if :{?name}
\else
  \set name ''
\endif
\if :{?role}
\else
  \set role host
\endif
\if :{?groups}
\else
  \set groups ''
\endif
\if :{?uses}
\else
  \set uses 1
\endif
\if :{?lifetime}
\else
  \set lifetime '1 day'
\endif
SELECT e.code, to_char(e.expires_at, 'YYYY-MM-DD HH24:MI') AS "good until"
  FROM nebula.project p,
       nebula.create_enrolment(p.project_id, nullif(:'name', ''), :'role', string_to_array(:'groups', ','),
                               uses => :uses, lifetime => :'lifetime') e
 WHERE p.name = :'project';
\echo 'It is shown here and never again. On the device: nebulactl join --code CODE --server URL'
\else
SELECT project, name, role, array_to_string(groups, ', ') AS groups, uses || ' of ' || uses_max AS used,
       state, created_by, to_char(expires_at, 'YYYY-MM-DD HH24:MI') AS "good until", enrolment_id
  FROM nebula.enrolment_status
 WHERE state = 'open'
 ORDER BY expires_at;
\endif
