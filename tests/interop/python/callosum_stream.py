"""The Python side of a stream, driven by JSON, until standard input is closed.

Reads one object from standard input:

    role        "publisher"     the package's own Publisher, bound to address
                "receiver"      a SUB or PULL socket connected to address, decoding with the package's StreamMessage
                                (its own Consumer cannot open these transports)
    pattern     "broadcast" or "distribute"
    address     "tcp://..."

A publisher prints {"ready": true} once bound and publishes {"n": 0}, {"n": 1}, ... until its input ends; a receiver
prints {"created_at": ISO text, "body": ...} for each message it gets.
"""

import asyncio
import json
import sys

import msgpack
import zmq
import zmq.asyncio
from callosum.abc import RawHeaderBody
from callosum.lower.zeromq import ZeroMQAddress, ZeroMQBroadcastTransport, ZeroMQDistributorTransport
from callosum.pubsub import Publisher, StreamMessage

TRANSPORTS = {"broadcast": ZeroMQBroadcastTransport, "distribute": ZeroMQDistributorTransport}


def unpack(data):
    return msgpack.unpackb(data, raw=False)


async def publish(spec):
    publisher = Publisher(
        bind=ZeroMQAddress(spec["address"]),
        serializer=lambda value: msgpack.packb(value, use_bin_type=True),
        transport=TRANSPORTS[spec["pattern"]],
    )
    await publisher.__aenter__()
    print(json.dumps({"ready": True}), flush=True)
    n = 0
    while True:
        publisher.push({"n": n})
        n += 1
        await asyncio.sleep(0.01)


async def receive(spec):
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.SUB if spec["pattern"] == "broadcast" else zmq.PULL)
    if spec["pattern"] == "broadcast":
        socket.setsockopt(zmq.SUBSCRIBE, b"UPPER")
    socket.connect(spec["address"])
    while True:
        kind, header, body = await socket.recv_multipart()
        assert kind == b"UPPER", kind
        message = StreamMessage.decode(RawHeaderBody(header, body, None), unpack)
        print(json.dumps({"created_at": message.created_at.isoformat(), "body": message.body}), flush=True)


async def main():
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    spec = json.loads(await reader.readline())
    work = asyncio.create_task(publish(spec) if spec["role"] == "publisher" else receive(spec))
    ended = asyncio.create_task(reader.read())
    await asyncio.wait([work, ended], return_when=asyncio.FIRST_COMPLETED)
    if work.done():
        work.result()
    # Contexts with unsent messages would wait for somebody to take them.
    sys.stdout.flush()
    import os

    os._exit(0)


asyncio.run(main())
