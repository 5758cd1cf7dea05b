"""A Callosum client driven by JSON.

Reads one object from standard input:

    address             "tcp://..."
    curve               absent, or {server_public_key, public_key, secret_key} in Z85,
                        or {server_key_file, key_file}: files as zmq.auth writes them
    handshake_timeout   seconds, default 5
    first_sequence      sequence number of the first call, default 0
    steps               list of lists of calls; the calls of one step run concurrently
    call                {method, body, order_key?, timeout?, repeat?}

Prints one JSON line per call, in order: {"result": ...} or {"error": {type, args, name, repr, traceback}};
or {"connection_error": type} when no connection comes about.
"""

import asyncio
import json
import sys

import msgpack
import zmq.auth
from callosum.auth import AbstractClientAuthenticator, Identity
from callosum.lower.zeromq import ZeroMQAddress, ZeroMQRPCTransport
from callosum.rpc import Peer


class Authenticator(AbstractClientAuthenticator):
    def __init__(self, curve):
        if "key_file" in curve:
            self.server_key, _ = zmq.auth.load_certificate(curve["server_key_file"])
            self.public_key, self.secret_key = zmq.auth.load_certificate(curve["key_file"])
        else:
            self.server_key = curve["server_public_key"].encode()
            self.public_key = curve["public_key"].encode()
            self.secret_key = curve["secret_key"].encode()

    async def server_public_key(self):
        return self.server_key

    async def client_identity(self):
        return Identity(domain="local", private_key=self.secret_key)

    async def client_public_key(self):
        return self.public_key


async def call(peer, spec):
    try:
        result = await peer.invoke(
            spec["method"],
            spec.get("body"),
            order_key=spec.get("order_key"),
            invoke_timeout=spec.get("timeout"),
        )
        return {"result": result}
    except BaseException as error:
        return {
            "error": {
                "type": type(error).__name__,
                "args": [str(arg) for arg in error.args],
                "name": getattr(error, "name", None),
                "repr": getattr(error, "repr", None),
                "traceback": getattr(error, "traceback", None),
            }
        }


async def main():
    spec = json.loads(sys.stdin.readline())
    peer = Peer(
        connect=ZeroMQAddress(spec["address"]),
        transport=ZeroMQRPCTransport,
        authenticator=Authenticator(spec["curve"]) if "curve" in spec else None,
        transport_opts={"handshake_timeout": spec.get("handshake_timeout", 5.0)},
        serializer=lambda value: msgpack.packb(value, use_bin_type=True),
        deserializer=lambda data: msgpack.unpackb(data, raw=False),
    )
    peer._client_seq_id = spec.get("first_sequence", 0)
    try:
        await peer.__aenter__()
    except Exception as error:
        print(json.dumps({"connection_error": type(error).__name__}), flush=True)
        # The connector leaves its context open when the handshake fails.
        sys.stdout.flush()
        import os

        os._exit(0)
    for step in spec["steps"]:
        calls = [one for one in step for _ in range(one.get("repeat", 1))]
        for outcome in await asyncio.gather(*(call(peer, one) for one in calls)):
            print(json.dumps(outcome), flush=True)
    await peer.__aexit__(None, None, None)


asyncio.run(main())
