"""Server (c): Python's Callosum with one function, ping, until standard input is closed.

Answers the JSON line {secretKey, clientPublicKey} with {address}.
"""

import asyncio
import json
import socket
import sys

import msgpack
from callosum.auth import AbstractServerAuthenticator, AuthResult, Identity
from callosum.lower.zeromq import ZeroMQAddress, ZeroMQRPCTransport
from callosum.rpc import Peer


class Authenticator(AbstractServerAuthenticator):
    def __init__(self, spec):
        self.secret_key = spec["secretKey"].encode()
        self.client_public_key = spec["clientPublicKey"].encode()

    async def server_identity(self):
        return Identity(domain="local", private_key=self.secret_key)

    async def check_client(self, creds):
        accepted = creds.domain == "local" and creds.public_key == self.client_public_key
        return AuthResult(success=True, user_id="manager") if accepted else AuthResult(success=False)

    async def server_public_key(self):
        return b""


async def ping(request):
    return request.body["args"][0]


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


async def main():
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    spec = json.loads(await reader.readline())
    address = free_address()
    peer = Peer(
        bind=ZeroMQAddress(address),
        transport=ZeroMQRPCTransport,
        authenticator=Authenticator(spec),
        serializer=lambda value: msgpack.packb(value, use_bin_type=True),
        deserializer=lambda data: msgpack.unpackb(data, raw=False),
    )
    peer.handle_function("ping", ping)
    await peer.__aenter__()
    # One turn of the loop: only then has the authentication handler been bound.
    await asyncio.sleep(0)
    print(json.dumps({"address": address}), flush=True)
    await reader.read()
    await peer.__aexit__(None, None, None)


asyncio.run(main())
