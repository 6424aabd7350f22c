"""Figures of PgQueuer through its own client, one a line: name, space, number.

DATABASE_URL and SECONDS come from the environment; rates are jobs a second, times milliseconds.
"""

import asyncio
import os
import time

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.queries import Queries

URL = os.environ["DATABASE_URL"]
SECONDS = float(os.environ["SECONDS"])


async def rate(in_flight, step):
    """Calls step with so many in flight until the time is over; steps a second."""
    begun, done = time.perf_counter(), 0

    async def one():
        nonlocal done
        while time.perf_counter() - begun < SECONDS:
            await step()
            done += 1

    await asyncio.gather(*(one() for _ in range(in_flight)))
    return done / (time.perf_counter() - begun)


async def worker(task, batch):
    """A worker on a connection of its own; answers what stops it."""
    connection = await asyncpg.connect(URL)
    queue = PgQueuer.from_asyncpg_connection(connection)
    queue.entrypoint("bench")(task)
    running = asyncio.create_task(queue.run(batch_size=batch))

    async def stop():
        queue.shutdown.set()
        await running
        await connection.close()

    return stop


async def latency(queries):
    started, times = {}, []

    async def task(job):
        started.pop(job.payload).set_result(time.perf_counter())

    stop = await worker(task, 1)
    await asyncio.sleep(1)
    for number in range(1, int(min(SECONDS * 20, 200)) + 1):
        await asyncio.sleep(0.010 + number % 7 / 1000)
        payload = str(number).encode()
        started[payload] = future = asyncio.get_running_loop().create_future()
        begun = time.perf_counter()
        await queries.enqueue("bench", payload)
        times.append(await asyncio.wait_for(future, 60) - begun)
    await stop()
    times.sort()
    return [1000 * times[int((len(times) - 1) * share)] for share in (0.5, 0.99)]


async def main():
    async with asyncpg.create_pool(URL, min_size=32, max_size=32) as pool:
        queries = Queries.from_asyncpg_pool(pool)
        await queries.install()
        many = ["bench"] * 1000, [b"{}"] * 1000, [0] * 1000
        print("enqueue8", await rate(8, lambda: queries.enqueue("bench", b"{}")))
        print("enqueue32", await rate(32, lambda: queries.enqueue("bench", b"{}")))
        print("batch", 1000 * await rate(4, lambda: queries.enqueue(*many)))
        done = 0

        async def task(_job):
            nonlocal done
            done += 1

        stop = await worker(task, 100)
        begun = time.perf_counter()
        await asyncio.sleep(SECONDS)
        print("work", done / (time.perf_counter() - begun))
        await stop()
        await queries.clear_queue()
        for name, value in zip(("p50", "p99"), await latency(queries)):
            print(name, value)


asyncio.run(main())
