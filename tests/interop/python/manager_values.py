"""Values between JSON lines and the original's own types: {"$uuid": text}, {"$bytes": hex} and so on."""

import enum
import uuid
from collections.abc import Mapping
from decimal import Decimal
from pathlib import PurePath

from pydantic import BaseModel

from ai.backend.common.docker import ImageRef
from ai.backend.common.types import BinarySize, KernelId, ResourceSlot, SessionId


def from_json(value):
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"$kernel": text}:
            return KernelId(uuid.UUID(text))
        case {"$session": text}:
            return SessionId(uuid.UUID(text))
        case {"$bytes": text}:
            return bytes.fromhex(text)
        case {"$image": canonical}:
            return image_ref(canonical)
    return {key: from_json(item) for key, item in value.items()}


def to_json(value):
    match value:
        case BaseModel():
            return to_json(value.model_dump())
        case enum.Enum():
            return {"$enum": [type(value).__name__, value.value]}
        case bytes():
            return {"$bytes": value.hex()}
        case BinarySize():
            return {"$binarysize": int(value)}
        case None | bool() | int() | float() | str():
            return value
        case Decimal():
            return {"$decimal": str(value)}
        case uuid.UUID():
            return {"$uuid": str(value)}
        case PurePath():
            return {"$path": str(value)}
        case ResourceSlot():
            return {"$resourceslot": {str(slot): str(amount) for slot, amount in value.data.items()}}
        case Mapping():
            return {str(key): to_json(item) for key, item in value.items()}
        case list() | tuple():
            return [to_json(item) for item in value]
        case _:
            return {f"${type(value).__name__}": str(value)}


def image_ref(canonical, architecture="x86_64"):
    registry, project, _ = canonical.split("/", 2)
    return ImageRef.from_image_str(
        canonical, project, registry, architecture=architecture, is_local=True
    )


