// node.mjs graphile|boss: figures of a queue through its own client, one a line: name, space, number.
// DATABASE_URL and SECONDS come from the environment; rates are jobs a second, times milliseconds.
import { performance } from "node:perf_hooks";

const url = process.env.DATABASE_URL;
const seconds = Number(process.env.SECONDS);
const payload = { id: 1 };
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Calls `step` with so many in flight until the time is over; steps a second. */
async function rate(inFlight, step) {
  let done = 0;
  const begun = performance.now();
  const one = async () => {
    while (performance.now() - begun < seconds * 1000) {
      if ((await step()) === false) return;
      done++;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, one));
  return done / ((performance.now() - begun) / 1000);
}

/** Enqueues now and then while a worker sleeps; `start` begins a worker that calls back with the number of a job. */
async function latency(start, enqueue) {
  const waiting = new Map();
  const stop = await start((number) => waiting.get(number)?.(performance.now()));
  const times = [];
  for (let number = 1; number <= Math.min(seconds * 20, 200); number++) {
    await pause(10 + (number % 7));
    const begun = performance.now();
    const started = new Promise((resolve) => waiting.set(number, resolve));
    await enqueue({ number });
    times.push((await started) - begun);
  }
  await stop();
  times.sort((a, b) => a - b);
  const at = (share) => times[Math.floor((times.length - 1) * share)];
  return { p50: at(0.5), p99: at(0.99) };
}

const queues = {
  async graphile() {
    const { makeWorkerUtils, run } = await import("graphile-worker");
    const silent = new (await import("graphile-worker")).Logger(() => () => {});
    const utils = await makeWorkerUtils({ connectionString: url, maxPoolSize: 32, logger: silent });
    await utils.migrate();
    const add = () => utils.addJob("bench", payload);
    const thousand = Array.from({ length: 1000 }, () => ({ identifier: "bench", payload }));
    const worker = (concurrency, task) =>
      run({ connectionString: url, maxPoolSize: 34, concurrency, noHandleSignals: true, logger: silent, taskList: { bench: task } });
    const figures = { enqueue8: await rate(8, add), enqueue32: await rate(32, add), batch: 1000 * (await rate(4, () => utils.addJobs(thousand))) };
    let done = 0;
    const runner = await worker(32, () => void done++);
    await pause(seconds * 1000);
    figures.work = done / seconds;
    await runner.stop();
    await utils.withPgClient((client) => client.query("TRUNCATE graphile_worker._private_jobs"));
    const begin = async (tell) => {
      const runner = await worker(1, (job) => tell(job.number));
      return () => runner.stop();
    };
    Object.assign(figures, await latency(begin, (job) => utils.addJob("bench", job)));
    await utils.release();
    return figures;
  },

  async boss() {
    const PgBoss = (await import("pg-boss")).default;
    const boss = new PgBoss({ connectionString: url, max: 32 });
    await boss.start();
    await boss.createQueue("bench");
    await boss.createQueue("latency");
    const add = () => boss.send("bench", payload);
    const thousand = Array.from({ length: 1000 }, () => ({ name: "bench", data: payload }));
    const figures = { enqueue8: await rate(8, add), enqueue32: await rate(32, add), batch: 1000 * (await rate(4, () => boss.insert(thousand))) };
    // Each fetch sorts all waiting jobs, so the backlog is kept short.
    await boss.purgeQueue("bench");
    for (let part = 0; part < seconds; part++) await boss.insert(thousand);
    // Without statistics the planner reads the whole table.
    const client = new (await import("pg")).default.Client(url);
    await client.connect();
    await client.query("ANALYZE");
    await client.end();
    figures.work = await rate(32, async () => {
      const [job] = await boss.fetch("bench");
      if (!job) return false;
      await boss.complete("bench", job.id);
    });
    const begin = async (tell) => {
      await boss.work("latency", { pollingIntervalSeconds: 0.5 }, async ([job]) => tell(job.data.number));
      return () => boss.offWork("latency");
    };
    Object.assign(figures, await latency(begin, (job) => boss.send("latency", job)));
    await boss.stop({ graceful: false });
    return figures;
  },
};

const figures = await queues[process.argv[2]]();
for (const [name, value] of Object.entries(figures)) console.log(name, value);
process.exit(0);
