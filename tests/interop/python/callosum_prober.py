"""A Callosum client that looks whether a server still answers.

For each line of standard input, {address, curve?: {server_public_key, public_key, secret_key}}, keys in Z85, opens a
new connection, calls "echo" and prints {"result": ...}, or {"error": type} when that fails; until its input ends.
"""

import asyncio
import json
import sys

import msgpack
from callosum.auth import AbstractClientAuthenticator, Identity
from callosum.lower.zeromq import ZeroMQAddress, ZeroMQRPCTransport
from callosum.rpc import Peer


class Authenticator(AbstractClientAuthenticator):
    def __init__(self, curve):
        self.curve = curve

    async def server_public_key(self):
        return self.curve["server_public_key"].encode()

    async def client_identity(self):
        return Identity(domain="local", private_key=self.curve["secret_key"].encode())

    async def client_public_key(self):
        return self.curve["public_key"].encode()


async def probe(spec):
    peer = Peer(
        connect=ZeroMQAddress(spec["address"]),
        transport=ZeroMQRPCTransport,
        authenticator=Authenticator(spec["curve"]) if "curve" in spec else None,
        transport_opts={"handshake_timeout": 20.0},
        serializer=lambda value: msgpack.packb(value, use_bin_type=True),
        deserializer=lambda data: msgpack.unpackb(data, raw=False),
    )
    async with peer:
        return await peer.invoke("echo", {"args": [1], "kwargs": {}}, invoke_timeout=20.0)


for line in sys.stdin:
    try:
        answer = {"result": asyncio.run(probe(json.loads(line)))}
    except Exception as error:
        answer = {"error": type(error).__name__}
    print(json.dumps(answer), flush=True)
