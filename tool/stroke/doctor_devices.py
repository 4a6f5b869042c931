"""The devices of this machine as udev sees them: GPUs, their nodes, the compute device, the NPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .doctor_access import Account, Node, node

AMD_GPU, AMD_CPU = "0x1002", "0x1022"  # the NPU is a part of the processor
KINDS = ("0x03", "0x12")  # display controllers, and accelerators of the MI300 class
SHOWN = (
    "DRIVER", "PCI_ID", "PCI_SUBSYS_ID", "PCI_CLASS", "PCI_SLOT_NAME", "ID_PATH",
    "ID_MODEL_FROM_DATABASE", "DEVTYPE", "TAGS", "CURRENT_TAGS", "ID_SEAT", "MODALIAS",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Device:
    """One device with its udev properties; `slot` is the PCI address that it belongs to."""

    name: str
    subsystem: str
    slot: str | None
    driver: str | None
    node: Node | None
    properties: dict[str, str] = field(default_factory=dict)


def devices(who: Account) -> tuple[list[Device], list[str]]:
    """The devices that matter for compute, and what could not be asked for them."""
    try:
        import pyudev

        context = pyudev.Context()
    except (ImportError, OSError) as error:  # no libudev on this machine
        return [], [f"udev: {error}"]
    found: list[Device] = []
    problems: list[str] = []
    for kind in (_gpus, _compute, _npus):
        try:
            found += kind(context, who)
        except OSError as error:
            problems.append(f"udev: {error}")
    return found, problems


def _gpus(context: Any, who: Account) -> Iterator[Device]:
    for pci in context.list_devices(subsystem="pci"):
        if _attribute(pci, "vendor") != AMD_GPU or not _attribute(pci, "class").startswith(KINDS):
            continue
        yield _device(pci, pci.sys_name, who)
        nodes = context.list_devices(subsystem="drm", parent=pci)
        for drm in sorted(nodes, key=lambda one: str(one.sys_name)):
            if drm.device_node and str(drm.sys_name).startswith(("card", "renderD")):
                yield _device(drm, pci.sys_name, who)


def _compute(context: Any, who: Account) -> Iterator[Device]:
    for device in context.list_devices(subsystem="kfd"):
        if device.device_node:
            yield _device(device, None, who)


def _npus(context: Any, who: Account) -> Iterator[Device]:
    for device in context.list_devices(subsystem="accel"):
        parent = device.find_parent("pci")
        if device.device_node and parent is not None and _attribute(parent, "vendor") == AMD_CPU:
            yield _device(device, parent.sys_name, who)


def _device(device: Any, slot: str | None, who: Account) -> Device:
    properties = {str(key): str(value) for key, value in dict(device.properties).items()}
    place = device.device_node
    return Device(
        name=str(device.sys_name),
        subsystem=str(device.subsystem),
        slot=slot,
        driver=device.driver or properties.get("DRIVER"),
        node=node(str(place), who) if place else None,
        properties={key: properties[key] for key in SHOWN if key in properties},
    )


def _attribute(device: Any, name: str) -> str:
    raw = device.attributes.get(name)
    return bytes(raw).decode("ascii", "replace").strip().lower() if raw is not None else ""
