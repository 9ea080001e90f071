"""NATS JetStream: producers that each wait for their acknowledgement."""

import asyncio
import time

import nats
from worker import serve


async def publish(job):
    connections = [await nats.connect(job["url"]) for _ in range(job["producers"])]
    streams = [connection.jetstream() for connection in connections]
    try:
        await streams[0].delete_stream("records")
    except nats.js.errors.NotFoundError:
        pass
    await streams[0].add_stream(name="records", subjects=["records"], storage="file")
    payload = bytes((i * 0x9E3779B97F4A7C15 >> 40) & 0xFF for i in range(job["bytes"]))
    each = -(-job["appends"] // job["producers"])

    async def produce(stream):
        for _ in range(each):
            await stream.publish("records", payload, timeout=30)

    begun = time.perf_counter()
    await asyncio.gather(*(produce(stream) for stream in streams))
    seconds = time.perf_counter() - begun
    for connection in connections:
        await connection.close()
    return seconds * job["appends"] / (each * job["producers"])


serve("nats-py", lambda job: {"seconds": asyncio.run(publish(job))})
