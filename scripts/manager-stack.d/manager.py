"""A real manager as its users and its database show it."""

import asyncio
import json
import os
import platform
import sys
import time
import uuid

from ai.backend.client.output.fields import session_fields
from ai.backend.client.request import Request

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

    def __init__(self, database, api, agents, far=None):
        self.database, self.api, self.agents, self.far = database, api, agents, far
        self.opened = {}
        self.kept = None
        self.is_25 = os.environ.get("MANAGER_VERSION", "25.17.1").startswith("25.")
        self.agent_query, self.kernel_query = SLOTS_25 if self.is_25 else SLOTS_26

    async def agent_rows(self):
        return {row["id"]: dict(row) for row in await self.database.fetch(self.agent_query)}

    async def agents_in(self, status, agents=None):
        """Once all have the state; of those that are ALIVE the manager writes down the slots a moment later."""

        async def look():
            rows = await self.agent_rows()
            mine = [rows.get(agent, {"status": "unknown"}) for agent in agents or self.agents]
            return mine if all(row["status"] == status and (status != "ALIVE" or row["available_slots"]) for row in mine) else None, mine

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

    async def post(self, path, body):
        """
        What the client has no function for. Raises the client's error, with the status and the manager's words, when refused.
        The query has everything, too: there a manager 26.9 looks for some of it.
        """
        request = Request("POST", path, params=body)
        request.set_json(body)
        async with request.fetch() as answer:
            return await answer.json() if answer.status == 200 else None

    async def get(self, path):
        async with Request("GET", path).fetch() as answer:
            return answer.status, (await answer.read()).decode()

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

    async def session_in(self, name, *statuses, seconds=120):
        async def look():
            row = await self.row(name)
            status = row["status"] if row else "not recorded"
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


async def set_group(manager, group, **properties):
    answer = await manager.api.Admin._query(
        "mutation($name: String!, $props: ModifyScalingGroupInput!) { modify_scaling_group(name: $name, props: $props) { ok msg } }",
        {"name": group, "props": properties},
    )
    assert answer["modify_scaling_group"]["ok"], answer
