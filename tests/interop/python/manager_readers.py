"""How code of the manager reads results: the same types and checks, the same on both lines of managers."""

from typeguard import check_type

from ai.backend.common.dto.agent.response import CodeCompletionResp
from ai.backend.common.dto.internal.health import HealthResponse
from ai.backend.common.types import (
    DeviceModelInfo,
    HardwareMetadata,
    KernelCreationResult,
    ResourceSlot,
    ServicePort,
    ServicePortProtocols,
)


def read_service_port(port):
    assert ServicePort.__required_keys__ <= set(port), sorted(port)
    return {**port, "protocol": ServicePortProtocols(port["protocol"])}


def read_creation(results):
    for result in results:
        assert set(result) == KernelCreationResult.__required_keys__, sorted(result)
        assert isinstance(result["resource_spec"]["slots"], ResourceSlot)
        for devices in result["attached_devices"].values():
            for device in devices:
                assert set(device) == DeviceModelInfo.__required_keys__, sorted(device)
    return [
        {**result, "service_ports": [read_service_port(port) for port in result["service_ports"]]}
        for result in results
    ]


READERS = {
    "health": HealthResponse.model_validate,
    "hardware": lambda result: {k: check_type(v, HardwareMetadata) for k, v in result.items()},
    "creation": read_creation,
    "completion": lambda result: CodeCompletionResp.from_dict(result).as_dict(),
}
