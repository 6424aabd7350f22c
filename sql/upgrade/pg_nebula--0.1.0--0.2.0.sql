-- From 0.1.0 to 0.2.0: only what running the install script of the new version again (docker/upgrade.sh appends it)
-- cannot do: tables that change, and functions that are gone or have another signature.

ALTER TABLE nebula.pool
  ADD COLUMN enabled     boolean     NOT NULL DEFAULT true,
  ADD COLUMN thresholds  integer[]   NOT NULL DEFAULT '{80,90,95}',
  ADD COLUMN alarmed     integer     NOT NULL DEFAULT 0,
  ADD CONSTRAINT pool_thresholds_check CHECK (1 <= ALL (thresholds) AND 100 >= ALL (thresholds));

ALTER TABLE nebula.allocation ADD COLUMN client inet;
DROP INDEX nebula.allocation_device_key;

-- Otherwise the dropped sequence would stay in the list of what pg_dump saves.
ALTER EXTENSION pg_nebula DROP SEQUENCE nebula.allocation_log_log_id_seq;
ALTER TABLE nebula.allocation_log
  ADD COLUMN allocated_from inet,
  ADD COLUMN released_from  inet,
  DROP COLUMN log_id;

ALTER TABLE nebula.device ADD COLUMN groups text[] NOT NULL DEFAULT '{}';

ALTER TABLE nebula.project
  ADD COLUMN config_version        bigint      NOT NULL DEFAULT 1,
  ADD COLUMN certificate_lifetime  interval,
  ADD COLUMN certificate_versions  smallint[]  NOT NULL DEFAULT '{1,2}',
  ADD COLUMN mtu                   integer     NOT NULL DEFAULT 1300,
  ADD COLUMN cipher                text        NOT NULL DEFAULT 'aes',
  ADD COLUMN punchy                boolean     NOT NULL DEFAULT true,
  ADD COLUMN dns_port              integer,
  ADD COLUMN inbound               text        NOT NULL DEFAULT 'open',
  ADD COLUMN outbound              text        NOT NULL DEFAULT 'open',
  ADD COLUMN sync_pending_kib      integer,
  ADD COLUMN sync_hashers          integer,
  ADD COLUMN sync_writes           integer,
  ADD COLUMN sync_order            text,
  ADD COLUMN sync_connections      integer,
  ADD CONSTRAINT project_lifetime_check CHECK (
    certificate_lifetime BETWEEN interval '1 minute' AND interval '10 years'),
  ADD CONSTRAINT project_versions_check CHECK (certificate_versions IN ('{1}', '{2}', '{1,2}')),
  ADD CONSTRAINT project_mtu_check CHECK (mtu BETWEEN 576 AND 9001),
  ADD CONSTRAINT project_cipher_check CHECK (cipher IN ('aes', 'chachapoly')),
  ADD CONSTRAINT project_dns_check CHECK (dns_port BETWEEN 1 AND 65535),
  ADD CONSTRAINT project_stance_check CHECK (inbound IN ('open', 'closed') AND outbound IN ('open', 'closed')),
  ADD CONSTRAINT project_sync_check CHECK (
    sync_pending_kib BETWEEN 16384 AND 4194304 AND sync_hashers BETWEEN 1 AND 256 AND sync_writes BETWEEN 1 AND 64
    AND sync_order IN ('standard', 'random', 'inOrder') AND sync_connections BETWEEN 1 AND 128);

ALTER TABLE nebula.node
  ADD COLUMN device_id uuid REFERENCES nebula.device ON DELETE SET NULL,
  ADD CONSTRAINT node_device_key UNIQUE (device_id);

ALTER TABLE nebula.certificate
  ADD COLUMN name                   text,
  ADD COLUMN unsafe_networks        inet[] NOT NULL DEFAULT '{}',
  ADD COLUMN revoked_version        bigint,
  ADD COLUMN revoked_everywhere_at  timestamptz,
  ADD CONSTRAINT certificate_revoked_check CHECK (revoked_everywhere_at IS NULL OR revoked_at IS NOT NULL);

-- Signatures that changed; the install script creates them again.
DROP VIEW nebula.pool_status;
DROP FUNCTION nebula.wait_for_address(uuid, inet, bigint, integer);
DROP FUNCTION nebula.allocate_ip(uuid, uuid, text, text, inet, interval);
DROP FUNCTION nebula.release_ip(uuid, text);
DROP FUNCTION nebula.register_device(uuid, uuid, uuid, text, text, bytea, text, text[], inet);
DROP FUNCTION nebula.record_certificate(
  uuid, uuid, bytea, bytea, smallint, text, text[], text[], bytea, bytea, timestamptz, timestamptz, text);

-- Jobs: the functions check values now, and the constraints are gone.
ALTER TABLE nebula.job_waiting
  ADD COLUMN ready       boolean NOT NULL DEFAULT true,
  ADD COLUMN on_dead     text    NOT NULL DEFAULT 'cancel',
  ADD COLUMN capability  text,
  DROP CONSTRAINT job_waiting_kind_check,
  DROP CONSTRAINT job_waiting_payload_check,
  DROP CONSTRAINT job_waiting_attempts_check,
  DROP CONSTRAINT job_waiting_blocked_check,
  SET (vacuum_truncate = false);
UPDATE nebula.job_waiting SET ready = false WHERE blocked_by > 0 OR run_at > now();
DROP INDEX nebula.job_waiting_claim_idx;

ALTER TABLE nebula.job_running
  ADD COLUMN run_at      timestamptz,
  ADD COLUMN on_dead     text    NOT NULL DEFAULT 'cancel',
  ADD COLUMN capability  text,
  ADD COLUMN limited     boolean NOT NULL DEFAULT false,
  DROP CONSTRAINT job_running_attempt_check,
  DROP CONSTRAINT job_running_progress_check,
  SET (vacuum_truncate = false),
  RESET (fillfactor);
UPDATE nebula.job_running SET run_at = enqueued_at;
ALTER TABLE nebula.job_running ALTER COLUMN run_at SET NOT NULL, ALTER COLUMN on_dead DROP DEFAULT;

ALTER TABLE nebula.job_key ADD COLUMN held_until timestamptz;
ALTER TABLE nebula.job_dependency ADD CONSTRAINT job_dependency_check CHECK (parent_id <> child_id);

-- Finished jobs move into segments after the install script has created them: see after/.
DROP VIEW nebula.file_status;
DROP VIEW nebula.job_status;
ALTER EXTENSION pg_nebula DROP TABLE nebula.job_finished;
ALTER TABLE nebula.job_finished RENAME TO job_finished_0_1_0;
ALTER INDEX nebula.job_finished_pkey RENAME TO job_finished_0_1_0_pkey;

DROP FUNCTION nebula.enqueue_job(text, jsonb, integer, timestamptz, integer, text, bigint[], uuid, uuid);
DROP FUNCTION nebula.claim_jobs(text, text[], integer, interval, uuid);
DROP FUNCTION nebula.list_jobs(uuid, uuid, bigint, integer);
