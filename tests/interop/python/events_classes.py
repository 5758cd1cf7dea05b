"""What the readers of both lines share: the original's event classes by name, and decoded events as plain JSON values."""

import dataclasses
import datetime
import enum
import importlib
import json
import pkgutil
import sys
import uuid
from base64 import b64decode
from collections.abc import Mapping
from decimal import Decimal

from ai.backend.common.events import event_types
from ai.backend.common.events.types import (
    AbstractAnycastEvent,
    AbstractBroadcastEvent,
    EventCacheDomain,
    EventDomain,
)


def classes_by_name(base):
    """Every concrete event class below `base`, by the name that travels."""
    for module in pkgutil.walk_packages(event_types.__path__, f"{event_types.__name__}."):
        importlib.import_module(module.name)
    found, todo = {}, [base]
    while todo:
        for cls in todo.pop().__subclasses__():
            todo.append(cls)
            try:
                found[cls.event_name()] = cls
            except NotImplementedError:
                continue
    return {name: cls for name, cls in found.items() if isinstance(name, str)}


ANYCAST = classes_by_name(AbstractAnycastEvent)
BROADCAST = classes_by_name(AbstractBroadcastEvent)


def plain(value):
    """A decoded value in JSON; what JSON has no word for becomes a tagged text, so that a test sees the class too."""
    if isinstance(value, enum.Enum):
        return value.value
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, uuid.UUID):
        return f"uuid:{value}"
    if isinstance(value, Decimal):
        return f"decimal:{value}"
    if isinstance(value, bytes):
        return f"bytes:{value.decode('latin1')}"
    if type(value).__name__ in ("SlotName", "QuotaScopeID"):
        return str(value)
    if isinstance(value, datetime.datetime):
        return f"datetime:{value.isoformat()}"
    if hasattr(value, "model_fields_set"):
        return {name: plain(getattr(value, name)) for name in type(value).model_fields}
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value]


def serve(read_anycast, read_broadcast, consume):
    """
    One JSON line in and out for each event. In: `name`, `anycast` (pairs of field name and base64, or null), `broadcast`
    (the channel's message, or null). Out: what both halves read, the source, and what the manager makes of it.
    """
    for line in sys.stdin:
        if not line.strip():
            continue
        encoded = json.loads(line)
        try:
            answer = {"name": encoded["name"]}
            if encoded["anycast"] is not None:
                fields = {name.encode(): b64decode(text) for name, text in encoded["anycast"]}
                source, metadata, event = read_anycast(fields)
                answer |= {"source": source, "metadata": plain(metadata)}
                answer["anycast"] = plain(event)
                answer["manager"] = plain(consume(source, event))
            if encoded["broadcast"] is not None:
                source, metadata, event = read_broadcast(encoded["broadcast"])
                answer |= {"source": source, "metadata": plain(metadata)}
                answer["broadcast"] = plain(event)
                if event.event_domain() == EventDomain.BGTASK:
                    answer["cache_id"] = EventCacheDomain.BGTASK.cache_id(event.domain_id())
        except Exception as error:
            answer = {"name": encoded["name"], "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
