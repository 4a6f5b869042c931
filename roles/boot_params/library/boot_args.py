#!/usr/bin/python
"""Set kernel arguments where the host's boot loader keeps them, and give back what was there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.boot_config import conflicts, layouts, plan, record
from ansible.module_utils.boot_config.errors import BootConfigError
from ansible.module_utils.boot_config.files import Host
from ansible.module_utils.boot_config.words import key_of

DOCUMENTATION = r"""
module: boot_args
short_description: Set kernel arguments in boot entries and in the source for future kernels
description:
  - Edits boot entries (GRUB with the Boot Loader Specification, systemd-boot) and the files that
    new entries are made from, each in one step; everything but the owned arguments stays.
  - With GRUB's own menu it changes nothing, and only tells what else sets the same arguments.
  - Refuses hosts that ostree manages, with the command to use instead.
options:
  root:
    description: Directory to find the host in; anything but C(/) is a fixture tree.
    type: path
    default: /
  layout:
    description: How the host keeps its arguments; C(auto) looks.
    type: str
    choices: [auto, grub, grub-bls, systemd-boot]
    default: auto
  arguments:
    description: Arguments to set, as key=value or key.
    type: list
    elements: str
    default: []
  managed_keys:
    description: Keys owned besides those of the arguments, taken away wherever they are set.
    type: list
    elements: str
    default: []
  state:
    description: C(absent) gives the lines from before the first run back, byte for byte.
    type: str
    choices: [present, absent]
    default: present
  state_directory:
    description: Where the lines from before are kept.
    type: path
    default: /var/lib/stroke/boot_params
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
author: stroke
"""

EXAMPLES = r"""
- name: Set an argument
  boot_args:
    arguments: [amd_iommu=off]
    managed_keys: [iommu]
"""

RETURN = r"""
layout:
  description: The layout that was found.
  returned: success
  type: str
files:
  description: Paths that changed, in the order in which they were written.
  returned: success
  type: list
replaced:
  description: What of the admin's was replaced, with its file and what is there now.
  returned: success
  type: list
duplicates:
  description: Files outside of the boot entries that set the same keys.
  returned: success
  type: list
others:
  description: Boot entries that were left alone, of other systems or for rescue.
  returned: success
  type: list
initramfs:
  description: The program that builds the initramfs on the host.
  returned: success
  type: str
"""

_PLAIN = re.compile(r"[A-Za-z0-9_.,:=/+@%-]+\Z")
_BUILDERS = ("update-initramfs", "dracut")
_PLACES = ("/usr/sbin", "/sbin", "/usr/bin", "/bin")


def check(wanted: list[str], keys: list[str]) -> None:
    """The last guard before the boot loader: an argument is one plain word, and there once."""
    bad = [word for word in [*wanted, *keys] if not _PLAIN.match(word)]
    named = [key_of(word) for word in wanted]
    bad += sorted({word for word in wanted if named.count(key_of(word)) > 1})
    if bad:
        raise BootConfigError(
            f"the kernel arguments {' '.join(bad)} are no plain words or are given twice",
            "give each key once, with letters, digits and _ . , : = / + @ % - only", "STK-303",
        )  # fmt: skip


def work(host: Host, params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Decide, and write unless only asked; the answer is the module's result."""
    wanted, keys = list(params["arguments"]), list(params["managed_keys"])
    present, directory = params["state"] == "present", params["state_directory"]
    check(wanted, keys)
    old = record.load(host, directory)
    if present or not old.empty:
        layouts.refuse_ostree(host)
    layout = params["layout"] if params["layout"] != "auto" else layouts.detect(host)
    owned = [word.partition("=")[0] for word in wanted] + keys
    told: dict[str, Any] = {
        "changed": False,
        "layout": layout,
        "files": [],
        "others": [],
        "replaced": [],
        "duplicates": conflicts.duplicates(host, layout, owned) if present else [],
        "initramfs": initramfs(host),
        "diff": [],
    }
    if layout == layouts.GRUB and old.empty:
        if present:
            told["replaced"] = replaced_by_dropin(host, wanted, owned)
        return told
    if not present and old.empty:
        return told
    if layout == layouts.GRUB:
        raise BootConfigError(
            "the host had boot entries with arguments of stroke's, and now starts in another way",
            f"see {directory}/{record.FILE} for what was there, then delete it",
        )
    found = layouts.sources(host, layout)
    told["others"] = found.others
    if present:
        decided = plan.present(host, found, old, wanted, keys)
    else:
        decided = plan.absent(host, found.found, old)
    decided.record.layout = layout
    told.update(
        changed=bool(decided.changes),
        files=[change.path for change in decided.changes],
        replaced=decided.replaced,
        diff=[difference(change) for change in decided.changes],
    )
    if not check_mode:
        write(host, directory, old, decided)
    return told


def write(host: Host, directory: str, old: record.Record, decided: plan.Plan) -> None:
    """The way back is written first; what is interrupted is finished by the next run."""
    new = decided.record
    if decided.changes and not new.empty:
        record.save(host, directory, plan.between(old, new))
    for change in decided.changes:
        if change.after is None:
            host.remove(change.path)
        else:
            host.make_directory(str(Path(change.path).parent))
            host.write(change.path, change.after)
    if new.empty:
        record.forget(host, directory)
    elif decided.changes or new.text() != old.text():
        record.save(host, directory, new)


def replaced_by_dropin(host: Host, wanted: list[str], owned: list[str]) -> list[dict[str, str]]:
    now = {key_of(word): word for word in wanted}
    return [
        {
            "source": setting["source"],
            "had": f"{setting['key']}={setting['value']}" if setting["value"] else setting["key"],
            "now": now.get(key_of(setting["key"]), ""),
        }
        for setting in conflicts.replaced_by_dropin(host, owned)
    ]


def difference(change: plan.Change) -> dict[str, str]:
    return {
        "before_header": change.path,
        "after_header": change.path,
        "before": readable(change.before),
        "after": readable(change.after),
    }


def readable(text: str | None) -> str:
    return (text or "").encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def initramfs(host: Host) -> str:
    """What builds the initramfs here: the distribution decides, so look."""
    return next(
        (name for name in _BUILDERS if any(host.exists(f"{place}/{name}") for place in _PLACES)), ""
    )


def unseen_by_grubby(wanted: list[str]) -> list[str]:
    """Arguments that the distribution's own tool does not see in the entry that starts next.

    grubby only judges: its edits take words for patterns (amd_iommu is then in amd_iommu_dump),
    and rewrite the quoting of /etc/default/grub.
    """
    program = shutil.which("grubby")
    if not program:
        return []
    done = subprocess.run(
        [program, "--info=DEFAULT"], capture_output=True, text=True, timeout=60, check=False
    )
    line = re.search(r'^args="(.*)"$', done.stdout, re.MULTILINE)
    if done.returncode != 0 or not line or "$kernelopts" in line.group(1):
        return []
    return [word for word in wanted if word not in line.group(1).split()]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/"},
            "layout": {"choices": ["auto", *layouts.LAYOUTS], "default": "auto"},
            "arguments": {"type": "list", "elements": "str", "default": []},
            "managed_keys": {"type": "list", "elements": "str", "default": []},
            "state": {"choices": ["present", "absent"], "default": "present"},
            "state_directory": {"type": "path", "default": "/var/lib/stroke/boot_params"},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        result = work(Host(Path(params["root"])), params, module.check_mode)
        if params["root"] == "/" and params["state"] == "present" and not module.check_mode:
            unseen = unseen_by_grubby(params["arguments"]) if result["layout"] == "grub-bls" else []
            if unseen:
                raise BootConfigError(
                    f"the entry that starts next does not have {' '.join(unseen)}",
                    "see: sudo grubby --info=DEFAULT",
                )
    except BootConfigError as error:
        module.fail_json(msg=str(error), code=error.code, hint=error.hint)
    except (OSError, subprocess.SubprocessError) as error:
        module.fail_json(
            msg=f"STK-411: {error}. Hint: no file is half written; make room or mend the file "
            "system, then run stroke again",
            code="STK-411",
        )
    for duplicate in result["duplicates"]:
        module.warn(
            f"{duplicate['source']} sets {duplicate['key']} too (value {duplicate['value']!r}): "
            "remove it there, or it decides by chance"
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
