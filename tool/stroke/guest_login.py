"""How to get into a guest: its own key, its own known_hosts, nothing of the user's."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from stroke.errors import StrokeError
from stroke.guest_recipe import ADMIN
from stroke.machine import Process, tail
from stroke.process import run, search_path


@dataclass(frozen=True, slots=True)
class Login:
    """The login of one guest, kept in its state directory."""

    directory: Path
    port: int

    @property
    def private_key(self) -> Path:
        """The key of the administrator."""
        return self.directory / "id_ed25519"

    @property
    def host_key(self) -> Path:
        """The key that the guest itself is given."""
        return self.directory / "host_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The one host key that this login accepts."""
        return self.directory / "known_hosts"

    def create(self, comment: str) -> None:
        """Make both key pairs, so that the first connection is checked as strictly as the last."""
        for key in (self.private_key, self.host_key):
            if not key.exists():
                run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", key])
        public = " ".join(self.host_key.with_suffix(".pub").read_text().split()[:2])
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {public}\n", encoding="utf-8")

    @property
    def authorized_key(self) -> str:
        """The line for the guest's authorized_keys."""
        return self.private_key.with_suffix(".pub").read_text(encoding="utf-8").strip()

    @property
    def options(self) -> list[str]:
        """ssh options that keep the user's own configuration and keys out."""
        return [
            *("-F", "none", "-o", "IdentitiesOnly=yes"),
            *("-o", f"UserKnownHostsFile={_quoted(self.known_hosts)}"),
            *("-o", "GlobalKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=yes"),
        ]

    def command(self, *remote: str, batch: bool = True) -> list[str]:
        """The whole ssh command line."""
        return [
            *("ssh", *self.options, "-o", "LogLevel=ERROR", "-i", os.fspath(self.private_key)),
            *("-o", "ConnectTimeout=30", *(("-o", "BatchMode=yes") if batch else ())),
            *("-p", str(self.port), f"{ADMIN}@127.0.0.1", *remote),
        ]

    def call(self, arguments: list[str]) -> int:
        """Run ssh on the user's terminal and give its exit code."""
        command = self.command(*arguments, batch=False)
        return subprocess.run(
            command, check=False, env={**os.environ, "PATH": search_path()}
        ).returncode

    def wait(self, process: Process, console: Path, log: Path, seconds: float) -> None:
        """Wait until a login works; the guest's last words are in the error when it never does."""
        deadline = time.monotonic() + seconds
        said = ""
        while time.monotonic() < deadline:
            if not process.alive:
                raise StrokeError(f"the virtual machine ended while booting: {tail(log)}",
                                  code="STK-702", hint=f"read {console}")  # fmt: skip
            result = run(self.command("true"), check=False)
            if result.returncode == 0:
                return
            said = result.stderr.strip().splitlines()[-1] if result.stderr.strip() else ""
            time.sleep(0.5)
        raise StrokeError(
            f"the guest gave no login within {seconds:.0f} s ({said}); its console ends with:\n"
            f"{tail(console)}",
            code="STK-702",
            hint=f"read {console}, then `stroke sandbox down`",
        )

    def wait_for_cloud_init(self, seconds: float) -> None:
        """Wait until a cloud image has finished with itself, package locks included."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            run(self.command("cloud-init status --wait"), check=False, timeout=seconds)


def _quoted(path: Path) -> str:
    # ssh splits this option at spaces.
    return f'"{path}"' if " " in os.fspath(path) else os.fspath(path)
