-- From 0.2.0 to 0.3.0: only what running the install script of the new version again (docker/upgrade.sh appends it)
-- cannot do: tables that change, and functions that are gone or have another signature.

-- Values beyond the ranges that sql/tables/value_range.sql now demands become the next one inside. Without triggers,
-- because functions that they call may be gone.
DO $$
DECLARE
  v_column record;
BEGIN
  SET LOCAL session_replication_role = replica;
  FOR v_column IN
    SELECT c.oid::regclass AS name, quote_ident(a.attname) AS column_name,
           CASE a.atttypid
             WHEN 'timestamptz'::regtype THEN $q$timestamptz '0001-01-01 00:00:00+00'$q$
             WHEN 'interval'::regtype THEN $q$interval '0'$q$
             ELSE '0'
           END AS least,
           CASE a.atttypid
             WHEN 'timestamptz'::regtype THEN $q$timestamptz '9999-12-31 23:59:59.999999+00'$q$
             WHEN 'interval'::regtype THEN $q$interval '100 years'$q$
             ELSE '1'
           END AS most
      FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     WHERE c.relnamespace = 'nebula'::regnamespace
       AND c.relkind IN ('r', 'p')
       AND NOT c.relispartition
       AND a.attgenerated = ''
       AND a.attname <> 'run_at'
       AND (a.atttypid IN ('timestamptz'::regtype, 'interval'::regtype) OR a.attname = 'progress')
  LOOP
    EXECUTE format('UPDATE %1$s SET %2$s = least(greatest(%2$s, %3$s), %4$s) WHERE %2$s NOT BETWEEN %3$s AND %4$s',
                   v_column.name, v_column.column_name, v_column.least, v_column.most);
  END LOOP;
  -- Lists lose what they must not have any more: lists and nothing.
  FOR v_column IN
    SELECT c.oid::regclass AS name, quote_ident(a.attname) AS column_name, t.typelem::regtype AS element
      FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
      JOIN pg_catalog.pg_type t ON t.oid = a.atttypid AND t.typcategory = 'A'
     WHERE c.relnamespace = 'nebula'::regnamespace
       AND c.relkind IN ('r', 'p')
       AND NOT c.relispartition
  LOOP
    EXECUTE format('UPDATE %1$s SET %2$s = ARRAY(SELECT u FROM unnest(%2$s) u WHERE u IS NOT NULL) '
                   'WHERE CASE WHEN array_ndims(%2$s) > 1 THEN true '
                   'ELSE array_position(%2$s, NULL::%3$s) IS NOT NULL END',
                   v_column.name, v_column.column_name, v_column.element);
  END LOOP;
  SET LOCAL session_replication_role = origin;
END $$;

-- Functions that only services and other functions call: they have another name now, or parameters with other names
-- (p_...) or types, which CREATE OR REPLACE refuses. The install script creates them again. 0.1.0 does not have all of
-- them.
DO $$
DECLARE
  v_function regprocedure;
BEGIN
  FOR v_function IN
    SELECT p.oid
      FROM pg_catalog.pg_proc p
     WHERE p.pronamespace = 'nebula'::regnamespace
       AND p.proname = ANY (ARRAY[
         'accept_call', 'accept_calls', 'accept_node_call', 'account_login', 'acting_member', 'add_answers',
         'add_rendition', 'add_route_for', 'add_rule_for', 'adopt_authority', 'advance_rotation', 'agent_keys',
         'announce_jobs', 'begin_rotation', 'bump_configuration', 'call_agent', 'cancel_job_for',
         'cancel_rotation', 'certificate_counts', 'check_label', 'claim_name', 'close_session',
         'create_enrolment_for', 'create_file', 'delete_file', 'device_configurations', 'device_networks',
         'device_revocation', 'device_status_for', 'device_unsafe_networks', 'drop_route_for', 'drop_rule_for',
         'enroll_device', 'enrolment_project', 'enter_rotation', 'expect_tick', 'file_content', 'find_jobs',
         'force_rotation', 'free_runs', 'give_agent', 'hold_when_free', 'leave_project', 'limit_certificates',
         'list_authorities', 'list_certificates', 'list_devices', 'list_enrolments', 'list_events',
         'list_files', 'list_jobs', 'list_node_secrets', 'list_nodes', 'list_pools', 'list_projects',
         'list_rotations', 'list_routes', 'list_rules', 'make_node_secret_for', 'node_secrets', 'notify_event',
         'notify_pool', 'open_session', 'project_configuration', 'project_lighthouses', 'project_options',
         'project_trust', 'raise_alarm', 'record_authority', 'record_certificates', 'record_event',
         'record_events', 'refuse_call', 'register_by_code', 'register_devices', 'register_node_for',
         'release_device', 'report_agent', 'require_account', 'require_admin', 'require_agentless',
         'require_device', 'require_job', 'require_member', 'require_node', 'require_pool', 'resize_pool',
         'retire_node_secret_for', 'retry_job_for', 'revoke_certificate_for', 'revoke_device_for',
         'revoke_enrolment_for', 'rotate_session', 'set_device_groups_for', 'set_project_options',
         'settle_revocations', 'shorten_quarantine', 'show_addresses', 'switch_pool', 'tell_agents',
         'tie_node_for', 'turn_segment', 'update_agents', 'use_enrolment', 'visible_projects'
       ])
  LOOP
    EXECUTE format('DROP FUNCTION %s', v_function);
  END LOOP;
END $$;

-- Events are kept in segments now, which the steps after the install script fill.
ALTER TABLE nebula.event RENAME TO event_unsegmented;
ALTER TABLE nebula.event_unsegmented RENAME CONSTRAINT event_pkey TO event_unsegmented_pkey;
ALTER INDEX nebula.event_subject_idx RENAME TO event_unsegmented_subject_idx;
ALTER INDEX nebula.event_project_idx RENAME TO event_unsegmented_project_idx;
ALTER SEQUENCE nebula.event_event_id_seq RENAME TO event_unsegmented_event_id_seq;

-- Nodes with overlapping ranges, which only an INSERT by hand could make, would violate the constraint below.
DO $$
DECLARE
  v_pair record;
BEGIN
  SELECT a.name AS name, a.cidr AS cidr, b.name AS other, b.cidr AS other_cidr
    INTO v_pair
    FROM nebula.node a
    JOIN nebula.node b ON a.cidr && b.cidr AND a.node_id <> b.node_id
   ORDER BY a.name, b.name
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'the ranges of the nodes "%" (%) and "%" (%) overlap',
        v_pair.name, v_pair.cidr, v_pair.other, v_pair.other_cidr
      USING ERRCODE = '23P01',
        HINT = 'Give one of them another range before the update: UPDATE nebula.node SET cidr = ... WHERE name = ...';
  END IF;
END $$;
ALTER TABLE nebula.node ADD CONSTRAINT node_cidr_excl EXCLUDE USING gist (cidr inet_ops WITH &&);

-- Peers. A node that a device represents is of its project. 0.1.0 does not know such devices: its nodes are of none.
DROP FUNCTION nebula.select_node(text, text);
DROP INDEX nebula.node_choice_idx;
ALTER TABLE nebula.node
  ADD COLUMN project_id uuid REFERENCES nebula.project,
  ADD COLUMN local boolean NOT NULL DEFAULT false,
  ADD COLUMN device_gone text,
  ADD COLUMN soft_max_peers integer,
  ADD COLUMN labels jsonb NOT NULL DEFAULT '{}',
  ADD COLUMN desired_state text NOT NULL DEFAULT 'active',
  ADD COLUMN repair boolean NOT NULL DEFAULT true,
  ADD COLUMN obstacles text[] NOT NULL DEFAULT '{}',
  ADD COLUMN synced_at timestamptz,
  ADD COLUMN synced_version bigint NOT NULL DEFAULT 0,
  ADD COLUMN alarms text[] NOT NULL DEFAULT '{}',
  ADD COLUMN rank double precision NOT NULL
             GENERATED ALWAYS AS (active_peers::double precision / max_peers / weight
                                  + CASE WHEN active_peers >= soft_max_peers THEN 1000 ELSE 0 END) STORED,
  ADD COLUMN rank_step integer NOT NULL DEFAULT 16,
  ADD COLUMN rank_bound double precision NOT NULL
             GENERATED ALWAYS AS (CASE
                                    WHEN active_peers >= max_peers THEN 'Infinity'
                                    ELSE (active_peers - active_peers % rank_step)::double precision
                                         / max_peers / weight
                                         + CASE
                                             WHEN active_peers - active_peers % rank_step >= soft_max_peers
                                             THEN 1000
                                             ELSE 0
                                           END
                                  END) STORED,
  ADD CONSTRAINT node_rank_step_check CHECK (rank_step >= 1),
  DROP CONSTRAINT node_endpoint_check,
  ADD CONSTRAINT node_endpoint_check CHECK (
    endpoint ~ '^(\[[0-9a-fA-F:.]+\]|[^][\s:]+):[0-9]{1,5}$' OR local AND endpoint = ''),
  ADD CONSTRAINT node_local_check CHECK (NOT local OR project_id IS NOT NULL),
  ADD CONSTRAINT node_soft_max_peers_check CHECK (soft_max_peers BETWEEN 1 AND 1000000),
  ADD CONSTRAINT node_labels_check CHECK (jsonb_typeof(labels) = 'object'),
  ADD CONSTRAINT node_device_gone_check CHECK (device_gone IN ('revoked', 'removed')),
  ADD CONSTRAINT node_state_check CHECK (desired_state IN ('active', 'draining', 'disabled')),
  SET (fillfactor = 50);
-- One says what the other does: a trigger of the install script keeps it so.
UPDATE nebula.node n SET desired_state = 'disabled' WHERE NOT n.enabled;
ALTER TABLE nebula.node ADD CONSTRAINT node_enabled_check CHECK (enabled = (desired_state = 'active'));
-- Sessions end for more reasons.
ALTER TABLE nebula.session
  DROP CONSTRAINT session_end_reason_check,
  ADD CONSTRAINT session_end_reason_check
    CHECK (end_reason IN ('logout', 'ended', 'reuse', 'password', 'disabled'));
ALTER TABLE nebula.session_token
  ADD COLUMN next_hash bytea,
  ADD COLUMN retry_hash bytea,
  ADD CONSTRAINT session_token_next_check CHECK (next_hash IS NULL OR replaced_at IS NOT NULL),
  ADD CONSTRAINT session_token_retry_check CHECK (retry_hash IS NULL OR next_hash IS NOT NULL);

-- Members get roles; those of before keep what they may do. add_member takes the role.
ALTER TABLE nebula.project_member
  ADD COLUMN role text NOT NULL DEFAULT 'member',
  ADD CONSTRAINT project_member_role_check CHECK (role IN ('viewer', 'member', 'admin', 'owner'));
DROP FUNCTION nebula.add_member(uuid, text);

ALTER TABLE nebula.project
  ADD COLUMN member_reach text NOT NULL DEFAULT 'overlay',
  ADD COLUMN dns_domain   text,
  ADD CONSTRAINT project_reach_check CHECK (member_reach IN ('overlay', 'internet')),
  ADD CONSTRAINT project_domain_check CHECK (
    dns_domain ~ '^(?!(.*\.)?local$)(?=.{1,253}$)'
                 '([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$');
UPDATE nebula.node n
   SET project_id = d.project_id,
       device_gone = CASE WHEN d.revoked_at IS NOT NULL THEN 'revoked' END
  FROM nebula.device d
 WHERE d.device_id = n.device_id;
-- The foreign key to the interface follows when there are interfaces: sql/upgrade/after.
ALTER TABLE nebula.pool
  ADD COLUMN purpose text NOT NULL DEFAULT 'device',
  ADD COLUMN interface_id uuid,
  ADD CONSTRAINT pool_purpose_check CHECK (purpose IN ('device', 'peer')),
  ADD CONSTRAINT pool_interface_check CHECK (interface_id IS NULL OR purpose = 'peer' AND gateway IS NOT NULL);

-- Renamed. 0.1.0 does not have the triggers and indexes.
ALTER INDEX IF EXISTS nebula.device_landmark_idx RENAME TO device_static_host_idx;
ALTER INDEX IF EXISTS nebula.device_landmark_key RENAME TO device_static_host_key;
ALTER INDEX IF EXISTS nebula.job_waiting_pinned_idx RENAME TO job_waiting_restricted_idx;
DROP TRIGGER IF EXISTS named_device_added ON nebula.device;
DROP TRIGGER IF EXISTS named_device_removed ON nebula.device;
DROP TRIGGER IF EXISTS named_device_changed ON nebula.device;
DROP TRIGGER IF EXISTS named_route_changed ON nebula.route;

-- In hours, because how long 30 days are depends on the time zone of the session. 0.1.0 has no such table.
ALTER TABLE IF EXISTS nebula.enrolment
  DROP CONSTRAINT enrolment_expiry_check,
  ADD CONSTRAINT enrolment_expiry_check CHECK (expires_at BETWEEN created_at AND created_at + interval '722 hours');

-- Null until a gateway shows the authority again. 0.1.0 has neither table.
ALTER TABLE IF EXISTS nebula.authority
  ADD COLUMN networks inet[],
  ADD COLUMN unsafe_networks inet[],
  ADD COLUMN groups text[];
ALTER TABLE IF EXISTS nebula.rotation ADD COLUMN returns boolean NOT NULL DEFAULT false;

-- Names of files become NFC, without characters that turn the direction of text. A name that another file has, or that
-- would be empty or too long, is cut and gets the file's identifier.
DO $$
DECLARE
  v_file record;
  v_name text;
BEGIN
  IF getdatabaseencoding() = 'UTF8' THEN
    FOR v_file IN
      SELECT f.file_id, f.project_id, f.name
        FROM nebula.file f
       WHERE f.name IS NOT NFC NORMALIZED
          OR f.name ~ '[\u202A-\u202E\u2066-\u2069]'
       ORDER BY f.uploaded_at, f.file_id
    LOOP
      v_name := normalize(regexp_replace(v_file.name, '[\u202A-\u202E\u2066-\u2069]', '', 'g'));
      IF octet_length(v_name) NOT BETWEEN 1 AND 255 OR v_name IN ('.', '..')
         OR EXISTS (SELECT FROM nebula.file f WHERE f.project_id = v_file.project_id AND f.name = v_name)
      THEN
        v_name := normalize(left(v_name, 40)) || ' ' || v_file.file_id
                  || coalesce(substring(v_name FROM '\.[A-Za-z0-9]{1,10}$'), '');
      END IF;
      UPDATE nebula.file f
         SET name = v_name
       WHERE f.file_id = v_file.file_id;
    END LOOP;
  END IF;
END $$;
ALTER TABLE nebula.file ADD CONSTRAINT file_name_unicode_check CHECK (
  CASE
    WHEN getdatabaseencoding() = 'UTF8'
    THEN name IS NFC NORMALIZED AND name !~ '[\u202A-\u202E\u2066-\u2069]'
    ELSE true
  END);

-- Files are names of contents; sql/upgrade/after moves what they have in common, once that table is there.
ALTER TABLE nebula.file ADD COLUMN content_id uuid;
ALTER TABLE nebula.rendition DROP CONSTRAINT rendition_file_id_fkey;
ALTER TABLE nebula.rendition RENAME COLUMN file_id TO content_id;
ALTER TABLE nebula.rendition RENAME CONSTRAINT rendition_file_kind_key TO rendition_content_kind_key;

-- Folders, tags and the trash. The generated columns need their functions before the install script makes them.
CREATE FUNCTION nebula.folded(p_text text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
         WHEN getdatabaseencoding() = 'UTF8'
         THEN regexp_replace(normalize(lower(p_text), NFD), '[\u0300-\u036F]', '', 'g')
         ELSE lower(p_text)
       END;
CREATE FUNCTION nebula.sort_key(p_text text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN left(regexp_replace(regexp_replace(regexp_replace(
              nebula.folded(p_text),
              '0*([0-9]+)', '\1', 'g'),
              '([0-9]+)', '0000000000000000\1', 'g'),
              '0*([0-9]{16,})(?![0-9])', '\1', 'g'),
            400);
ALTER TABLE nebula.file
  DROP CONSTRAINT file_project_name_key,
  ADD COLUMN folder text COLLATE "C" NOT NULL DEFAULT '',
  ADD COLUMN tags text[] NOT NULL DEFAULT '{}',
  ADD COLUMN deleted_at timestamptz,
  ADD COLUMN name_folded text COLLATE "C" GENERATED ALWAYS AS (nebula.folded(name)) STORED,
  ADD COLUMN name_key text COLLATE "C" GENERATED ALWAYS AS (nebula.sort_key(name)) STORED;

-- Sealed secrets are longer. 0.1.0 has no such table.
ALTER TABLE IF EXISTS nebula.node_secret
  DROP CONSTRAINT node_secret_length_check,
  ADD CONSTRAINT node_secret_length_check CHECK (octet_length(secret) IN (32, 60));
