"""The machine that stroke runs on as the host: what happens to a run when it has to reboot."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .errors import StrokeError
from .options import PROMPTS, Options
from .report import HostRun, Run

REBOOT = "STK-504"
# What of the environment a run needs to find its things again; all of it paths, no secret.
CARRIED = ("STROKE_CONTENT", "ANSIBLE_CONFIG", "ANSIBLE_ROLES_PATH", "ANSIBLE_VAULT_PASSWORD_FILE",
           "PATH", "HOME", "LANG", "PYTHONPATH")  # fmt: skip
# Root needs no sudo password; the others are known to the user alone.
UNASKED = PROMPTS[0][0]


def check(options: Options, *, local: bool) -> None:
    """Refuse before anything is done what could not go on after the reboot."""
    if not options.after_reboot:
        return
    if not local:
        raise StrokeError(
            "--after-reboot is for this machine: other hosts are waited for",
            code="STK-530",
            hint="leave out HOSTS to provision this machine, or leave out --after-reboot",
        )
    asked = {word for names, _, _ in PROMPTS[1:] for word in names} & {*options.passthrough}
    if options.after_reboot == "continue" and asked:
        raise StrokeError(
            f"nobody is there to answer {sorted(asked)[0]} after the reboot",
            code="STK-530",
            hint="give the password in a file: -- --vault-password-file FILE",
        )


def waits_for_reboot(run: Run) -> bool:
    """Whether all that is left to do on this machine comes after a reboot."""
    hosts = list(run.hosts.values())
    return bool(hosts) and all(_codes(host) == {REBOOT} for host in hosts)


def rebooting(run: Run) -> Run:
    """The run as it stands when the reboot has been asked for: nothing has failed."""
    hosts = {
        name: replace(host, failure=None, problems=(), boot={**host.boot, "outcome": "rebooting"})
        for name, host in run.hosts.items()
    }
    return replace(run, hosts=hosts)


def variables(
    options: Options, environment: Mapping[str, str], command: str = "provision"
) -> dict[str, Any]:
    """Variables of the role resume: what is run after the boot, and how."""
    order = {
        "schema": "stroke/resume/1",
        "mode": options.after_reboot or "ask",
        "words": words(options),
        "again": options.again(command, same=True),
        "directory": os.fspath(Path.cwd()),
        "environment": {name: environment[name] for name in CARRIED if name in environment},
    }
    program = [sys.executable, "-P", os.fspath(Path(__file__).with_name("resume.py"))]
    return {"resume_order": order, "resume_command": program, "resume_reboot": True}


def words(options: Options) -> list[str]:
    """The same command, for root and without a question; it never asks for a second reboot."""
    found = ["provision", "--yes", "--json", "--after-reboot", "ask"]
    for limit in options.limit:
        found += ["--limit", limit]
    for tag in options.tags:
        found += ["--tags", tag]
    for setting in options.extra_vars:
        found += ["-e", _absolute(setting)]
    if options.forks:
        found += ["--forks", str(options.forks)]
    if options.full:
        found.append("--full")
    rest = [word for word in options.passthrough if word not in UNASKED]
    return [*found, "--", *rest] if rest else found


def _absolute(setting: str) -> str:
    if not setting.startswith("@"):
        return setting
    return f"@{os.fspath(Path(setting[1:]).expanduser().absolute())}"


def _codes(host: HostRun) -> set[str]:
    return {problem.code for problem in host.all_problems}
