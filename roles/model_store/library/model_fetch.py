#!/usr/bin/python
"""Start the unit that fetches a model, or find it at work, and wait a while for it."""

from __future__ import annotations

import json
import pwd
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: model_fetch
short_description: Fetch a model of a Hugging Face hub
description:
  - The download is a transient systemd unit. It goes on when the connection to the host is lost;
    the next run finds it at work, or continues what it left.
  - Returns after O(wait) seconds at the latest; ask again until RV(state) is not C(running).
options:
  name:
    description: Directory name in the store.
    type: str
    required: true
  repository:
    description: org/model.
    type: str
    required: true
  revision:
    description: Branch, tag or commit.
    type: str
    required: true
  endpoint:
    description: Address of the hub.
    type: str
    required: true
  store:
    description: Directory of the models.
    type: path
    required: true
  owner:
    description: User that the download runs as.
    type: str
    required: true
  program:
    description: The role's fetch_model.py on the host.
    type: path
    required: true
  token_file:
    description: File of root with the token. A missing file is no token.
    type: path
    required: true
  record:
    description: File that tells which model is there; with this text in it nothing is to be done.
    type: path
    required: true
  recorded:
    description: The text.
    type: str
    required: true
  wait:
    description: Seconds to wait.
    type: int
    default: 10
attributes:
  check_mode:
    support: full
author: stroke
"""

EXAMPLES = r"""
- name: Fetch the model
  model_fetch:
    name: org--model
    repository: org/model
    revision: main
    endpoint: https://huggingface.co
    store: /var/lib/stroke/models
    owner: stroke
    program: /var/lib/stroke/model_store/fetch_model.py
    token_file: /etc/stroke/secrets/model_store/hf_token
    record: /var/lib/stroke/model_store/org--model.json
    recorded: "{}"
  register: result
  until: result.state != 'running'
"""

RETURN = r"""
state:
  description: C(there), C(running), C(done) or C(failed).
  returned: always
  type: str
progress:
  description: How far it is, in words.
  returned: always
  type: str
kind:
  description: What failed, C(missing), C(refused), C(space), C(network) or C(damaged).
  returned: when failed
  type: str
what:
  description: What failed, in words.
  returned: when failed
  type: str
"""


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def told(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(text_of(path) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def active(unit: str) -> bool:
    done = subprocess.run(
        ["systemctl", "show", "--property=ActiveState", "--value", unit],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() in ("active", "activating", "reloading", "deactivating")


def command(given: dict[str, Any], unit: str) -> list[str]:
    """The unit reaches nothing but the network and the store; its token is no argument."""
    login = pwd.getpwnam(given["owner"])
    token = Path(given["token_file"])
    properties = [
        "Type=exec",
        f"StandardInput={f'file:{token}' if token.is_file() else 'null'}",
        "NoNewPrivileges=yes", "CapabilityBoundingSet=", "PrivateTmp=yes", "ProtectHome=yes",
        "ProtectSystem=strict", f"ReadWritePaths={given['store']}", "RestrictSUIDSGID=yes",
        "ProtectKernelTunables=yes", "ProtectControlGroups=yes", "Nice=5",
    ]  # fmt: skip
    return [
        "systemd-run", "--quiet", "--collect", f"--unit={unit}", f"--uid={login.pw_uid}",
        f"--gid={login.pw_gid}", *(f"--property={entry}" for entry in properties),
        f"--description=Fetch {given['repository']} for stroke",
        sys.executable, given["program"],
        *(word for option in ("endpoint", "repository", "revision", "store", "name")
          for word in (f"--{option}", given[option])),
    ]  # fmt: skip


def last_words(unit: str) -> str:
    done = subprocess.run(
        ["journalctl", "--unit", unit, "--lines", "1", "--output", "cat", "--no-pager"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return f"the download ended: {done.stdout.strip()[-300:] or 'without a word'}"


def words(state: dict[str, Any]) -> str:
    done, total, rate = (float(state.get(key) or 0) for key in ("done", "total", "rate"))
    if not total:
        return "asking the hub"
    text = f"{done / 1e9:.2f} of {total / 1e9:.2f} GB ({100 * done / total:.0f} %)"
    if rate > 0 and done < total:
        left = (total - done) / rate
        text += f", {rate / 1e6:.1f} MB/s, {left / 60:.0f} min left" if left >= 90 else (
            f", {rate / 1e6:.1f} MB/s, {left:.0f} s left")  # fmt: skip
    return text


def main() -> None:
    needed = ("name", "repository", "revision", "endpoint", "owner", "recorded")
    paths = ("store", "program", "token_file", "record")
    module = AnsibleModule(
        argument_spec={
            **{key: {"type": "str", "required": True} for key in needed},
            # The name of a file, not a secret.
            **{key: {"type": "path", "required": True, "no_log": False} for key in paths},
            "wait": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    given: dict[str, Any] = module.params
    folder = Path(given["store"]) / given["name"]
    state_file = Path(given["store"]) / ".partial" / f"{given['name']}.json"
    unit = f"stroke-fetch-{given['name']}.service"
    if folder.is_dir() and text_of(Path(given["record"])) == given["recorded"]:
        module.exit_json(changed=False, state="there", progress="")
    if module.check_mode:
        module.exit_json(changed=True, state="done", progress="")
    running = active(unit)
    state = told(state_file)
    mine = [given["endpoint"].rstrip("/"), given["repository"], given["revision"]]
    if running and state.get("asked") not in (None, mine):
        subprocess.run(["systemctl", "stop", unit], check=True, capture_output=True)
        running = False
    if not running:
        if state.get("state") == "done" and state.get("asked") == mine and folder.is_dir():
            state_file.unlink()
            module.exit_json(changed=True, state="done", progress=words(state))
        if shutil.which("systemd-run") is None:
            module.fail_json(msg="the host has no systemd-run")
        state_file.unlink(missing_ok=True)
        done = subprocess.run(command(given, unit), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            module.fail_json(msg=f"{unit} cannot be started: {done.stderr.strip()}")
    deadline = time.monotonic() + given["wait"]
    while (running := active(unit)) and time.monotonic() < deadline:
        time.sleep(0.5)
    state = told(state_file)
    if running:
        module.exit_json(changed=True, state="running", progress=words(state))
    if state.get("state") == "done":
        state_file.unlink()
        module.exit_json(changed=True, state="done", progress=words(state))
    module.exit_json(
        changed=True, state="failed", progress=words(state),
        kind=state.get("kind") or "network", what=state.get("what") or last_words(unit),
    )  # fmt: skip


if __name__ == "__main__":
    main()
