-- Makes an invitation: a code by which one person makes an account, on the gateway's page /invite#CODE.
--   psql -v role=admin -f sql/admin/invite.sql                      an operator, also when nobody can sign in any more
--   psql -v project=home -v role=viewer -f sql/admin/invite.sql     a viewer, member, admin or owner of a project
-- A lost password is replaced outside psql: nebula-gateway account NAME --role ROLE --password-file FILE.
-- A lost second factor: SELECT nebula.remove_totp('name').
\pset footer off
\if :{?role}
\else
  \set role member
\endif
\if :{?project}
  SELECT i.code, i.expires_at
    FROM nebula.project p, nebula.invite(p.project_id, :'role') i
   WHERE p.name = :'project';
\else
  SELECT i.code, i.expires_at FROM nebula.invite(role => :'role') i;
\endif
