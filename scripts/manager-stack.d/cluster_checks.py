"""Sessions of several kernels, on one node and on two."""

import json

from manager import set_group


async def cluster(manager):
    """Two kernels of one session, each with a name of its own in the cluster."""
    name, session = await manager.open_session(cluster_size=2, cluster_mode="single-node")
    row = await manager.session_in(name, "RUNNING", seconds=180)
    kernels = await manager.kernels(row["id"])
    assert len({kernel["cluster_hostname"] for kernel in kernels}) == 2, kernels
    assert (await manager.run(session, "import os; print(os.environ['BACKENDAI_CLUSTER_SIZE'])")).strip() == "2"
    await manager.end(name, session)


async def open_on_two_nodes(manager):
    """A session whose kernels ask for more than half of a node each; its name, itself and its kernels."""
    places = [manager.agents[0], manager.far]
    rows = await manager.agents_in("ALIVE", places)
    cores = int(min(float(json.loads(row["available_slots"])["cpu"]) for row in rows) // 2 + 1)
    name, session = await manager.open_session(
        cluster_size=2, cluster_mode="multi-node", assign_agent=places, resources={"cpu": str(cores), "mem": "128m"}
    )
    row = await manager.session_in(name, "RUNNING", seconds=180)
    query = "SELECT id, agent, cluster_role, cluster_hostname, service_ports FROM kernels WHERE session_id = $1"
    kernels = await manager.database.fetch(query, row["id"])
    assert sorted(kernel["agent"] for kernel in kernels) == sorted(places), kernels
    hosts = sorted(kernel["cluster_hostname"] for kernel in kernels)
    told = await manager.run(session, "import os; print(os.environ['BACKENDAI_CLUSTER_HOSTS'])")
    assert sorted(told.strip().split(",")) == hosts, told
    return name, session, kernels


async def two_nodes_cluster(manager):
    """On a network that the manager makes and these kernels do not use: processes."""
    name, session, _ = await open_on_two_nodes(manager)
    await manager.end(name, session)


async def overlay_cluster(manager):
    """On an overlay network that the manager makes: the first kernel reaches the second by its name, at its runner's port."""
    name, session, kernels = await open_on_two_nodes(manager)
    (other,) = [kernel["cluster_hostname"] for kernel in kernels if kernel["cluster_role"] != "main"]
    text = await manager.run(session, f"import socket\nprint(socket.create_connection(({other!r}, 2001), 60).getpeername()[1])")
    assert text.strip() == "2001", text
    await manager.end(name, session)


async def host_network_cluster(manager):
    """
    On the network of the machines, as the resource group says: for each kernel the manager asks its agent for a port of SSH, and
    tells them all. The kernel's own is the one that it was told.
    """
    await set_group(manager, "default", use_host_network=True)
    try:
        name, session, kernels = await open_on_two_nodes(manager)
        told = json.loads(await manager.run(session, "print(open('../config/ssh/port-mapping.json').read())"))
        ports = [service["host_ports"] for kernel in kernels for service in json.loads(kernel["service_ports"]) if service["name"] == "sshd"]
        assert ports == [[told[f"node-{kernel['id']}"][1]] for kernel in kernels], (told, ports)
        await manager.end(name, session)
    finally:
        await set_group(manager, "default", use_host_network=False)
