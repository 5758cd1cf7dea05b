"""What the manager records of agents."""

import json

from ai.backend.client.output.fields import agent_fields

from manager import until


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
