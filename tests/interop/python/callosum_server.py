"""A Callosum server with a few functions, until standard input is closed.

Reads one object from standard input: {address, curve?: {secret_key, client_public_key}}, keys in Z85; the address
names a free port. Prints {"ready": true} once bound, and one line {"called": method, "order_key": ...} per call.

    echo    returns its body        fail    raises ValueError(body)        slow    sleeps body seconds
"""

import asyncio
import json
import sys

import msgpack
from callosum.auth import AbstractServerAuthenticator, AuthResult, Identity
from callosum.lower.zeromq import ZeroMQAddress, ZeroMQRPCTransport
from callosum.rpc import Peer


class Authenticator(AbstractServerAuthenticator):
    def __init__(self, curve):
        self.secret_key = curve["secret_key"].encode()
        self.client_public_key = curve["client_public_key"].encode()

    async def server_identity(self):
        return Identity(domain="local", private_key=self.secret_key)

    async def check_client(self, creds):
        if creds.domain == "local" and creds.public_key == self.client_public_key:
            return AuthResult(success=True, user_id="manager")
        return AuthResult(success=False)

    async def server_public_key(self):
        return b""


def report(request):
    key = request.order_key
    shown = {"bytes": key.hex()} if isinstance(key, bytes) else key
    print(json.dumps({"called": request.method, "order_key": shown}), flush=True)


async def echo(request):
    report(request)
    return request.body


async def fail(request):
    report(request)
    raise ValueError(request.body)


async def slow(request):
    report(request)
    await asyncio.sleep(request.body)
    return "slept"


async def main():
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    spec = json.loads(await reader.readline())
    peer = Peer(
        bind=ZeroMQAddress(spec["address"]),
        transport=ZeroMQRPCTransport,
        authenticator=Authenticator(spec["curve"]) if "curve" in spec else None,
        serializer=lambda value: msgpack.packb(value, use_bin_type=True),
        deserializer=lambda data: msgpack.unpackb(data, raw=False),
    )
    for handler in (echo, fail, slow):
        peer.handle_function(handler.__name__, handler)
    await peer.__aenter__()
    # One turn of the loop: only then has the authentication handler been bound.
    await asyncio.sleep(0)
    print(json.dumps({"ready": True}), flush=True)
    await reader.read()
    await peer.__aexit__(None, None, None)


asyncio.run(main())
