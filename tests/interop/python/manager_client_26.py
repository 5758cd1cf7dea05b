"""The manager 26.9's own client: AgentClient out of AgentClientPool, one lasting connection for each agent."""

import asyncio

from ai.backend.manager.clients.agent import AgentClientPool, AgentPoolSpec

from manager_readers import READERS
from manager_serve import filled_cache, serve


class Manager:
    def __init__(self, spec):
        self.cache = filled_cache(spec)
        self.pool = AgentClientPool(
            self.cache,
            AgentPoolSpec(health_check_interval=1.0, failure_threshold=3, recovery_timeout=60.0),
        )
        self.readers = READERS

    async def client_call(self, agent, method, args, kwargs):
        async with self.pool.acquire(agent) as client:
            return await getattr(client, method)(*args, **kwargs)

    def peer(self, agent):
        return self.cache.rpc_context(agent)

    async def close(self):
        await self.pool.close()


asyncio.run(serve(Manager))
