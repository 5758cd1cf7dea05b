"""What else of the original reads what an agent writes, or writes what an agent reads: service discovery records,
the presence of kernels, volume events. One JSON request a line, one JSON answer a line."""

import asyncio
import json
import sys

from ai.backend.common.etcd import AsyncEtcd, ConfigScopes
from ai.backend.common.events.dispatcher import EventProducer
from ai.backend.common.events.event_types.volume.broadcast import DoVolumeMountEvent, DoVolumeUnmountEvent
from ai.backend.common.message_queue.redis_queue.queue import RedisMQArgs, RedisQueue
from ai.backend.common.service_discovery.etcd_discovery.service_discovery import (
    ETCDServiceDiscovery,
    ETCDServiceDiscoveryArgs,
)
from ai.backend.common.service_discovery.redis_discovery.service_discovery import (
    RedisServiceDiscovery,
    RedisServiceDiscoveryArgs,
)
from ai.backend.common.types import AgentId, HostPortPair, QuotaScopeID, RedisTarget, ValkeyTarget


def valkey(port):
    return ValkeyTarget(addr=f"127.0.0.1:{port}")


async def records(discovery):
    try:
        return [one.to_dict() for one in await discovery.discover()]
    except ValueError:
        return []


async def discover_redis(port):
    discovery = await RedisServiceDiscovery.create(RedisServiceDiscoveryArgs(valkey_target=valkey(port)))
    try:
        return await records(discovery)
    finally:
        await discovery.close()


async def discover_etcd(port, namespace):
    etcd = AsyncEtcd([HostPortPair("127.0.0.1", port)], namespace, {ConfigScopes.GLOBAL: ""})
    return await records(ETCDServiceDiscovery(ETCDServiceDiscoveryArgs(etcd)))


async def publish(port, name, fields):
    queue = await RedisQueue.create(
        RedisTarget(addr=HostPortPair("127.0.0.1", port)),
        RedisMQArgs(
            anycast_stream_key="events",
            broadcast_channel="events_all",
            consume_stream_keys=None,
            subscribe_channels=None,
            group_name="manager",
            node_id="test",
            db=4,
        ),
    )
    producer = EventProducer(queue, source=AgentId("manager"))
    kind = {"do_volume_mount": DoVolumeMountEvent, "do_volume_unmount": DoVolumeUnmountEvent}[name]
    fields = {**fields, "quota_scope_id": QuotaScopeID.parse(fields["quota_scope_id"])}
    await producer.broadcast_event(kind(**fields))
    await producer.close()


async def presence(port, do, kernel_ids, agent_id=None):
    from ai.backend.common.clients.valkey_client.valkey_schedule import ValkeyScheduleClient

    client = await ValkeyScheduleClient.create(valkey(port), db_id=2, human_readable_name="schedule")
    try:
        if do == "initialize":
            await client.initialize_kernel_presence_batch(kernel_ids)
            return None
        if do == "check":
            statuses = await client.check_kernel_presence_status_batch(kernel_ids, {agent_id})
        else:
            statuses = await client.get_kernel_presence_batch(kernel_ids)
        return {
            kernel_id: status and {"presence": status.presence, "last_check": status.last_check}
            for kernel_id, status in statuses.items()
        }
    finally:
        await client.close()


async def statistics(port, agent_id, kernel_id, container_id):
    """Through the clients that the manager uses; keys of what is stored as a map are kept as they are read."""
    from ai.backend.common import msgpack
    from ai.backend.common.clients.valkey_client.valkey_stat.client import ValkeyStatClient

    client = await ValkeyStatClient.create(valkey(port), db_id=0, human_readable_name="stat")
    try:
        processes = await client._get_raw(container_id)
        return {
            "kernel": await client.get_kernel_statistics(kernel_id),
            "agent": (await client.get_agent_statistics_batch([agent_id]))[0],
            "containers": (await client.get_agent_container_counts_batch([agent_id]))[0],
            "metadata": {key: json.loads(value) for key, value in (await client.get_computer_metadata()).items()},
            "commit": [status and status.decode() for status in await client.get_kernel_commit_statuses([kernel_id])],
            "abuse": await client.get_abuse_report(kernel_id),
            "process": processes and {str(pid): values for pid, values in msgpack.unpackb(processes).items()},
            "process_keys": processes and [type(key).__name__ for key in msgpack.unpackb(processes)],
        }
    finally:
        await client.close()


async def container_log(port, container_id):
    from ai.backend.common.clients.valkey_client.valkey_container_log.client import ValkeyContainerLogClient

    client = await ValkeyContainerLogClient.create(valkey(port), db_id=6, human_readable_name="container_log")
    try:
        pieces = await client.pop_container_logs(container_id, 1000)
        return pieces and b"".join(piece.get_content() for piece in pieces).decode()
    finally:
        await client.close()


async def installed_images(port, agent_id):
    from ai.backend.common.clients.valkey_client.valkey_image.client import ValkeyImageClient

    client = await ValkeyImageClient.create(valkey(port), db_id=3, human_readable_name="image")
    try:
        return [image.model_dump() for image in await client.get_agent_installed_images(AgentId(agent_id))]
    finally:
        await client.close()


TASKS = {
    "statistics": statistics,
    "container_log": container_log,
    "installed_images": installed_images,
    "discover_redis": discover_redis,
    "discover_etcd": discover_etcd,
    "publish": publish,
    "presence": presence,
}


async def main():
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        request = json.loads(line)
        if request is None:
            continue
        answer = await TASKS[request["task"]](**request["arguments"])
        print(json.dumps(answer, default=str), flush=True)


asyncio.run(main())
