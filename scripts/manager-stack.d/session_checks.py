"""What becomes of sessions."""

import asyncio
import json
import tempfile
from pathlib import Path

from manager import BROKEN_IMAGE, ENDED, until


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


async def restart(manager):
    """A session that is started again has its files, and nothing in its memory; it is asked whether it is being committed."""
    name, session = await manager.open_session()
    await manager.session_in(name, "RUNNING")
    await manager.run(session, "forgotten = 1\nopen('kept.txt', 'w').write('kept')")
    status, text = await manager.get(f"/session/{name}/commit")
    assert (status, json.loads(text)["status"]) == (200, "ready"), text
    await session.restart()
    await manager.session_in(name, "RUNNING")
    told = await manager.run(session, "print(open('kept.txt').read(), 'forgotten' in globals())")
    assert told.strip() == "kept False", told
    with tempfile.TemporaryDirectory() as folder:
        await session.download(["kept.txt"], folder)
        assert (Path(folder) / "kept.txt").read_text() == "kept"
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


async def ends_without_start(manager, name):
    """
    For a tick the session itself may be called RUNNING: that is how a manager 26.9 names one with no kernel that is still to start,
    before it looks whether one has ended.
    """

    async def look():
        row = await manager.row(name)
        kernels = await manager.kernels(row["id"]) if row else []
        assert "RUNNING" not in [kernel["status"] for kernel in kernels], kernels
        return kernels if row and row["status"] == "TERMINATED" else None, row and dict(row)

    (kernel,) = await until("the end of the session", look, 180)
    assert kernel["status"] == "TERMINATED" and json.loads(kernel["status_data"])["kernel"]["exit_code"], dict(kernel)
    manager.opened.pop(name, None)
    await manager.slots_free()


async def failing_start(manager):
    """
    An image that no agent can start. A manager 25.17 records no error for that: it sees that the agent has no such kernel, counts
    a retry, and starts the session again until it goes back to PENDING. Since 26 the end of the kernel, with its exit code, ends the
    session. Its kernel must never look RUNNING, and leaves no slots taken.
    """
    name, session = await manager.open_session(BROKEN_IMAGE)
    if not manager.is_25:
        await ends_without_start(manager, name)
        return
    starting = ("PENDING", "SCHEDULED", "PREPARING", "PREPARED", "CREATING")

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
