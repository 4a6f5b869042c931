#!/usr/bin/python
"""Keep what was proven on a host as a generation, and tell what the host still has of each."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.generation_host.record import Broken, amiss, load, record, store, text
from ansible.module_utils.gpu_host import packages, stores, system
from ansible.module_utils.gpu_host.files import Host
from ansible.module_utils.gpu_host.programs import as_user, run

DOCUMENTATION = r"""
module: generation
short_description: Keep what was proven on a host, to go back to
description:
  - The record is one JSON document, C(stroke/generations/1), oldest generation first; it is
    replaced whole or not at all.
  - C(present) reads the running kernel, the versions of packages and the images that services run,
    and adds a generation where something differs from the last one.
  - A record that cannot be read is left as it is, and the module fails with STK-525.
options:
  root:
    description: Directory to find the host in; anything but C(/) is a fixture tree.
    type: path
    default: /
  state:
    description: C(query) changes nothing, and tells what the host still has of each generation.
    type: str
    choices: [present, query]
    default: present
  path:
    description: The record.
    type: path
    default: /var/lib/stroke/generations.json
  keep:
    description: Generations that are kept, 2 or more.
    type: int
    default: 10
  back:
    description: Number of the generation that was gone back to; 0 for none.
    type: int
    default: 0
  arguments:
    description: Kernel arguments that are set.
    type: list
    elements: str
    default: []
  managed_keys:
    description: Kernel arguments owned besides.
    type: list
    elements: str
    default: []
  packages:
    description: Names of packages whose versions belong to a generation.
    type: list
    elements: str
    default: []
  services:
    description: Services with C(name), C(container), C(reference), C(runtime) and C(user).
    type: list
    elements: dict
    default: []
  stores:
    description: With C(query), image stores to look into, each with C(runtime) and C(user).
    type: list
    elements: dict
    default: []
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
author: stroke
"""

EXAMPLES = r"""
- name: Keep what was proven
  generation:
    arguments: [amd_iommu=off]
    packages: [firmware-amd-graphics]
"""

RETURN = r"""
current:
  description: Number of the generation that the host is at.
  returned: with present
  type: int
known:
  description:
    - C(current), C(generations), and what the host has now, C(kernels) (releases), C(packages)
      (versions), C(offered) (versions that apt could install, by name) and C(images) (ids).
  returned: with query
  type: dict
"""

Json = dict[str, Any]
DRIVERS = ("overlay", "overlay2", "vfs", "btrfs", "fuse-overlayfs")


def plain_id(value: Any) -> str:
    """An image id as every runtime would take it."""
    digits = str(value or "").strip().rpartition(":")[2]
    return f"sha256:{digits}" if re.fullmatch(r"[0-9a-f]{64}", digits) else ""


def image_of(host: Host, service: Json) -> str:
    """The image that a service's container was made from, or else what its name stands for."""
    told = ""
    try:
        command = as_user(service.get("user"), str(service.get("runtime") or "podman"),
                          "container", "inspect", "--format", "{{.Image}}",
                          str(service["container"]))  # fmt: skip
        told = plain_id(run(host, *command))
    except LookupError:  # its user is not there
        pass
    if told:
        return told
    item = {key: service.get(key) for key in ("reference", "runtime", "user")}
    found = stores.images(host, [item])
    return plain_id(next(iter(found.values()))["image_id"])


def state_now(host: Host, params: Json) -> Json:
    """What of the host makes a generation."""
    names = sorted(set(params["packages"]))
    known = packages.known(host, system.distribution(host), names)
    versions = {name: known.get(name).version for name in names}
    images = {str(service["name"]): {"reference": str(service.get("reference") or ""),
                                     "id": image_of(host, service)}
              for service in params["services"]}  # fmt: skip
    return {
        "kernel": host.line("/proc/sys/kernel/osrelease") or "",
        "arguments": list(params["arguments"]),
        "managed_keys": sorted(params["managed_keys"]),
        "packages": [{"name": name, "version": version} for name, version in versions.items()
                     if version],
        "images": {name: image for name, image in images.items() if image["id"]},
    }  # fmt: skip


def kernels(host: Host) -> list[str]:
    """Releases that could be started: their modules and their image are there."""
    return [
        release
        for release in host.names("/lib/modules")
        if host.exists(f"/boot/vmlinuz-{release}") or host.exists(f"/lib/modules/{release}/vmlinuz")
    ]


def image_ids(host: Host, wanted: list[Json]) -> list[str]:
    """Ids of all images in the stores, those without a name among them."""
    found: set[str] = set()
    for one in wanted:
        user, runtime = one.get("user"), str(one.get("runtime") or "podman")
        root = stores.PODMAN
        if user:
            login = host.guarded("image store", None, as_user, user)
            home = next((w[5:] for w in login or () if w.startswith("HOME=")), None)
            if home is None:
                continue
            root = f"{home}/.local/share/containers/storage"
        for driver in DRIVERS:
            if runtime == "docker":
                folder = f"{stores.DOCKER}/{driver}/imagedb/content/sha256"
                found |= {plain_id(name) for name in host.names(folder)}
                continue
            listed = host.text(f"{root}/{driver}-images/images.json")
            images = host.guarded("image store", [], json.loads, listed) if listed else []
            found |= {plain_id(image.get("id")) for image in images}
    return sorted(found - {""})


def offered(host: Host, names: list[str]) -> dict[str, list[str]]:
    """Versions that apt could install; nothing of a package that its lists do not have at all."""
    told = run(host, "apt-cache", "madison", *names) if names else None
    found: dict[str, list[str]] = {}
    for line in (told or "").splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) > 2:
            found.setdefault(fields[0], []).append(fields[1])
    return found


def query(host: Host, data: Json, wanted: list[Json]) -> Json:
    """The generations, and what the host still has of them."""
    names = sorted({p["name"] for one in data["generations"] for p in one["packages"]})
    known = packages.known(host, system.distribution(host), names)
    there = kernels(host)
    gone = sorted({f"linux-image-{one['kernel']}" for one in data["generations"]
                   if one["kernel"] not in there})  # fmt: skip
    asked = [name for name in [*names, *gone] if re.fullmatch(r"[a-z0-9][a-z0-9.+~_-]*", name)]
    return {
        "current": data["current"],
        "generations": data["generations"],
        "kernels": there,
        "packages": {name: known.get(name).version for name in names},
        "offered": offered(host, asked) if known.manager == "apt" else {},
        "images": image_ids(host, wanted),
    }


def main() -> None:
    strings: Json = {"type": "list", "elements": "str", "default": []}
    tables: Json = {"type": "list", "elements": "dict", "default": []}
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/"},
            "state": {"choices": ["present", "query"], "default": "present"},
            "path": {"type": "path", "default": "/var/lib/stroke/generations.json"},
            "keep": {"type": "int", "default": 10},
            "back": {"type": "int", "default": 0},
            "arguments": strings, "managed_keys": strings, "packages": strings,
            "services": tables, "stores": tables,
        },
        supports_check_mode=True,
    )  # fmt: skip
    params = module.params
    host = Host(Path(params["root"]))
    path = host.at(params["path"])
    try:
        before = load(path)
    except Broken as error:
        module.fail_json(
            msg=f"STK-525: the record of generations cannot be used: {params['path']}: {error}. "
            "Hint: it was left as it is; if nobody can mend it, on the host run: "
            f"sudo mv {params['path']} {params['path']}.broken"
        )
    if params["state"] == "query":
        module.exit_json(changed=False, known=query(host, before, params["stores"]))
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    after = record(before, state_now(host, params), params["back"], params["keep"], now)
    changed = amiss(path) or after != before
    if changed and not module.check_mode:
        store(path, text(after))
    shown = {"before": text(before) if path.is_file() else "", "after": text(after)}
    module.exit_json(changed=changed, current=after["current"],
                     diff={**shown, "before_header": params["path"],
                           "after_header": params["path"]})  # fmt: skip


if __name__ == "__main__":
    main()
