#!/usr/bin/python
"""Install packages, or take back what was installed, and keep a record of it on the host."""

from __future__ import annotations

import fcntl
import json
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.package_host.apt import Apt
from ansible.module_utils.package_host.dnf import Dnf
from ansible.module_utils.package_host.initramfs import rebuild
from ansible.module_utils.package_host.record import Record, load_all
from ansible.module_utils.package_host.shell import Shell, Trouble

DOCUMENTATION = r"""
module: package_transaction
short_description: Install packages by apt or dnf, and take them back
description:
  - Records what a transaction added, upgraded and removed, dependencies included, so that exactly
    that can be taken back; a transaction that was cut off is settled by the next one.
  - Never removes a package of somebody else, and never overrides a hold, an exclude or a version
    lock that somebody else has set.
  - In check mode it predicts, and starts no package manager; an empty host can be planned for.
options:
  state:
    description: Present installs, absent takes back, listed tells what absent would take back.
    type: str
    choices: [present, absent, listed]
    default: present
  manager:
    description: Package manager of the host.
    type: str
    choices: [apt, dnf]
    required: true
  records:
    description: Names of the records; one for C(present), none for all that there are.
    type: list
    elements: str
    default: []
  wanted:
    description: Packages with C(name) and the rule C(minimum), C(version) or C(deny).
    type: list
    elements: dict
    default: []
  hold:
    description: Packages that nothing else may change from now on.
    type: list
    elements: str
    default: []
  firmware:
    description: Packages whose change has to reach the initramfs.
    type: list
    elements: str
    default: []
  initramfs:
    description: What builds the initramfs; empty leaves it alone.
    type: str
    choices: ["", initramfs-tools, dracut]
    default: ""
  release:
    description: Kernel that will boot; empty finds out.
    type: str
    default: ""
  lock_timeout:
    description: Seconds to wait for another package transaction.
    type: int
    default: 900
  folder:
    description: Directory of the records.
    type: path
    default: /var/lib/stroke/packages
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
author: stroke
"""

EXAMPLES = r"""
- name: Install Podman
  package_transaction:
    manager: apt
    records: [container_runtime]
    wanted:
      - {name: podman, minimum: "4.4"}
"""

RETURN = r"""
packages:
  description: Rows with C(role), C(name), C(before) and C(after); of C(present) the changed ones.
  returned: always
  type: list
kept:
  description: What could not be taken back, each with the reason.
  returned: with absent
  type: list
initramfs:
  description: Kernel whose initramfs was built anew.
  returned: with present
  type: str
"""

MANAGERS: dict[str, Any] = {"apt": Apt, "dnf": Dnf}
# Gone after a reboot, and never in the way of a removal.
LOCK = "/run/lock/stroke-packages"


def rows(role: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Differences as rows: what came, and what changed its version."""
    came = [
        {"role": role, "name": name, "before": None, "after": version}
        for name, versions in found["added"].items()
        for version in versions
    ]
    changed = [
        {"role": role, "name": name, "before": change["before"], "after": change["after"]}
        for name, change in found["upgraded"].items()
    ]
    return came + changed


def shown(packages: list[dict[str, Any]]) -> dict[str, str]:
    """The rows as a diff."""
    sides = ("before", "after")
    return {
        side: "".join(f"{row['name']} {row[side]}\n" for row in packages if row[side])
        for side in sides
    }


def predicted(role: str, wanted: list[dict[str, Any]]) -> dict[str, Any]:
    """Check mode: what was asked for is what is known."""
    packages = [
        {"role": role, "name": one["name"], "before": None,
         "after": one.get("version") or (f">= {one['minimum']}" if one.get("minimum") else "any")}
        for one in wanted
    ]  # fmt: skip
    return {"changed": bool(wanted), "packages": packages, "diff": shown(packages)}


def present(host: Any, shell: Shell, params: dict[str, Any]) -> dict[str, Any]:
    """One transaction, its record, the initramfs, the holds."""
    before = host.installed()
    record = Record.load(Path(params["folder"]), params["records"][0], before)
    began = float(record.open["since"]) if record.open else time.time()
    packages = rows(record.role, record.settle(before, host.ours))
    wanted = params["wanted"]
    try:
        if wanted:
            since = int(time.time())
            planned = host.plan(wanted, record.holds)
            if planned:
                record.begin(since, [one["name"] for one in wanted], before, planned)
                host.install(wanted, planned)
    finally:
        packages += rows(record.role, record.settle(host.installed(), host.ours))
        if {row["name"] for row in packages} & set(params["firmware"]):
            record.initramfs = record.initramfs or began
            record.save()
    built = None
    if record.initramfs and params["initramfs"]:
        built = rebuild(shell, params["initramfs"], record.initramfs, chosen=params["release"])
        record.initramfs = None
        record.save()
    changed = _hold(host, record, params["hold"])
    return {"changed": bool(packages or built or changed), "packages": packages,
            "initramfs": built, "diff": shown(packages)}  # fmt: skip


def _hold(host: Any, record: Record, wanted: list[str]) -> bool:
    """Set the wanted holds beside those of others, and lift our own that are not wanted now."""
    if not wanted and not record.holds:
        return False
    there = host.holds()
    ours = [name for name in wanted if name not in there or name in record.holds]
    over = [name for name in record.holds if name not in wanted and name in there]
    missing = [name for name in wanted if name not in there]
    host.release(over)
    host.hold(missing)
    if ours != record.holds:
        record.holds = ours
        record.save()
    return bool(over or missing)


def absent(host: Any, params: dict[str, Any], really: bool) -> dict[str, Any]:
    """Take back what the records name, newest versions of others' packages untouched."""
    now, beside = host.installed(), host.beside()
    folder = Path(params["folder"])
    records = load_all(folder, params["records"], now)
    for record in records:
        record.settle(now, host.ours, keep=really)
    packages = [row for record in records for row in record.entries(now, beside)]
    result = {"changed": bool(packages), "packages": packages, "kept": [],
              "diff": {side: text for side, text in zip(
                  ("before", "after"), reversed(shown(packages).values()))}}  # fmt: skip
    if not really:
        return result
    for record in records:
        host.release(sorted(set(record.holds) & host.holds()) if record.holds else [])
    upgraded = [row for row in packages if row["before"]]
    added = [row for row in packages if not row["before"]]
    gone: dict[str, str] = {}
    kept: dict[str, str] = {}
    if not (upgraded and added and host.both(upgraded, added)):
        kept = host.downgrade(upgraded)
        gone = host.remove(added)
        if kept and added:  # what was in the way may be gone now
            kept = host.downgrade([row for row in upgraded if row["name"] in kept])
    for record in records:
        record.path.unlink(missing_ok=True)
    result["kept"] = [f"package {name} ({why})" for name, why in sorted({**gone, **kept}.items())]
    return result


def main() -> None:
    strings: dict[str, Any] = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "state": {"default": "present", "choices": ["present", "absent", "listed"]},
            "manager": {"required": True, "choices": ["apt", "dnf"]},
            "records": strings,
            "wanted": {"type": "list", "elements": "dict", "default": []},
            "hold": strings,
            "firmware": strings,
            "initramfs": {"default": "", "choices": ["", "initramfs-tools", "dracut"]},
            "release": {"default": ""},
            "lock_timeout": {"type": "int", "default": 900},
            "folder": {"type": "path", "default": "/var/lib/stroke/packages"},
        },
        supports_check_mode=True,
    )
    params = module.params
    if module.check_mode and params["state"] == "present":
        module.exit_json(**predicted(params["records"][0], params["wanted"]))
    shell = Shell()
    host = MANAGERS[params["manager"]](shell, params["lock_timeout"])
    try:
        if params["state"] == "listed" or module.check_mode:
            result = absent(host, params, really=False)
            module.exit_json(**(result | {"changed": module.check_mode and result["changed"]}))
        with Path(LOCK).open("w") as lock:
            # A run that lost its connection may still be at work here.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if params["state"] == "present":
                result = present(host, shell, params)
            else:
                result = absent(host, params, really=True)
        module.exit_json(**result)
    except Trouble as trouble:
        module.fail_json(msg=str(trouble))
    except (OSError, ValueError, json.JSONDecodeError) as error:
        module.fail_json(msg=f"STK-801: the record of packages cannot be used: {error}. "
                             f"Hint: see {params['folder']} on the host")  # fmt: skip


if __name__ == "__main__":
    main()
