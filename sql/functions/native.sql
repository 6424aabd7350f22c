-- Comments on the functions written in Rust.

COMMENT ON FUNCTION nebula.create_project(text, inet) IS
  'Makes a project. cidr: the whole overlay, every pool lies inside it. Errors: 22023 malformed name or '
  'host bits set, 23505 name taken';
COMMENT ON FUNCTION nebula.require_project(uuid) IS
  'Internal: refuses a project that does not exist. Errors: P0002 no such project';
COMMENT ON FUNCTION nebula.populate_pool(uuid, inet, text, boolean) IS
  'Makes a pool of a range; answers how many addresses it can give out. Errors: P0002 no such project, '
  '22023 malformed or outside the overlay, 23505 name taken or overlapping';
COMMENT ON FUNCTION nebula.assignable_range(inet) IS
  'Internal: first and last address of a range that may be given out, and how many they are';
COMMENT ON FUNCTION nebula.allocate_ip(uuid, uuid, text, text, inet, interval, text, integer, inet) IS
  'Gives a device the lowest free address, or the one asked for; again: the same. label: from the range '
  'reserved under this name first. family: 4 or 6. client: recorded instead of the connection''s '
  'address. Errors: P0002 no such project, pool or range, 22023 address outside or reserved, 23505 '
  'taken, 55000 device holds another or pool disabled, 53400 exhausted';
COMMENT ON FUNCTION nebula.allocate_batch(uuid, uuid[], text, text, interval, text, integer, inet) IS
  'Internal: the work of allocate_ips: addresses in the order of the devices, null for one named before';
COMMENT ON FUNCTION nebula.allocate_dual(uuid, uuid, text, interval, text, inet) IS
  'allocate_ip once for each family the project has an enabled pool for, IPv4 first: both or none. '
  'Errors: as allocate_ip';
COMMENT ON FUNCTION nebula.touch_device(uuid) IS
  'Notes a sign of life of a device, in linked tables too; does not prolong a lease. Errors: P0002 no '
  'such device';
COMMENT ON FUNCTION nebula.show_addresses(uuid[]) IS
  'Internal: shows in linked tables what these devices hold now';
COMMENT ON FUNCTION nebula.span(inet, inet) IS
  'Internal: how many addresses there are from the first to the last, both counted';
COMMENT ON FUNCTION nebula.allocate_nebula_ip(uuid, uuid, text) IS
  'allocate_ip under the name that existing clients call';
COMMENT ON FUNCTION nebula.release_ip(uuid, text, inet, inet) IS
  'Releases what a device holds, or only the address named; it stays in quarantine while a valid '
  'certificate names the device. Errors: P0002 never held one, 55000 released already';
COMMENT ON FUNCTION nebula.release_nebula_ip_by_device(uuid) IS
  'release_ip under the name that existing clients call';
COMMENT ON FUNCTION nebula.register_node(text, text, integer, integer, inet, text[]) IS
  'Makes a node known, or updates it. Errors: 22023 malformed argument, 23505 range of another node, '
  '55000 hosts more peers than max_peers';
COMMENT ON FUNCTION nebula.node_scores() IS
  'Every node, lowest score first, and why it takes no peer if it takes none';
COMMENT ON FUNCTION nebula.select_node(text, text) IS
  'Node for the next peer: auto, random or name:NAME; null when there are no nodes. Errors: 22023 '
  'unknown strategy, P0002 no such node, 53000 none fits';
COMMENT ON FUNCTION nebula.enqueue_job(
  text, jsonb, integer, timestamptz, integer, text, bigint[], uuid, uuid, text, interval, text
) IS
  'Enqueues a job, or answers the one that has the same unique_key: while it lives, and at least '
  'unique_for. depends_on: waits until those have succeeded; on_dead: cancel it or leave it to block '
  'when one dies. node_id, capability: only for workers there, or that can. Errors: 22023 malformed '
  'argument, P0002 no such parent, 55000 a parent is dead or cancelled';
COMMENT ON FUNCTION nebula.enqueue_batch(text, jsonb[], integer, timestamptz, integer, uuid) IS
  'Internal: the work of enqueue_jobs: identifiers in the order of the payloads. Errors: 22023 malformed '
  'argument';
COMMENT ON FUNCTION nebula.claim_jobs(text, text[], integer, interval, uuid, text[]) IS
  'Takes due jobs for a worker under a lease, highest priority first; rescues expired ones on the way. '
  'Errors: 22023 malformed argument';
COMMENT ON FUNCTION nebula.finish_and_claim(
  bigint, integer, jsonb, text, text[], integer, interval, uuid, text[]
) IS
  'complete_job and claim_jobs in one call, hence one commit for a job. Errors: 55000 lease lost, 22023 '
  'malformed argument';
COMMENT ON FUNCTION nebula.heartbeat_job(bigint, integer, real, jsonb) IS
  'Extends the lease and records progress: continue or cancel. Errors: 22023 progress not from 0 to 1, '
  '55000 lease lost';
COMMENT ON FUNCTION nebula.complete_job(bigint, integer, jsonb) IS
  'Finishes a job as succeeded and unblocks what waited for it. Errors: 55000 lease lost';
COMMENT ON FUNCTION nebula.complete_jobs(bigint[], integer[], jsonb[]) IS
  'complete_job for many jobs at once; answers those completed, the others'' leases are lost. Errors: '
  '22023 not one attempt, or result, for each job';
COMMENT ON FUNCTION nebula.fail_job(bigint, integer, text, boolean) IS
  'Ends a failed attempt: available (again later), dead or cancelled. Errors: 55000 lease lost';
COMMENT ON FUNCTION nebula.hand_back_job(bigint, integer, text) IS
  'Gives a running job back without counting the attempt as failed: available at once, or cancelled if '
  'that was asked. Errors: 55000 lease lost';
COMMENT ON FUNCTION nebula.cancel_job(bigint) IS
  'cancelled at once when waiting, cancelling when running. Errors: P0002 no such job, 55000 finished';
COMMENT ON FUNCTION nebula.retry_job(bigint, integer) IS
  'Brings a dead or cancelled job back with so many attempts more, and blocked as before what was '
  'cancelled because of it; or lets one that waits for its time run now. Errors: P0002 no such job, '
  '55000 blocked, running or succeeded, 23505 another job has its unique_key';
COMMENT ON FUNCTION nebula.depend_job(bigint, bigint[]) IS
  'Makes a job that nobody has claimed wait for further jobs. Errors: P0002 no such job, 55000 claimed, '
  'or a parent is dead or cancelled, 22023 they would wait in a circle';
COMMENT ON FUNCTION nebula.rescue_jobs() IS
  'Takes jobs whose lease ran out away from their workers; answers how many';
COMMENT ON FUNCTION nebula.require_fresh_snapshot() IS
  'Internal: for those who lock and then look: refuses when the snapshot of a REPEATABLE READ '
  'transaction is older than the lock. Errors: 40001 run it again';
COMMENT ON FUNCTION nebula.map_differences(uuid, boolean) IS
  'Internal: where the map in shared memory differs from the rows of a project; repair: has it read '
  'anew. Part of check_pool; nothing unless pg_nebula is preloaded. Errors: P0002 no such project or pool';
COMMENT ON FUNCTION nebula.release_due_jobs() IS
  'Makes jobs whose run_at has come claimable; answers how many. claim_jobs and the wake-up process do '
  'so in time';
COMMENT ON FUNCTION nebula.check_job(text, integer, integer) IS
  'Internal: refuses a malformed kind, priority or max_attempts. Errors: 22023';
COMMENT ON FUNCTION nebula.announce_jobs(text, integer, timestamptz) IS
  'Internal: tells workers and watchers, when the transaction commits, that jobs of a kind were enqueued '
  'by a plain INSERT';
COMMENT ON FUNCTION nebula.wake_workers(text) IS
  'Internal: wakes workers of a kind, or with an empty one of all kinds, when the transaction commits';
COMMENT ON FUNCTION nebula.expect_tick(timestamptz, boolean) IS
  'Internal: says when the next schedule is due, and whether all that were due have run';
COMMENT ON FUNCTION nebula.table_changed() IS
  'Trigger: sessions remember what is in the table, and read it again when this transaction '
  'commits';
COMMENT ON FUNCTION nebula.next_tick(text, text, timestamptz) IS
  'Internal: the first time after another that a cron expression names on the clock of a time zone. '
  'Errors: 22023 malformed';

-- Fixed plan (sql/README.md). jit = off, because the cost of disabled scans makes the plan look expensive enough to
-- be compiled.
ALTER FUNCTION nebula.release_due_jobs()
  SET enable_seqscan = off
  SET enable_bitmapscan = off
  SET jit = off
  SET plan_cache_mode = force_generic_plan;
COMMENT ON FUNCTION nebula.map_status() IS
  'The shared map of free addresses: first the whole server (pool_id null), then each pool of this '
  'database that was used since the map began, which is after a crash; no row unless pg_nebula is '
  'preloaded';
COMMENT ON FUNCTION nebula.warm_map(integer) IS
  'Reads pools into the shared map ahead of need and answers how many pages that took; without pool_id '
  'every enabled pool that nothing is known of yet, as after a restart';
