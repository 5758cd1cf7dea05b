"""The manager 25.17's own client: AgentClient over AgentRPCCache, a new connection for each call, three attempts."""

import asyncio

from ai.backend.common.types import ContainerKernelId
from ai.backend.manager.clients.agent import AgentPool
from ai.backend.manager.sokovan.scheduler.types import KernelCreationInfo

from manager_readers import READERS, read_creation
from manager_serve import filled_cache, serve


def read_allocations(results):
    """What the scheduler makes of the result, which it gets with the event kernel_started."""
    infos = [KernelCreationInfo.from_dict(result) for result in read_creation(results)]
    return [info.get_resource_allocations() for info in infos]


class Manager:
    def __init__(self, spec):
        self.cache = filled_cache(spec)
        self.pool = AgentPool(self.cache)
        self.readers = {**READERS, "allocations": read_allocations}

    async def client_call(self, agent, method, args, kwargs):
        client = self.pool.get_agent_client(agent, order_key="a-session")
        if method == "purge_containers":
            args = [[ContainerKernelId(*pair).serialize() for pair in args[0]]]
        return await getattr(client, method)(*args, **kwargs)

    def peer(self, agent):
        return self.cache.rpc_context(agent, order_key="a-session")

    async def close(self):
        pass


asyncio.run(serve(Manager))
