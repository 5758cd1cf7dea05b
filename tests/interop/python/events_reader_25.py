"""Reads our events with the code of a 25.17 manager: message, event class, and what its handlers then need of it."""

import json
import zlib
from datetime import datetime, timezone

from ai.backend.common import msgpack
from ai.backend.common.events.types import AbstractBroadcastEvent
from ai.backend.common.message_queue.types import MessagePayload
from ai.backend.common.types import AgentId
from ai.backend.manager.data.agent.types import AgentHeartbeatUpsert
from ai.backend.manager.sokovan.scheduler.types import KernelCreationInfo

from events_classes import ANYCAST, serve


def read_anycast(fields):
    payload = MessagePayload.from_anycast(fields)
    return payload.source, payload.metadata, ANYCAST[payload.name].deserialize(payload.args)


def read_broadcast(message):
    payload = MessagePayload.from_broadcast(json.loads(message))
    return payload.source, payload.metadata, AbstractBroadcastEvent.deserialize_from_wrapper(payload)


def consume(source, event):
    """What the handlers take out of the two events that carry more than texts; None for the others."""
    match event.event_name():
        case "agent_heartbeat":
            info = event.agent_info
            row = AgentHeartbeatUpsert.from_agent_info(AgentId(source), info, datetime.now(timezone.utc))
            assert info.images_opts.compression == "zlib"
            return {
                "slots": row.insert_fields["available_slots"].to_json(),
                "slot_class": type(row.insert_fields["available_slots"]).__name__,
                "public_key": row.insert_fields["public_key"],
                "images": msgpack.unpackb(zlib.decompress(info.images)),
            }
        case "kernel_started":
            return {"allocations": KernelCreationInfo.from_dict(dict(event.creation_info)).get_resource_allocations()}
    return None


serve(read_anycast, read_broadcast, consume)
