"""Whether a system that was just started is as good as the one before it: checks and baseline."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import menu

Json = dict[str, Any]
LOGIN_UNITS = ("ssh.service", "sshd.service", "ssh.socket", "sshd.socket")


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def default_route() -> bool:
    """A way out over IPv4 or IPv6, and its interface up."""
    rows = [line.split() for line in _text("/proc/net/route").splitlines()[1:]]
    if any(len(row) > 7 and row[1] == row[7] == "00000000" and int(row[3], 16) & 1 for row in rows):
        return True
    return any(
        row[0] == "0" * 32 and row[1] == "00" and row[9] != "lo"
        for row in (line.split() for line in _text("/proc/net/ipv6_route").splitlines())
        if len(row) > 9
    )


def active(unit: str) -> bool:
    """Whether systemd has started a unit."""
    done = subprocess.run(["systemctl", "is-active", "--quiet", unit], timeout=30, check=False)
    return done.returncode == 0


def baseline() -> Json:
    """What is there now and has to be there after the change, too."""
    return {
        "route": default_route(),
        "login": [unit for unit in LOGIN_UNITS if active(unit)],
    }


def wrong_system(expected: Json) -> list[str]:
    """What no waiting can mend: another kernel, or other arguments."""
    found = []
    release = _text("/proc/sys/kernel/osrelease").strip()
    if release != expected["release"]:
        found.append(f"kernel {release} runs, {expected['release']} was to be tried")
    words = menu.split(_text("/proc/cmdline"))
    for argument in expected["arguments"]:
        has = [word for word in words if menu.key(word) == menu.key(argument)]
        if has != [argument]:
            found.append(f"the command line has {' '.join(has) or 'nothing'} for {argument}")
    return found


def failing(expected: Json) -> list[str]:
    """What is not there yet; a system that is still starting may get there."""
    found = []
    if expected["route"] and not default_route():
        found.append("there is no default route")
    units = expected["login"]
    if units and not any(active(unit) for unit in units):
        found.append(f"{' and '.join(units)} is not active")
    for slot in expected["gpus"]:
        driver = Path(f"/sys/bus/pci/devices/{slot}/driver")
        if not driver.exists() or driver.resolve().name != "amdgpu":
            found.append(f"amdgpu does not drive the GPU at {slot}")
    if expected["gpus"] and not Path("/dev/kfd").exists():
        found.append("/dev/kfd is missing")
    return found
