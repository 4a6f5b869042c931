"""What stroke-resume.service runs after a boot: go on with a run, tell how it ended, and be gone.

Started as a file, not as a module: it needs the standard library alone, so that it can tell even
when the installation of stroke is broken.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

UNIT = "stroke-resume.service"
# A power cut ends the run, and the next boot begins it anew; what never ends is no run.
ATTEMPTS = 3
FORGET = "7d"
SHOWN = 4
Json = dict[str, Any]


class Resume:
    """One continuation, below a root directory of its own in tests."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.state = root / "var/lib/stroke/resume"
        self.unit = root / "etc/systemd/system" / UNIT
        self.motd = root / "run/motd.d/50-stroke"
        self.guard = root / "var/lib/stroke/boot_guard/state.json"

    def run(self) -> int:
        """Go on, tell the outcome, clean up; whatever happens, the machine tells something."""
        order = _json(self.state / "order.json")
        code = 1
        try:
            text, code = self._outcome(order)
        except Exception as error:  # the message is all that a user will see of it
            text = f"the run could not go on after the reboot: {error}"
        again = str(order.get("again") or "stroke provision")
        lines = [f"stroke, {time.strftime('%Y-%m-%d %H:%M')}: {text}"]
        lines += [f"  to go on: {again}", f"  log: journalctl --unit={UNIT}"] if code else []
        self.tell("\n".join(lines))
        self.clean()
        return code

    def _outcome(self, order: Json) -> tuple[str, int]:
        """A sentence, and 0 where nothing is left to do."""
        if not order.get("words"):
            return f"{self.state}/order.json cannot be read", 1
        attempt = self._attempt()
        guard = _json(self.guard)
        if guard.get("phase") in ("reverted", "reverting"):
            # Another try would need another reboot, which nobody asked for.
            why = guard.get("why") or "it gave no reason"
            return f"the new system did not prove itself ({why}); the old one is back", 1
        if order.get("mode") != "continue":
            return "the reboot is done, and the run is not finished", 1
        if attempt > ATTEMPTS:
            return f"the run was cut off {ATTEMPTS} times, and is not tried again", 1
        return self._provision(order)

    def _attempt(self) -> int:
        """Count this boot before anything is done in it."""
        file = self.state / "attempts"
        # What a power cut has left of the file is no number.
        before = file.read_text(encoding="utf-8", errors="replace") if file.exists() else "0"
        attempt = (int(before) if before.isascii() and before.isdigit() else 1) + 1
        file.write_text(str(attempt))
        return attempt

    def _provision(self, order: Json) -> tuple[str, int]:
        """Write nothing to the home of whoever began the run: files of root would stay there."""
        environment = {str(k): str(v) for k, v in (order.get("environment") or {}).items()}
        environment |= {
            "PYTHONDONTWRITEBYTECODE": "1",
            "ANSIBLE_HOME": os.fspath(self.state / "ansible"),
            "ANSIBLE_REMOTE_TMP": os.fspath(self.state / "ansible/remote"),
            "XDG_STATE_HOME": os.fspath(self.state / "state"),
            "XDG_CACHE_HOME": os.fspath(self.state / "cache"),
            "NO_COLOR": "1",
        }
        done = subprocess.run(
            [sys.executable, "-P", "-m", "stroke", *map(str, order["words"])],
            cwd=order.get("directory") or "/", env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        return sentence(done.stdout, done.returncode), done.returncode

    def tell(self, text: str) -> None:
        """Show a text at every login until the next boot, or until it is old."""
        print(text, flush=True)
        self.motd.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        self.motd.write_text(f"{text}\n", encoding="utf-8")
        self.motd.chmod(0o644)
        _systemd("systemd-run", "--quiet", "--collect", f"--on-active={FORGET}",
                 "--unit=stroke-resume-forget", "rm", "-f", os.fspath(self.motd))  # fmt: skip

    def clean(self) -> None:
        """Take away the unit and all that it had; the next boot is an ordinary one."""
        _systemd("systemctl", "disable", "--quiet", UNIT)
        self.unit.unlink(missing_ok=True)
        shutil.rmtree(self.state, ignore_errors=True)
        _systemd("systemctl", "daemon-reload")


def sentence(stdout: str, code: int) -> str:
    """What the report of the run says, in one line or a few."""
    try:
        report = json.loads(stdout)
        hosts = report["hosts"]
    except (ValueError, KeyError, TypeError):
        return f"the run ended with exit code {code} and without a report"
    problems = [*report.get("problems", ()), *(p for h in hosts for p in h.get("problems", ()))]
    if code == 0:
        serving = [f"{h['endpoint']['model']} answers on {h['endpoint']['url']}"
                   for h in hosts if (h.get("endpoint") or {}).get("url")]  # fmt: skip
        return f"this machine is provisioned. {'; '.join(serving)}".strip()
    told = [f"  {p['code']}: {p['what']}" for p in problems[:SHOWN]]
    return "\n".join([f"the run after the reboot ended with {report['status']}", *told])


def _json(path: Path) -> Json:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _systemd(*words: str) -> None:
    """Ask systemd; what it says is in the journal, and stops nothing here."""
    program = shutil.which(words[0])
    if program:
        subprocess.run([program, *words[1:]], check=False, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    raise SystemExit(Resume().run())
