"""Reads our events with the code of a 26.9 manager: message, event class, and what its handlers then need of it."""

from ai.backend.common.events.message import EventMessage
from ai.backend.common.events.types import AbstractBroadcastEvent
from ai.backend.common.message_queue.payload import AnycastMessagePayload, BroadcastMessagePayload

from events_classes import ANYCAST, serve


def read_anycast(fields):
    payload = AnycastMessagePayload.from_stream_fields(fields)
    event = ANYCAST[payload.name].from_message(EventMessage(name=payload.name, payload=payload.payload))
    return payload.legacy_source, payload.metadata, event


def read_broadcast(message):
    payload = BroadcastMessagePayload.from_json(message)
    return payload.legacy_source, payload.metadata, AbstractBroadcastEvent.from_broadcast_payload(payload)


def consume(source, event):
    """The totals that the manager charges to a kernel; None for other events."""
    if event.event_name() == "kernel_started":
        return {"totals": [(one.resource_type, one.quantity) for one in event.creation_info.used_devices.slot_totals]}
    return None


serve(read_anycast, read_broadcast, consume)
