#!/usr/bin/env python3
"""drive.py [CHECK...]: makes sessions with the original's client and looks at what the manager records of its agents.

Reads the assignments that `scripts/manager-stack up` prints, and AGENT_IDS (two ids, separated by a comma). Without names it
runs all checks that need nobody to stop the agents. Prints PASS or FAIL for each and ends with 1 when one failed.
"""

import asyncio
import json
import os
import platform
import sys
import tempfile
import time
import uuid
from pathlib import Path

import asyncpg
from ai.backend.client.output.fields import agent_fields, session_fields
from ai.backend.client.session import AsyncSession

IMAGE = "localhost/test/python:3.11-debian"
BROKEN_IMAGE = "localhost/test/python:broken"
ENDED = ("TERMINATED", "CANCELLED")
# Slots: columns of JSON until 25, rows of a table of their own since 26.
SLOTS_25 = (
    "SELECT id, status, scaling_group, available_slots, occupied_slots, addr, public_key, version FROM agents",
    "SELECT id, agent, status, container_id, cluster_hostname, status_data, occupied_slots FROM kernels WHERE session_id = $1",
)
SLOTS_26 = (
    """
    SELECT id, status, scaling_group, addr, public_key, version, (
      SELECT json_object_agg(slot_name, capacity::text) FROM agent_resources WHERE agent_id = agents.id
    ) AS available_slots, (
      SELECT json_object_agg(slot_name, (used + reserved + prereserved)::text) FROM agent_resources WHERE agent_id = agents.id
    ) AS occupied_slots FROM agents
    """,
    """
    SELECT id, agent, status, container_id, cluster_hostname, status_data, (
      SELECT json_object_agg(slot_name, trim_scale(used)::text) FROM resource_allocations WHERE kernel_id = kernels.id
    ) AS occupied_slots FROM kernels WHERE session_id = $1
    """,
)
CHECK_SECONDS = 240


class CheckFailed(Exception):
    """The manager did not come to record what the check waited for."""


async def until(what, look, seconds=120):
    """Looks until it finds something (not None) and returns that. `look` may raise to give up at once."""
    deadline, state = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        found, state = await look()
        if found is not None:
            return found
        await asyncio.sleep(0.3)
    raise CheckFailed(f"{what}: not within {seconds} s; last seen: {state}")


class Manager:
    """The manager as its users and its database show it."""

    def __init__(self, database, api, agents):
        self.database, self.api, self.agents = database, api, agents
        self.opened = {}
        self.kept = None
        self.is_25 = os.environ.get("MANAGER_VERSION", "25.17.1").startswith("25.")
        self.agent_query, self.kernel_query = SLOTS_25 if self.is_25 else SLOTS_26

    async def agent_rows(self):
        return {row["id"]: dict(row) for row in await self.database.fetch(self.agent_query)}

    async def agents_in(self, status):
        async def look():
            rows = await self.agent_rows()
            mine = [rows.get(agent, {"status": "unknown"}) for agent in self.agents]
            return mine if all(row["status"] == status for row in mine) else None, mine

        return await until(f"agents {status}", look)

    async def open_session(self, image=IMAGE, **options):
        name = f"check-{uuid.uuid4().hex[:10]}"
        wanted = dict(
            name=name, type_="interactive", enqueue_only=True, resources={"cpu": "1", "mem": "128m"},
            architecture=platform.machine(), group_name="default", domain_name="default",
        )
        session = await self.api.ComputeSession.get_or_create(image, **wanted | options)
        self.opened[name] = session
        return name, session

    async def row(self, name):
        query = "SELECT id, status, result, status_info, status_data FROM sessions WHERE name = $1 ORDER BY created_at DESC"
        return await self.database.fetchrow(query, name)

    async def listed_status(self, name):
        """What the client shows of the newest session of that name."""
        fields = [session_fields["name"], session_fields["status"]]
        page = await self.api.ComputeSession.paginated_list(fields=fields, filter=f'name == "{name}"', order="-created_at")
        return page.items[0]["status"] if page.items else None

    async def kernels(self, session_id):
        return await self.database.fetch(self.kernel_query, session_id)

    async def session_in(self, name, *statuses, seconds=120, allowed=None):
        """Once the session has one of these states; on the way there it may only have the allowed ones, where some are named."""

        async def look():
            row = await self.row(name)
            status = row["status"] if row else "not recorded"
            assert not (row and allowed) or status in (*statuses, *allowed), dict(row)
            if status in (*ENDED, "ERROR") and status not in statuses:
                raise CheckFailed(f"session {name} became {status}: {row['status_info']} {row['status_data']}")
            return row if status in statuses else None, row and dict(row)

        return await until(f"session {name} {' or '.join(statuses)}", look, seconds)

    async def slots_free(self):
        """No agent has slots taken; for checks that leave no session behind."""

        async def look():
            taken = {agent: json.loads(row["occupied_slots"]) for agent, row in (await self.agent_rows()).items()}
            busy = [agent for agent in self.agents if any(float(amount) for amount in taken[agent].values())]
            return None if busy else taken, taken

        await until("all slots free", look)

    async def run(self, session, code):
        """
        Runs code in a session as the web console does, by a stream; the text of its standard output. The plain request cannot be
        continued when it takes longer than two seconds: this manager drops the run's id, which its own client sends.
        """
        text = ""
        async with session.stream_execute(code, mode="query") as answers:
            async for message in answers:
                answer = json.loads(message.data)
                text += "".join(item[1] for item in answer.get("console") or [] if item[0] == "stdout")
                if answer["status"] == "finished":
                    return text
        raise CheckFailed(f"the code did not finish: {text!r}")

    async def end(self, name, session):
        await session.destroy()
        await self.session_in(name, "TERMINATED")
        self.opened.pop(name, None)

    async def clean(self):
        """Ends what a failed check left, so that it takes no slots from the next one."""
        for name, session in list(self.opened.items()):
            row = await self.row(name)
            if row and row["status"] not in ENDED:
                try:
                    await session.destroy(forced=True)
                except Exception as error:
                    print(f"note: {name} could not be ended: {error}", file=sys.stderr)
            del self.opened[name]


async def agents_alive(manager):
    """Both agents are there with slots, their address and their public key; the client lists them for an administrator."""
    for row in await manager.agents_in("ALIVE"):
        slots = json.loads(row["available_slots"])
        assert float(slots["cpu"]) >= 1 and float(slots["mem"]) > 0, slots
        assert row["addr"].startswith("tcp://") and len(row["public_key"]) == 40, row
    fields = [agent_fields["id"], agent_fields["status"], agent_fields["available_slots"]]
    listed = {item["id"]: item for item in (await manager.api.Agent.paginated_list(fields=fields)).items}
    for agent in manager.agents:
        assert listed[agent]["status"] == "ALIVE", listed
        assert float(json.loads(listed[agent]["available_slots"])["cpu"]) >= 1, listed


async def interactive(manager):
    """Code runs, its console comes back, a file goes in and is listed, and the kernel ends when told."""
    name, session = await manager.open_session()
    row = await manager.session_in(name, "RUNNING")
    (kernel,) = await manager.kernels(row["id"])
    assert kernel["agent"] in manager.agents and kernel["container_id"], dict(kernel)
    assert json.loads(kernel["occupied_slots"])["cpu"] == "1", dict(kernel)
    text = await manager.run(session, "first = 20\nprint(first + 22)")
    assert text.strip() == "42", text
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "numbers.csv").write_text("1,2,3\n")
        await session.upload([Path(folder) / "numbers.csv"], basedir=folder)
    assert "numbers.csv" in str((await session.list_files("."))["files"])
    assert (await manager.run(session, "print(open('numbers.csv').read())")).strip() == "1,2,3"
    assert await manager.listed_status(name) == "RUNNING"
    await manager.end(name, session)
    assert await manager.listed_status(name) == "TERMINATED"


async def questions(manager):
    """What a user asks about a running session, and about the node: its output, completions, an interruption, measurements."""
    name, session = await manager.open_session()
    await manager.session_in(name, "RUNNING")
    await manager.run(session, "print('in the log')")
    assert "in the log" in (await session.get_logs())["result"]["logs"]
    answer = await session.complete("impo", opts={"row": 0, "col": 4, "line": "impo", "post": ""})
    assert "import" in answer["result"]["suggestions"], answer
    await session.interrupt()
    assert (await manager.run(session, "print('goes on')")).strip() == "goes on"
    query = "query($agent: String!) { agent(agent_id: $agent) { live_stat compute_plugins } }"
    for agent in manager.agents:

        async def look():
            answer = await manager.api.Admin._query(query, {"agent": agent})
            measured = json.loads(answer["agent"]["live_stat"] or "null") or {}
            return measured.get("node", {}).get("mem"), answer

        assert float((await until(f"measurements of {agent}", look))["current"]) > 0
    await manager.end(name, session)


async def batch(manager):
    """On the second agent: this manager starts the job without naming the agent."""
    agent = [manager.agents[1]]
    name, _ = await manager.open_session(type_="batch", startup_command="echo done", assign_agent=agent)
    row = await manager.session_in(name, "TERMINATED", seconds=180)
    assert row["result"] == "SUCCESS", dict(row)


async def batch_failure(manager):
    name, _ = await manager.open_session(type_="batch", startup_command="exit 3")
    row = await manager.session_in(name, "TERMINATED", seconds=180)
    assert row["result"] == "FAILURE", dict(row)


async def cluster(manager):
    """Two kernels of one session, each with a name of its own in the cluster."""
    name, session = await manager.open_session(cluster_size=2, cluster_mode="single-node")
    row = await manager.session_in(name, "RUNNING", seconds=180)
    kernels = await manager.kernels(row["id"])
    assert len({kernel["cluster_hostname"] for kernel in kernels}) == 2, kernels
    assert (await manager.run(session, "import os; print(os.environ['BACKENDAI_CLUSTER_SIZE'])")).strip() == "2"
    await manager.end(name, session)


async def failing_start(manager):
    """
    An image that no agent can start. A manager 25.17 records no error for that: it sees that the agent has no such kernel, counts
    a retry, and starts the session again until it goes back to PENDING. Since 26 the end of the kernel, with its exit code, ends the
    session. It must never look RUNNING, and leaves no slots taken.
    """
    name, session = await manager.open_session(BROKEN_IMAGE)
    starting = ("PENDING", "SCHEDULED", "PREPARING", "PREPARED", "CREATING")
    if not manager.is_25:
        await manager.session_in(name, "TERMINATED", seconds=180, allowed=(*starting, "TERMINATING"))
        (kernel,) = await manager.kernels((await manager.row(name))["id"])
        assert kernel["status"] == "TERMINATED" and json.loads(kernel["status_data"])["kernel"]["exit_code"], dict(kernel)
        manager.opened.pop(name, None)
        await manager.slots_free()
        return

    async def look():
        row = await manager.row(name)
        assert row is None or row["status"] in starting, dict(row)
        retries = row and json.loads(row["status_data"] or "{}").get("scheduler", {}).get("retries", 0)
        return retries or None, row and dict(row)

    await until("a retry of the start", look, 180)
    await session.destroy(forced=True)
    await manager.session_in(name, *ENDED)
    manager.opened.pop(name, None)
    # The manager itself forgets to give back what a kernel took that never started, and counts anew when it is asked to.
    await manager.api.Resource.recalculate_usage()
    await manager.slots_free()


async def two_at_once(manager):
    """One session on each agent at the same time, each with state of its own."""
    opened = await asyncio.gather(*[manager.open_session(assign_agent=[agent]) for agent in manager.agents])
    rows = await asyncio.gather(*[manager.session_in(name, "RUNNING", seconds=180) for name, _ in opened])
    places = [kernel["agent"] for row in rows for kernel in await manager.kernels(row["id"])]
    assert places == manager.agents, places
    await asyncio.gather(*[manager.run(session, f"mine = {at}") for at, (_, session) in enumerate(opened)])
    texts = await asyncio.gather(*[manager.run(session, "print(mine)") for _, session in opened])
    assert [text.strip() for text in texts] == ["0", "1"], texts
    await asyncio.gather(*[manager.end(name, session) for name, session in opened])


async def move_agent(manager, agent, group):
    answer = await manager.api.Admin._query(
        "mutation($id: String!, $props: ModifyAgentInput!) { modify_agent(id: $id, props: $props) { ok msg } }",
        {"id": agent, "props": {"scaling_group": group}},
    )
    assert answer["modify_agent"]["ok"], answer


async def scaling_group(manager):
    """
    An agent that is moved to another resource group takes sessions there. A manager 25.17 has the agent tell it: with the old value
    back in the row, only the agent's own heartbeat can bring the new one. Since 26 the row is the manager's alone.
    """
    agent = manager.agents[1]
    await move_agent(manager, agent, "second")
    if manager.is_25:
        await manager.database.execute("UPDATE agents SET scaling_group = 'default' WHERE id = $1", agent)

    async def look():
        row = (await manager.agent_rows())[agent]
        return row if row["scaling_group"] == "second" else None, row

    try:
        await until(f"{agent} in the group that it was moved to", look)
        name, session = await manager.open_session(scaling_group="second")
        row = await manager.session_in(name, "RUNNING")
        assert [kernel["agent"] for kernel in await manager.kernels(row["id"])] == [agent]
        await manager.end(name, session)
    finally:
        await move_agent(manager, agent, "default")


async def keep_session(manager):
    """Before the agents are stopped: a session with something in its memory."""
    manager.kept = await manager.open_session()
    await manager.session_in(manager.kept[0], "RUNNING")
    await manager.run(manager.kept[1], "kept = 'still here'")


async def agents_terminated(manager):
    """After an orderly stop the manager knows at once; the session is not ended by it."""
    await manager.agents_in("TERMINATED")
    row = await manager.row(manager.kept[0])
    assert row["status"] == "RUNNING", dict(row)


async def use_kept_session(manager):
    """After the return: the agents are ALIVE, and the same kernel goes on."""
    await manager.agents_in("ALIVE")
    name, session = manager.kept
    assert (await manager.run(session, "print(kept)")).strip() == "still here"
    await manager.end(name, session)


ALONE = [agents_alive, interactive, questions, batch, batch_failure, cluster, two_at_once, scaling_group, failing_start]
CHECKS = {check.__name__: check for check in [*ALONE, keep_session, agents_terminated, use_kept_session]}


class Driver:
    """Runs checks one at a time, against one manager."""

    async def __aenter__(self):
        self.database = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=4)
        self.api = AsyncSession()
        await self.api.__aenter__()
        self.manager = Manager(self.database, self.api, os.environ["AGENT_IDS"].split(","))
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
