-- The rights of each role; a role may do all that those before it may. The one place that says so: functions ask it by
-- nebula.require_permission, and the documents are written from it.
CREATE VIEW nebula.permission AS
SELECT action, least_role, description
  FROM (VALUES
    ('project.read', 'viewer', 'See a project: devices, pools, addresses, rules, routes, peers, jobs, events, options'),
    ('file.read', 'viewer', 'List, play and download files, and keep a place in them'),
    ('file.write', 'member', 'Upload, move, tag, trash, restore and purge files'),
    ('share.write', 'member', 'Make and end share links'),
    ('job.write', 'member', 'Cancel jobs and try them again'),
    ('device.register', 'member', 'Register devices of one''s own, which are hosts'),
    ('peer.write', 'member', 'Create peers, and change those of one''s own'),
    ('peer.admin', 'admin', 'Change peers of others, groups of peers, and what peers reach beyond the overlay'),
    ('device.write', 'admin', 'Release and revoke devices and certificates, set groups, let lighthouses and relays in'),
    ('event.origin', 'admin', 'See address and request of the events of others'),
    ('enrolment.write', 'admin', 'Make, list and end enrolment codes'),
    ('network.write', 'admin', 'Change firewall rules and routes'),
    ('member.invite', 'admin', 'Invite people as viewers and members'),
    ('project.write', 'owner', 'Change the options of a project'),
    ('member.write', 'owner', 'Add and remove members, and give them roles'),
    ('project.create', 'operator', 'Create and remove projects and pools'),
    ('quota.write', 'operator', 'Set how much a project or an account may store'),
    ('node.write', 'operator', 'Register, change, drain and remove nodes and their interfaces and secrets'),
    ('rotation.write', 'operator', 'Rotate the certificate authority of a project'),
    ('authority.read', 'operator', 'See all certificate authorities'),
    ('account.write', 'operator', 'Make, change, disable and delete accounts'),
    ('system.read', 'operator', 'See the machine: disk, battery, temperature, integrity of the storage')
  ) AS p(action, least_role, description);

COMMENT ON VIEW nebula.permission IS
  'What each role may do: viewer, member, admin, owner (of a project) and operator (an account of role admin). Each '
  'may do all that those before it may';
COMMENT ON COLUMN nebula.permission.action IS 'Name of what is done';
COMMENT ON COLUMN nebula.permission.least_role IS 'The least role that may do it';
COMMENT ON COLUMN nebula.permission.description IS 'In words';
