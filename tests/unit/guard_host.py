"""A host for the boot guard in a directory: GRUB's side of it, boots, and power cuts."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, TypeVar

import pytest

from tests.boot import grub
from tests.unit.plugins import ROLES

CODE = ROLES / "boot_guard" / "files" / "guard"
OLD, NEW = "6.12.1-amd64", "7.2.1-amd64"
SMALLEST = 4096  # of a kernel, in these tests
STOCK = "root=UUID=abc ro console=ttyS0 audit=0 amd_iommu=on quiet"
ORDER = {
    "release": NEW, "arguments": ["amd_iommu=off", "ttm.pages_limit=5"],
    "managed": ["amd_iommu", "ttm.pages_limit"], "trial_arguments": ["panic=10", "oops=panic"],
    "gpus": [], "health_seconds": 300, "deadline_seconds": 900, "confirm": "controller",
}  # fmt: skip
NAMES = (
    "disk", "efivars", "entries", "family", "menu", "grubcfg", "bls", "sdboot", "passphrase",
    "probe", "health", "state", "strictness", "units", "watch", "guard",
)  # fmt: skip


def modules() -> dict[str, ModuleType]:
    """The script's modules, imported as the script itself does: from its own directory."""
    sys.path.insert(0, os.fspath(CODE))
    sys.dont_write_bytecode = True
    try:
        return {name: __import__(name) for name in NAMES}
    finally:
        sys.path.remove(os.fspath(CODE))
        sys.dont_write_bytecode = False


CODE_OF = modules()
# What systemd was asked for since a test began: reload, stop, reboot.
ASKED: list[str] = []


H = TypeVar("H")


class PowerCut(BaseException):
    """Nothing catches it: nothing runs after it."""


@contextmanager
def power_cut_before(call: int, patch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """End everything before the nth call that changes a file system; lists the calls."""
    calls: list[str] = []

    def guarded(name: str, original: Any) -> Any:
        def wrapper(*words: Any, **more: Any) -> Any:
            calls.append(f"{name} {words[0]}")
            if len(calls) == call:
                raise PowerCut(calls[-1])
            return original(*words, **more)

        return wrapper

    with patch.context() as patched:
        for owner, name in ((os, "replace"), (os, "unlink"), (os, "pwrite"), (os, "write"),
                            (shutil, "rmtree"), (shutil, "copytree")):  # fmt: skip
            patched.setattr(owner, name, guarded(name, getattr(owner, name)))
        yield calls


def cut_off(
    prepare: Callable[[Path], H], step: Callable[[H], object], place: Path,
    patch: pytest.MonkeyPatch, most: int = 400,
) -> Iterator[tuple[int, H]]:  # fmt: skip
    """Hosts on which a step was cut off, before its first write, its second, … and their number.

    Each is prepared anew below `place`; it ends with the write after which the step comes through.
    """
    for call in range(1, most):
        host = prepare(place / str(call))
        with power_cut_before(call, patch):
            try:
                step(host)
            except PowerCut:
                pass
            else:
                return
        yield call, host


class Guarded(Protocol):
    """A played host of any boot loader."""

    @property
    def guard(self) -> Any: ...

    @property
    def state(self) -> dict[str, Any]: ...

    def boot(self) -> str: ...


def surroundings(
    patch: pytest.MonkeyPatch, told: Mapping[str, list[Any]], baseline: dict[str, Any]
) -> None:
    """What the guard would ask of a running system; `failing` and `wrong` are a test's to fill."""
    patch.setattr(CODE_OF["strictness"], "_systemd", lambda *words: "")
    patch.setattr(CODE_OF["health"], "baseline", lambda: dict(baseline))
    patch.setattr(CODE_OF["health"], "failing", lambda expected: list(told["failing"]))
    patch.setattr(CODE_OF["health"], "wrong_system", lambda expected: list(told["wrong"]))
    patch.setattr(CODE_OF["disk"], "settle", lambda path: None)
    patch.setattr(os, "fsync", lambda handle: None)  # slow, and no power is cut in earnest
    for name in ("reload", "stop", "reboot"):
        patch.setattr(CODE_OF["units"], name, partial(ASKED.append, name))
    ASKED.clear()
    patch.setattr(CODE_OF["guard"], "SMALLEST_BYTES", SMALLEST)


def grub_surroundings(
    patch: pytest.MonkeyPatch, told: Mapping[str, list[Any]], baseline: dict[str, Any]
) -> None:
    """The same of a host whose GRUB can write, with nobody to make its menu anew."""
    answers = {"abstraction": "", "fs": "ext2", "fs_uuid": "1234-abcd"}
    patch.setattr(CODE_OF["probe"], "grub_probe", lambda target, path: answers[target])
    patch.setattr(CODE_OF["units"], "make_menu", lambda: None)
    surroundings(patch, told, baseline)


def watch(host: Guarded, seconds: float = 10) -> str:
    """The guard's unit until it has nothing to do, or time is over."""

    class Enough(Exception):
        pass

    def pause(_: float) -> None:
        raise Enough

    try:
        return str(CODE_OF["watch"].watch(host.guard, lambda: seconds, pause))
    except Enough:
        return "waiting"


def hold(host: Guarded) -> None:
    host.guard.hold({})


def booted(host: Guarded) -> None:
    host.boot()
    watch(host)


def confirm(host: Guarded) -> None:
    host.guard.confirm({"transaction": host.state["transaction"]})


class Host:
    """What survives a power cut is the directory; what runs is the command line."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.line = f"BOOT_IMAGE=/boot/vmlinuz-{OLD} {STOCK}"
        self.running = OLD
        for path in ("boot/grub", "run/systemd/system", "etc/systemd/system", "proc/sys/kernel",
                     f"lib/modules/{OLD}"):  # fmt: skip
            (root / path).mkdir(parents=True)
        (root / f"lib/modules/{OLD}/modules.dep").write_text("x\n")
        self.install(OLD)
        self.stock(OLD, STOCK)
        self._proc()

    def install(self, release: str, size: int = 2 * SMALLEST) -> None:
        for name in ("vmlinuz", "initrd.img"):
            with (self.root / "boot" / f"{name}-{release}").open("wb") as handle:
                handle.write(release.encode())
                handle.truncate(size)

    def stock(self, release: str, words: str) -> None:
        """What update-grub writes."""
        (self.root / "boot/grub/grub.cfg").write_text(
            'if [ "${next_entry}" ] ; then\n   set default="${next_entry}"\nelse\n'
            '   set default="0"\nfi\n'
            f"menuentry 'Debian GNU/Linux' --class debian {{\n\tlinux\t/boot/vmlinuz-{release} "
            f"{words}\n\tinitrd\t/boot/initrd.img-{release}\n}}\nsource $prefix/custom.cfg\n"
        )

    def _proc(self) -> None:
        (self.root / "proc/cmdline").write_text(self.line + "\n")
        (self.root / "proc/sys/kernel/osrelease").write_text(self.running + "\n")

    @property
    def guard(self) -> Any:
        return CODE_OF["guard"].Guard(self.places, self.line)

    @property
    def places(self) -> Any:
        return CODE_OF["state"].Places(self.root)

    @property
    def state(self) -> dict[str, Any]:
        return dict(CODE_OF["state"].load(self.places))

    def boot(self, *, grub_can_write: bool = True) -> str:
        """Start what GRUB starts with these files: stock, lkg or trial."""
        name, (kernel, _, words) = grub.start(
            self.root, can_write=grub_can_write, smallest=SMALLEST
        )
        with (grub.top(self.root) / kernel.lstrip("/")).open("rb") as handle:
            self.running = handle.read(64).rstrip(b"\0").decode()
        self.line = f"BOOT_IMAGE={kernel} {words}"
        self._proc()
        return {"stroke-lkg": "lkg", "stroke-trial": "trial"}.get(name, "stock")
