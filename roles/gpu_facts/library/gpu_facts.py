#!/usr/bin/python
"""Tell what a host is, without changing it: GPU, kernel, memory, packages, boot loader, space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.gpu_host import (
    arguments,
    boot,
    dpkg,
    driver,
    firmware,
    gpus,
    items,
    logs,
    memory,
    packages,
    pci,
    recording,
    rpm,
    runtime,
    secrets,
    survey,
    system,
)
from ansible.module_utils.gpu_host.anonymous import Names
from ansible.module_utils.gpu_host.files import Host

DOCUMENTATION = r"""
module: gpu_facts
short_description: Describe an AMD GPU host
description:
  - Reads files under O(root) only; starts no program where a file answers the question.
  - Works as an ordinary user with less detail and lists what it could not read.
  - Malformed files are reported in C(unreadable) and never end the module.
options:
  root:
    description: Directory to read the host from; anything but C(/) is a fixture tree.
    type: path
    default: /
  declared_gpu:
    description: gfx name of a GPU to simulate; ignored where a real AMD GPU is found.
    type: str
  declared_memory_gib:
    description: Memory to plan for on a simulated host.
    type: int
  packages:
    description: Names of packages whose installed version and hold are wanted.
    type: list
    elements: str
    default: []
  paths:
    description: Paths whose file system space is wanted; a missing one counts as its parent.
    type: list
    elements: str
    default: []
  users:
    description: Logins whose numeric ids, home, shell and groups are wanted.
    type: list
    elements: str
    default: []
  pci_ids:
    description: PCI device id (four hexadecimal digits) to gfx name, from the catalogue.
    type: dict
    default: {}
  look:
    description:
      - What else to look at in the same run, besides the facts. C(paths) are files and directories,
        with wildcards in the last part; C(units) are items of a manifest. One with C(history) is
        also asked why it is as it is (starts, last stop, container, watchdog).
    type: dict
    default: {}
  secrets:
    description:
      - Secret files to compare in the same run; the host answers whether each is the wanted one.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The file; its directory is looked at, too.
        type: str
        required: true
      salt:
        description: Salt of O(secrets[].digest).
        type: str
      digest:
        description: PBKDF2 of what is wanted in the file. Empty where nobody but the host knows.
        type: str
      derived:
        description: More files, path to text, with C({key}) for what is in O(secrets[].path).
        type: dict
  capture:
    description:
      - Return RV(capture), a small tree with what was read, without names, addresses, identifiers
        and serial numbers.
    type: bool
    default: false
  logs:
    description:
      - With O(capture), return RV(logs), too, excerpts of logs, units and records of stroke,
        without names, addresses and secrets.
    type: bool
    default: false
  keep_host_names:
    description: Leave names of hosts and servers in RV(capture) and RV(logs).
    type: bool
    default: false
attributes:
  check_mode:
    support: full
author: stroke
"""

EXAMPLES = r"""
- name: Read the facts of this host
  gpu_facts:
    packages: [podman, firmware-amd-graphics]
    paths: [/boot, /var/lib/containers]
    pci_ids: {"1586": gfx1151}
"""

RETURN = r"""
ansible_facts:
  description: One key C(gpu_facts) with schema C(stroke/facts/1); see the README of the role.
  returned: always
  type: dict
capture:
  description:
    - C(archive), a gzipped tar in base64; C(replaced) and C(left_out) say what is not in it.
  returned: when O(capture)
  type: dict
logs:
  description: C(archive) as in RV(capture); C(left_out) names what would have made it too
      large. C(names) are the host's own names and logins, for whoever makes a report anonymous.
  returned: when O(capture) and O(logs)
  type: dict
"""

SCHEMA = "stroke/facts/1"


def collect(host: Host, params: dict[str, Any]) -> dict[str, Any]:
    """All facts of a host; each section survives the failure of every other one."""
    distribution = host.guarded("distribution", {}, system.distribution, host)
    known = host.guarded(
        "package database", packages.Known(None, {}, []),
        packages.known, host, distribution, params["packages"],
    )  # fmt: skip
    kernel = host.guarded("kernel", {}, system.kernel, host, known)
    bus = host.guarded("PCI", [], pci.functions, host)
    real = host.guarded("GPUs", [], gpus.gpus, host, bus, params["pci_ids"])
    options = host.guarded("modprobe.d", ([], [], []), arguments.modprobe, host)
    boots = host.guarded("boot", {}, boot.boot, host, options[1])
    sections = {
        "environment": lambda: system.environment(host),
        "memory": lambda: memory.memory(host, params["declared_memory_gib"], real),
        "modules": lambda: driver.modules(host, kernel.get("running", "")),
        "parameters": lambda: driver.parameters(host),
        "firmware": lambda: firmware.firmware(
            host, real, known.versions(), lambda files: known.owners(host, files)
        ),
        "arguments": lambda: arguments.arguments(
            host, kernel.get("args", []), boots.get("entries_dir"), options
        ),
        "iommu": lambda: driver.iommu(host, [gpu["slot"] for gpu in real if gpu["slot"]]),
        "npu": lambda: pci.npu(bus),
        "devices": lambda: system.devices(host),
        "groups": lambda: system.groups(host),
        "apt": lambda: dpkg.apt(host, known.packages if known.manager == "apt" else {}),
        "dnf": lambda: rpm.dnf(host) if known.manager == "dnf" else dict(rpm.EMPTY),
        "filesystems": lambda: system.filesystems(host, params["paths"]),
        "container_runtime": lambda: runtime.container_runtime(host, known),
        "desktop": lambda: system.desktop(host),
        "state": lambda: system.state(host),
        "users": lambda: {name: items.user(host, name) for name in params["users"]},
    }
    facts = {name: host.guarded(name, {}, read) for name, read in sections.items()}
    wanted = {name: known.get(name) for name in params["packages"]}
    facts["schema"] = SCHEMA
    facts["distribution"] = distribution
    facts["kernel"] = kernel
    facts["boot"] = boots
    facts["gpus"] = gpus.with_declared(host, real, params["declared_gpu"])
    facts["package_manager"] = known.manager
    facts["packages"] = {
        name: {"version": package.version, "held": package.held} for name, package in wanted.items()
    }
    if params.get("look"):
        facts["seen"] = host.guarded("survey", {}, survey.survey, host, params["look"])
    if params.get("secrets"):
        facts["secrets"] = host.guarded("secrets", {}, secrets.secrets, host, params["secrets"])
    facts["notes"] = host.notes
    facts["unreadable"] = host.unreadable
    return facts


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/"},
            "declared_gpu": {"type": "str"},
            "declared_memory_gib": {"type": "int"},
            "packages": {"type": "list", "elements": "str", "default": []},
            "paths": {"type": "list", "elements": "str", "default": []},
            "users": {"type": "list", "elements": "str", "default": []},
            "pci_ids": {"type": "dict", "default": {}},
            "look": {"type": "dict", "default": {}},
            "secrets": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "str", "required": True},
                    "salt": {"type": "str"},
                    "digest": {"type": "str", "no_log": True},
                    "derived": {"type": "dict"},
                },
            },
            "capture": {"type": "bool", "default": False},
            "logs": {"type": "bool", "default": False},
            "keep_host_names": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    root = Path(module.params["root"])
    host = recording.Recorder(root) if module.params["capture"] else Host(root)
    result = {"ansible_facts": {"gpu_facts": collect(host, module.params)}}
    if isinstance(host, recording.Recorder):
        asked = module.params["packages"]
        names = Names(host.files, asked, module.params["keep_host_names"])
        # Before the tree: what the logs' sources tell of names counts for the tree as well. Not
        # through the recorder: what is read to be taken out, secrets first, belongs in no tree.
        if module.params["logs"]:
            result["logs"] = logs.pack(Host(root), names)
        result["capture"] = recording.pack(host, asked, names)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
