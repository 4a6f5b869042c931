#!/usr/bin/python
"""Tell what services are, may do and answer, without changing anything on the host."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.service_host import network, process, secrets
from ansible.module_utils.service_host.shell import run

DOCUMENTATION = r"""
module: service_probe
short_description: Observe inference services and how exposed they are
description:
  - For each service its unit, its container as the runtime describes it, what its processes really
    have according to C(/proc), the addresses that listen, and a completion. All in one run.
  - Changes nothing. No secret is returned, only where one was found.
options:
  services:
    description: >-
      The services, each with C(name), C(unit), C(container), C(runtime) (podman or docker),
      C(user) (set for a rootless one), C(url), C(port) and C(model).
    type: list
    elements: dict
    required: true
  secrets:
    description: Directory of the files that hold secrets, with one directory for each service.
    type: path
    default: /etc/stroke/secrets
  prompt:
    description: What the completion is asked.
    type: str
    required: true
  tokens:
    description: Most tokens that the completion may have.
    type: int
    default: 16
  timeout:
    description: Seconds that the completion may take.
    type: int
    default: 120
attributes:
  check_mode:
    support: full
author: stroke
"""

EXAMPLES = r"""
- name: Observe a service
  service_probe:
    prompt: Say hello.
    services:
      - name: stroke-inference
        unit: stroke-inference.service
        container: stroke-inference
        runtime: podman
        url: http://127.0.0.1:8000
        port: 8000
        model: Qwen/Qwen2.5-14B-Instruct
"""

RETURN = r"""
services:
  description: What was seen of each service, by name.
  returned: always
  type: dict
secrets:
  description: Files and directories of secrets with C(type), C(mode), C(uid) and C(gid).
  returned: always
  type: list
"""

PROPERTIES = "LoadState,ActiveState,SubState,Result,NRestarts,WantedBy,FragmentPath"
# Lines of the journal in which a secret is looked for.
LINES = 500


def properties(text: str) -> dict[str, str]:
    """Output of `systemctl show`: one NAME=value per line."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def exposure(text: str) -> float | None:
    """The overall figure at the end of what `systemd-analyze security` prints."""
    found = re.search(r"Overall exposure level for \S+: (\d+(?:\.\d+)?)", text)
    return float(found[1]) if found else None


def described(text: str) -> dict[str, Any]:
    """The one container that `podman` or `docker container inspect` prints, or nothing."""
    try:
        found = json.loads(text or "[]")
    except ValueError:
        return {}
    return (
        dict(found[0]) if isinstance(found, list) and found and isinstance(found[0], dict) else {}
    )


def user_of(name: str) -> dict[str, Any] | None:
    """Name, id and home of the user whose rootless service it is."""
    import pwd

    try:
        login = pwd.getpwnam(name)
        return {"name": name, "uid": login.pw_uid, "home": login.pw_dir}
    except KeyError:
        return None


def probe(service: dict[str, Any], params: dict[str, Any], known: set[str]) -> dict[str, Any]:
    """Everything that is seen of one service."""
    user = user_of(str(service["user"])) if service.get("user") else None
    scope = ["--user"] if user else []
    unit, runtime = str(service["unit"]), str(service.get("runtime") or "podman")
    shown = run(["systemctl", *scope, "show", unit, f"--property={PROPERTIES}"], user)
    inspected = run([runtime, "container", "inspect", str(service["container"])], user)
    container = described(inspected)
    pid = int((container.get("State") or {}).get("Pid") or 0)
    key = secrets.first_line(f"{params['secrets']}/{service['name']}/api_key")
    body = {"model": service["model"], "temperature": 0, "max_tokens": params["tokens"],
            "messages": [{"role": "user", "content": params["prompt"]}]}  # fmt: skip
    field = "_SYSTEMD_USER_UNIT" if user else "_SYSTEMD_UNIT"
    texts = {
        "the unit": run(["systemctl", *scope, "cat", unit], user),
        f"{runtime} inspect": inspected,
        "arguments of processes": process.command_lines(process.members(pid)) if pid else "",
        "the journal": run(
            ["journalctl", "--quiet", f"{field}={unit}", "-o", "cat", "-n", str(LINES)]
        ),
    }
    return {
        "unit": properties(shown),
        "exposure": exposure(
            run(["systemd-analyze", *scope, "--no-pager", "security", unit], user)
        ),
        "container": container,
        "process": process.view(pid) if pid else {},
        "listening": network.listening(int(service["port"])),
        "has_key": bool(key),
        "status_without_key": network.without_key(service["url"], 10) if key else None,
        "answer": network.completion(service["url"], key, body, params["timeout"]),
        "secrets_in": secrets.places(known, texts),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "services": {"type": "list", "elements": "dict", "required": True},
            "secrets": {"type": "path", "default": "/etc/stroke/secrets", "no_log": False},
            "prompt": {"type": "str", "required": True},
            "tokens": {"type": "int", "default": 16, "no_log": False},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    params = module.params
    top = Path(params["secrets"])
    kept = secrets.files(top)
    known = secrets.values(top, kept)
    found = {service["name"]: probe(service, params, known) for service in params["services"]}
    module.exit_json(changed=False, services=found, secrets=kept)


if __name__ == "__main__":
    main()
