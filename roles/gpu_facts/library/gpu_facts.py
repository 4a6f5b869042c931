#!/usr/bin/python
"""Tell what a host is, without changing it: GPU, kernel, memory, packages, boot loader, space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.gpu_host import boot, dpkg, gpus, items, system
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
"""

SCHEMA = "stroke/facts/1"


def collect(host: Host, params: dict[str, Any]) -> dict[str, Any]:
    """All facts of a host; each section survives the failure of every other one."""
    known = host.guarded("package database", {}, dpkg.packages, host)
    wanted = {name: known.get(name, dpkg.ABSENT) for name in params["packages"]}
    kernel = host.guarded("kernel", {}, system.kernel, host, known)
    real = host.guarded("GPUs", [], gpus.gpus, host, params["pci_ids"])
    sections = {
        "distribution": lambda: system.distribution(host),
        "environment": lambda: system.environment(host),
        "memory": lambda: system.memory(host, params["declared_memory_gib"]),
        "modules": lambda: system.modules(host, kernel.get("running", "")),
        "parameters": lambda: system.parameters(host),
        "devices": lambda: system.devices(host),
        "groups": lambda: system.groups(host),
        "apt": lambda: dpkg.apt(host, known),
        "boot": lambda: boot.boot(host),
        "filesystems": lambda: system.filesystems(host, params["paths"]),
        "container_runtime": lambda: system.container_runtime(host, known),
        "state": lambda: system.state(host),
        "users": lambda: {name: items.user(host, name) for name in params["users"]},
    }
    facts = {name: host.guarded(name, {}, read) for name, read in sections.items()}
    facts["schema"] = SCHEMA
    facts["kernel"] = kernel
    facts["gpus"] = gpus.with_declared(host, real, params["declared_gpu"])
    facts["packages"] = {
        name: {"version": package.version, "held": package.held} for name, package in wanted.items()
    }
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
        },
        supports_check_mode=True,
    )
    host = Host(Path(module.params["root"]))
    module.exit_json(changed=False, ansible_facts={"gpu_facts": collect(host, module.params)})


if __name__ == "__main__":
    main()
