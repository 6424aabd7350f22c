-- Firewall rules between members, rendered into nebula.yml of the devices a rule is for. nebula drops everything that
-- no rule allows, so there are only rules that allow.
CREATE TABLE nebula.firewall_rule (
  rule_id        bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
  project_id     uuid        NOT NULL REFERENCES nebula.project ON DELETE CASCADE,
  direction      text        NOT NULL,
  for_group      text,
  for_device     uuid        REFERENCES nebula.device ON DELETE CASCADE,
  protocol       text        NOT NULL DEFAULT 'any',
  port_first     integer,
  port_last      integer,
  remote_groups  text[]      NOT NULL DEFAULT '{}',
  remote_cidr    cidr,
  remote_device  uuid        REFERENCES nebula.device ON DELETE CASCADE,
  local_cidr     cidr,
  note           text        NOT NULL DEFAULT '',
  created_at     timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT firewall_rule_pkey PRIMARY KEY (rule_id),
  CONSTRAINT firewall_rule_direction_check CHECK (direction IN ('inbound', 'outbound')),
  CONSTRAINT firewall_rule_for_check CHECK (num_nonnulls(for_group, for_device) <= 1 AND for_group <> ''),
  CONSTRAINT firewall_rule_protocol_check CHECK (protocol IN ('any', 'tcp', 'udp', 'icmp')),
  CONSTRAINT firewall_rule_port_check CHECK (
    port_first IS NULL AND port_last IS NULL
    OR port_first IS NOT NULL AND port_first BETWEEN 1 AND 65535
       AND (port_last IS NULL OR port_last BETWEEN port_first AND 65535)),
  CONSTRAINT firewall_rule_icmp_check CHECK (protocol <> 'icmp' OR port_first IS NULL),
  CONSTRAINT firewall_rule_remote_check CHECK (
    num_nonnulls(remote_cidr, remote_device, nullif(remote_groups, '{}')) <= 1
    AND array_position(remote_groups, NULL) IS NULL),
  CONSTRAINT firewall_rule_note_check CHECK (octet_length(note) <= nebula.text_limit('note'))
);
-- All rules of a project are read for each configuration.
CREATE INDEX firewall_rule_project_idx ON nebula.firewall_rule (project_id);
-- Follow the cascades from device.
CREATE INDEX firewall_rule_for_idx ON nebula.firewall_rule (for_device) WHERE for_device IS NOT NULL;
CREATE INDEX firewall_rule_remote_idx ON nebula.firewall_rule (remote_device) WHERE remote_device IS NOT NULL;
SELECT pg_catalog.pg_extension_config_dump('nebula.firewall_rule', '');
SELECT pg_catalog.pg_extension_config_dump('nebula.firewall_rule_rule_id_seq', '');

COMMENT ON TABLE nebula.firewall_rule IS 'Firewall rules of a project; each allows something';
COMMENT ON COLUMN nebula.firewall_rule.rule_id IS 'Identifier, and order in nebula.yml';
COMMENT ON COLUMN nebula.firewall_rule.project_id IS 'The project';
COMMENT ON COLUMN nebula.firewall_rule.direction IS 'inbound or outbound, as seen by the devices that apply it';
COMMENT ON COLUMN nebula.firewall_rule.for_group IS
  'For devices of this group; null, and no device either: for all';
COMMENT ON COLUMN nebula.firewall_rule.for_device IS 'For this device';
COMMENT ON COLUMN nebula.firewall_rule.protocol IS 'any, tcp, udp or icmp';
COMMENT ON COLUMN nebula.firewall_rule.port_first IS 'First port; null: any';
COMMENT ON COLUMN nebula.firewall_rule.port_last IS 'Last port; null: only the first';
COMMENT ON COLUMN nebula.firewall_rule.remote_groups IS
  'The other side is in all of these groups; empty, and neither network nor device: anybody';
COMMENT ON COLUMN nebula.firewall_rule.remote_cidr IS 'The other side has an address in this network';
COMMENT ON COLUMN nebula.firewall_rule.remote_device IS
  'The other side is this device, by the name in its certificate';
COMMENT ON COLUMN nebula.firewall_rule.local_cidr IS
  'Only traffic to this network behind the device. nebula before 1.9 ignores it and would allow all '
  'traffic, so devices that report such a version do not get the rule';
COMMENT ON COLUMN nebula.firewall_rule.note IS 'Purpose';
COMMENT ON COLUMN nebula.firewall_rule.created_at IS 'When it was made';
