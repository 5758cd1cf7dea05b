#!/usr/bin/env python3
"""drive.py [CHECK...]: makes sessions with the original's client and looks at what the manager records of its agents.

Reads the assignments that `scripts/manager-stack up` prints, and AGENT_IDS (two ids of one node, separated by a comma).
Without names it runs all checks that need nothing else: nobody who stops the agents, no app proxy (`up --app-proxy`: services),
no agent of a second node (FAR_AGENT_ID: host_network_cluster) and no swarm for its network (`up --docker-host`: two_nodes_cluster
and overlay_cluster).
Prints PASS or FAIL for each and ends with 1 when one failed.
"""

import asyncio
import os
import sys
import time

import asyncpg
from ai.backend.client.session import AsyncSession

from agent_checks import agents_alive, agents_terminated, keep_session, scaling_group, use_kept_session
from cluster_checks import cluster, host_network_cluster, overlay_cluster, two_nodes_cluster
from manager import Manager
from service_checks import services
from session_checks import batch, batch_failure, failing_start, interactive, questions, restart, two_at_once

CHECK_SECONDS = 240
# Since 26 a manager refuses to start a session again.
RESTART = [restart] if os.environ.get("MANAGER_VERSION", "25.17.1").startswith("25.") else []
SESSIONS = [interactive, questions, *RESTART, batch, batch_failure, cluster, two_at_once]
ALONE = [agents_alive, *SESSIONS, scaling_group, failing_start]
FAR = [two_nodes_cluster, overlay_cluster, host_network_cluster]
ASSISTED = [services, *FAR, keep_session, agents_terminated, use_kept_session]
CHECKS = {check.__name__: check for check in [*ALONE, *ASSISTED]}


class Driver:
    """Runs checks one at a time, against one manager."""

    async def __aenter__(self):
        self.database = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=4)
        self.api = AsyncSession()
        await self.api.__aenter__()
        agents, far = os.environ["AGENT_IDS"].split(","), os.environ.get("FAR_AGENT_ID")
        self.manager = Manager(self.database, self.api, agents, far)
        return self

    async def __aexit__(self, *failure):
        await self.manager.clean()
        await self.api.__aexit__(*failure)
        await self.database.close()

    async def check(self, name):
        """None when it passed, else what went wrong in one line."""
        try:
            await asyncio.wait_for(CHECKS[name](self.manager), CHECK_SECONDS)
        except Exception as error:
            await self.manager.clean()
            return f"{type(error).__name__}: {' '.join(str(error).split())[:2000]}"
        return None


async def main(names):
    failed = 0
    async with Driver() as driver:
        for name in names:
            began = time.monotonic()
            failure = await driver.check(name)
            seconds = time.monotonic() - began
            print(f"PASS {name} ({seconds:.1f} s)" if failure is None else f"FAIL {name}: {failure}", flush=True)
            failed += failure is not None
    print(f"{len(names) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:] or [check.__name__ for check in ALONE])))
