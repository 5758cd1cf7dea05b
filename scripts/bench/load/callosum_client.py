"""The Python load generator: the client a manager uses, with the jobs of load/node.mjs.

Takes one JSON line a job, {kind: "calls", seconds, window, bodyBytes, address, curve}, and answers with
{calls, timedCalls, seconds, latencyMs}; or {kind: "connect", seconds, ...} with {connectMs}.
"""

import asyncio
import json
import sys
import time

import msgpack
from callosum.auth import AbstractClientAuthenticator, Identity
from callosum.lower.zeromq import ZeroMQAddress, ZeroMQRPCTransport
from callosum.rpc import Peer


class Authenticator(AbstractClientAuthenticator):
    def __init__(self, curve):
        self.server_key = curve["serverPublicKey"].encode()
        self.public_key = curve["publicKey"].encode()
        self.secret_key = curve["secretKey"].encode()

    async def server_public_key(self):
        return self.server_key

    async def client_identity(self):
        return Identity(domain="local", private_key=self.secret_key)

    async def client_public_key(self):
        return self.public_key


def open_peer(job):
    return Peer(
        connect=ZeroMQAddress(job["address"]),
        transport=ZeroMQRPCTransport,
        authenticator=Authenticator(job["curve"]),
        transport_opts={"handshake_timeout": 30.0},
        serializer=lambda value: msgpack.packb(value, use_bin_type=True),
        deserializer=lambda data: msgpack.unpackb(data, raw=False),
    )


async def connect(job):
    connect_ms = []
    until = time.perf_counter() + job["seconds"]
    while time.perf_counter() < until:
        began = time.perf_counter()
        async with open_peer(job) as peer:
            await peer.invoke("ping", {"args": ["hello"], "kwargs": {}})
            connect_ms.append((time.perf_counter() - began) * 1000)
    return {"connectMs": connect_ms}


async def calls(job):
    message = "hello" if job["bodyBytes"] == 0 else b"x" * job["bodyBytes"]
    body = {"args": [message], "kwargs": {}}
    window = job["window"]
    latency_ms = []
    count = 0
    async with open_peer(job) as peer:
        for _ in range(50):
            assert await peer.invoke("ping", body) == message
            count += 1
        before = count
        began = time.perf_counter()
        until = began + job["seconds"]

        async def drive():
            nonlocal count
            while time.perf_counter() < until:
                sent = time.perf_counter()
                await peer.invoke("ping", body)
                if window == 1:
                    latency_ms.append((time.perf_counter() - sent) * 1000)
                count += 1

        await asyncio.gather(*(drive() for _ in range(window)))
        took = time.perf_counter() - began
    return {"calls": count, "timedCalls": count - before, "seconds": took, "latencyMs": latency_ms}


async def main():
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        job = json.loads(line)
        outcome = await (connect(job) if job["kind"] == "connect" else calls(job))
        print(json.dumps(outcome), flush=True)


asyncio.run(main())
