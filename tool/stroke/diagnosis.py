"""Turn ansible's own failure messages into problems with a code and the command that helps.

The patterns are matched against messages collected from real runs (tests/unit/data/messages.json).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import Problem, StrokeError


@dataclass(frozen=True, slots=True)
class Rule:
    """What a message means; `{host}`, `{user}` and named groups may be used in the texts."""

    code: str
    pattern: re.Pattern[str]
    what: str
    hint: str


def _rule(code: str, pattern: str, what: str, hint: str) -> Rule:
    return Rule(code, re.compile(pattern, re.IGNORECASE | re.DOTALL), what, hint)


RULES = (
    _rule(
        "STK-203",
        r"remote host identification has changed",
        "the host key of {host} differs from the one in known_hosts",
        "if the host was installed anew, remove the old key: ssh-keygen -R {address}",
    ),
    _rule(
        "STK-203",
        r"host key verification failed|using a ssh password instead of a key is not possible",
        "the host key of {host} is not in known_hosts",
        "log in once and compare the fingerprint: ssh {address}",
    ),
    _rule(
        "STK-202",
        r"permission denied \((?P<methods>[^)]*)\)|too many authentication failures"
        r"|invalid/incorrect password|authentication fail",
        "{host} refused the login",
        "check user and key with: ssh {address} true   (a key with a passphrase: ssh-add first)",
    ),
    _rule(
        "STK-204",
        r"incorrect sudo password|duplicate become password prompt",
        "sudo on {host} did not accept the password",
        "it is the password of the login user on the host; run again and type it once more",
    ),
    _rule(
        "STK-204",
        r"missing sudo password|a password is required"
        r"|timeout \(\d+s\) waiting for privilege escalation",
        "sudo on {host} needs a password",
        "run again with --ask-become-pass (-K)",
    ),
    _rule(
        "STK-204",
        r"is not in the sudoers file|is not allowed to (run sudo|execute)"
        r"|sudo: (command )?not found|sudo: no such file",
        "the login user of {host} may not become root",
        "allow it in sudoers, or log in as root: -e ansible_user=root",
    ),
    _rule(
        "STK-205",
        r"module interpreter '(?P<python>[^']+)' was not found"
        r"|no python interpreters found|python[\d.]*: (command )?(not found|no such file)",
        "{host} has no Python that Ansible can use",
        "install python3 there, or set ansible_python_interpreter in the inventory",
    ),
    _rule(
        "STK-803",
        r"could not find job",  # of async_status; its record was in memory
        "{host} was started again in the middle of this step",
        "run the same command again: it goes on from what is there",
    ),
    _rule(
        "STK-503",
        r"timed out waiting for (last boot time check|post-reboot test command)",
        "{host} did not come back after the reboot: {message}",
        "look at its console; when it is up, run the same command again",
    ),
    _rule(
        "STK-201",
        r"could not resolve hostname (?P<name>\S+)",
        "the name of {host} does not resolve",
        "check the name in the inventory, or set ansible_host to an address",
    ),
    _rule(
        "STK-201",
        r"connection refused",
        "{host} refused the connection: no SSH server on that port",
        "check ansible_port, and that sshd runs on the host",
    ),
    _rule(
        "STK-201",
        r"timed out|no route to host|network is unreachable|connection (closed|reset)"
        r"|failed to connect to the host|data could not be sent|unreachable",
        "{host} cannot be reached: {message}",
        "check that it is up and that this works: ssh {address} true",
    ),
)

_NOISE = re.compile(
    r"^(Task failed|Action failed|Module failed|Failed to connect to the host via ssh): ?"
)
_CHANGED_KEY = re.compile(r"Host key for (\S+) has changed")
_LOGIN = re.compile(r"(\S+@[^\s:]+): Permission denied")
_SPEC = re.compile(r"validation of arguments failed", re.IGNORECASE)
_UNKNOWN = re.compile(r"(supported parameters include|unsupported parameters)", re.IGNORECASE)


def explain(
    host: str, result: Mapping[str, Any], *, task: str = "", unreachable: bool = False
) -> Problem:
    """Say what a failed or unreachable task means."""
    message = message_of(result)
    problem = Problem.parse(message)
    if problem:
        return problem
    errors = result.get("argument_errors")
    if errors or _SPEC.search(message):
        text = "; ".join(str(e) for e in errors) if isinstance(errors, list) else message
        code = "STK-301" if _UNKNOWN.search(text) else "STK-302"
        return Problem(code, text, "correct the variable in the inventory or after -e")
    evidence = "\n".join(str(result.get(k, "")) for k in ("msg", "module_stderr", "stderr"))
    for rule in RULES:
        if rule.code in ("STK-201", "STK-202") and not unreachable:
            continue  # a task may fail with such words for reasons of its own
        if rule.pattern.search(evidence):
            words = {"host": host, "address": _address(host, evidence)}
            words["message"] = _first_line(message)
            return Problem(rule.code, rule.what.format(**words), rule.hint.format(**words))
    if unreachable:
        return Problem("STK-201", f"{host} cannot be reached: {_first_line(message)}", "")
    what = f"“{task}” failed: {message}" if task else message
    return Problem("STK-801", what, "")


def message_of(result: Mapping[str, Any]) -> str:
    """Return the one message that says why a task failed."""
    if "censored" in result:
        return "the output is hidden because it may hold a secret (no_log)"
    items = result.get("results")
    if isinstance(items, list):
        for item in items:
            if isinstance(item, dict) and (item.get("failed") or item.get("unreachable")):
                return message_of(item)
    message = str(result.get("msg") or "")
    stripped = None
    while stripped != message:
        stripped, message = message, _NOISE.sub("", message)
    if message in ("", "non-zero return code") or message.lower().startswith("module "):
        detail = str(result.get("stderr") or result.get("module_stderr") or "").strip()
        detail = detail or str(result.get("stdout") or "").strip()
        tail = "\n".join(detail.splitlines()[-5:])
        message = f"{message}: {tail}" if message and tail else message or tail
        if "rc" in result and not tail:
            message = f"exit code {result['rc']}"
    return message or "no message"


def _address(host: str, evidence: str) -> str:
    """Return what to type after `ssh`; the message knows it where the inventory renames hosts."""
    for pattern in (_CHANGED_KEY, _LOGIN):
        if found := pattern.search(evidence):
            return shlex.quote(found[1])
    return host


def _first_line(message: str) -> str:
    lines = [line for line in message.splitlines() if line.strip()]
    return lines[0].strip() if lines else ""


def playbook_error(output: Sequence[str], rc: int) -> StrokeError:
    """Say why ansible-playbook ended without a failed host, from what it printed."""
    text = "\n".join(line for line in output if line)
    usage = re.search(r"ansible-playbook: error: (?P<what>.+)", text)
    if usage:
        return StrokeError(
            f"ansible-playbook does not accept this: {usage['what']}",
            code="STK-106",
            hint="see ansible-playbook --help for what may follow --",
        )
    errors = re.findall(r"\[ERROR\]: (.+?)(?=\n\[|\Z)", text, re.DOTALL)
    what = errors[-1].strip() if errors else text[-2000:].strip()
    return StrokeError(
        what or f"ansible-playbook ended with exit code {rc} and no message",
        code="STK-802",
        hint="run again with --debug to see all that ansible says",
    )
