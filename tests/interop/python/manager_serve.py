"""
The commands of the manager drivers. The first line on standard input says where the agents are; each further line is one
call, answered by one line with the same id, calls of several lines at once:
  {"id": n, "agent": id, "via": "client", "method": name, "args": [...], "kwargs": {...}, "read": how}
via "client" is the manager's own AgentClient, "peer" its PeerInvoker, for functions its client has no method for.
The method "create" composes the arguments of create_kernels from {"session_id", "kernels"}, "pull" those of
check_and_pull from {"images"}. "read" names what of the manager reads the result.
"""

import asyncio
import json
import sys

from ai.backend.manager.agent_cache import AgentRPCCache

from manager_kernels import creation_arguments, image_config
from manager_values import from_json, to_json


def filled_cache(spec):
    """The manager's book of agents, filled as its heartbeat handler does; the database is never asked."""
    cache = AgentRPCCache(None, spec["public_key"].encode(), spec["secret_key"].encode())
    server_key = spec["server_public_key"]
    for agent in spec["agents"]:
        cache.update(agent, spec["address"], None if server_key is None else server_key.encode())
    return cache


def failure(error):
    """As the manager keeps it: AgentError of 25.17 has exc_name and exc_repr, RPCUserError of Callosum name and repr."""
    remote = getattr(error, "exc_args", error.args)
    return {
        "type": type(error).__name__,
        "name": getattr(error, "exc_name", getattr(error, "name", None)),
        "repr": getattr(error, "exc_repr", getattr(error, "repr", None)),
        "traceback": remote[-1] if remote and isinstance(remote[-1], str) else None,
        "text": str(error)[:2000],
    }


async def call(manager, command):
    method, agent = command["method"], command["agent"]
    args = from_json(command.get("args", []))
    kwargs = from_json(command.get("kwargs", {}))
    if method == "create":
        method = "create_kernels"
        args = creation_arguments(kwargs.pop("session_id"), kwargs.pop("kernels"))
    elif method == "pull":
        method = "check_and_pull"
        args = [{canonical: image_config(canonical, {}) for canonical in kwargs.pop("images")}]
    if command.get("via", "client") == "client":
        result = await manager.client_call(agent, method, args, kwargs)
    else:
        async with manager.peer(agent) as rpc:
            result = await getattr(rpc.call, method)(*args, **kwargs)
    if "read" in command:
        result = manager.readers[command["read"]](result)
    return to_json(result)


async def answer(manager, command):
    try:
        outcome = {"result": await call(manager, command)}
    except BaseException as error:
        outcome = {"error": failure(error)}
    print(json.dumps({"id": command["id"], **outcome}), flush=True)


async def serve(manager_type):
    reader = asyncio.StreamReader(limit=64 << 20)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    manager = manager_type(json.loads(await reader.readline()))
    print(json.dumps({"ready": True}), flush=True)
    async with asyncio.TaskGroup() as tasks:
        while line := await reader.readline():
            tasks.create_task(answer(manager, json.loads(line)))
    await manager.close()
