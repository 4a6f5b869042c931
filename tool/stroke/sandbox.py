"""A throw-away virtual machine with everything that stroke needs to be tried on it."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from stroke.accel import Trial, choose_accelerator, processors
from stroke.disk import ESP_TOOLS, base_disk, overlay
from stroke.engine_image import engine_image
from stroke.errors import StrokeError
from stroke.firmware import for_guest, installed
from stroke.guest_login import Login
from stroke.guest_recipe import BOOT_LOADERS, RELEASES, SEED_SERIAL, UEFI, Recipe
from stroke.host_apt import KEYRING, Archive, read_archive
from stroke.machine import Hardware, Process, free_port, spawn
from stroke.nocloud import write_nocloud
from stroke.package_repo import PackageRepository
from stroke.paths import locked, sandbox_home
from stroke.process import require
from stroke.sandbox_inventory import variables, write_inventory
from stroke.sealing import seal
from stroke.seed import write_seed
from stroke.tiny_model import tiny_model

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?\Z")
# All that any step runs, asked for before the first: nobody installs packages one by one.
_TOOLS = (
    *("qemu-system-x86_64", "qemu-img", "qemu-io", "ssh", "ssh-keygen"),
    *("mmdebstrap", "mke2fs", "unshare", "gpg", "gpgconf", "apt-ftparchive", "dpkg-deb"),
)
_BOOT_SECONDS = {"kvm": 120.0, "tcg": 600.0}


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """What a sandbox is made of; two sandboxes of different names live side by side."""

    name: str = "stroke-sandbox"
    release: str = "trixie"
    memory_mib: int = 3072
    cpus: int | None = None  # as many as are sound with the accelerator
    disk_gib: int = 12
    image: Path | None = None
    declared_gpu: str = "gfx1151"
    declared_memory_gib: int = 128
    boot_mib: int | None = None
    accel: str = "auto"
    boot_loader: str = "grub"

    @property
    def uefi(self) -> bool:
        """Whether the guest starts by UEFI: systemd-boot knows nothing else."""
        return self.boot_loader in UEFI

    def check(self) -> None:
        """Refuse what cannot work before anything is built."""
        problem = None
        if not _NAME.match(self.name):
            problem = f"the name {self.name!r} is not a host name (a-z, 0-9 and -, at most 40)"
        elif self.release not in RELEASES:
            problem = f"no release {self.release!r}; there are: {', '.join(RELEASES)}"
        elif self.accel not in ("auto", "kvm", "tcg"):
            problem = f"no accelerator {self.accel!r}; there are: auto, kvm, tcg"
        elif self.image is not None and not self.image.is_file():
            problem = f"the cloud image {self.image} does not exist"
        elif self.disk_gib < 3 or self.memory_mib < 512 or self.cpus == 0:
            problem = "a guest needs at least 3 GiB of disk, 512 MiB of memory and one processor"
        elif self.boot_mib is not None and self.boot_mib < 72:
            problem = "a separate /boot below 72 MiB does not hold the first kernel"
        elif self.boot_loader not in BOOT_LOADERS:
            problem = f"no boot loader {self.boot_loader!r}; there are: {', '.join(BOOT_LOADERS)}"
        elif self.uefi and (self.image is not None or self.boot_mib is not None):
            problem = f"{self.boot_loader} comes with a disk of its own, without a separate /boot"
        if problem:
            raise StrokeError(problem, code="STK-704", hint="see `stroke sandbox up --help`")


@dataclass(frozen=True, slots=True)
class Status:
    """What there is of a sandbox right now."""

    name: str
    state: str  # "running", "stopped" or "none"
    inventory: Path | None = None
    port: int | None = None
    accel: str | None = None
    release: str | None = None


class Sandbox:
    """One named sandbox; its state directory is the only memory between two runs of stroke."""

    def __init__(
        self,
        options: SandboxOptions | None = None,
        progress: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.options = options or SandboxOptions()
        self._progress = progress
        self.directory = sandbox_home() / self.options.name
        self._repository = PackageRepository(self.directory / "repository")

    @property
    def console(self) -> Path:
        """What the guest says on its serial line."""
        return self.directory / "console.log"

    @property
    def inventory(self) -> Path:
        """The inventory that `up` writes."""
        return self.directory / "hosts.yml"

    @cached_property
    def _archive(self) -> Archive:
        return read_archive()

    def up(self) -> Path:
        """Build what is missing, boot the guest, wait for its login, write the inventory."""
        self.options.check()
        with locked(self.directory.with_suffix(".lock")):
            before = self.status()
            if before.state == "running" and before.inventory:
                raise StrokeError(
                    f"the sandbox {self.options.name} is up already (inventory {before.inventory})",
                    code="STK-703",
                    hint="stroke sandbox down, or give the new one another --name",
                )
            require([*_TOOLS, *(ESP_TOOLS if self.options.uefi else ())], files=[Path(KEYRING)])
            if self.options.uefi:
                installed()  # stops here where it is not
            self._stop()  # what an `up` that was killed half-way has left
            try:
                return self._up()
            except BaseException:
                self._stop()  # the state stays: the console log says why
                raise

    def down(self) -> None:
        """End what `up` started and delete what it made; the cache stays."""
        lock = self.directory.with_suffix(".lock")
        if not self.directory.exists():
            lock.unlink(missing_ok=True)
            raise StrokeError(f"there is no sandbox {self.options.name}", code="STK-703",
                              hint="stroke sandbox up")  # fmt: skip
        with locked(lock):
            self._stop()
            shutil.rmtree(self.directory)
            lock.unlink()
        for parent in (sandbox_home(), sandbox_home().parent):
            with contextlib.suppress(OSError):
                parent.rmdir()  # only if nothing else is in it
        self._progress(f"The sandbox {self.options.name} is gone; the cache stays for the next one")

    def ssh(self, args: list[str]) -> int:
        """A shell in the guest, or one command; the exit code is ssh's own."""
        if self.status().state != "running":
            raise StrokeError(f"the sandbox {self.options.name} is not up", code="STK-703",
                              hint="stroke sandbox up")  # fmt: skip
        return self.login().call(args)

    def login(self) -> Login:
        """The login of the guest, for code that talks to it."""
        return Login(self.directory, int(self._load().get("port", 0)))

    def status(self) -> Status:
        """What there is, looked at and not remembered."""
        data = self._load()
        if not data:
            return Status(self.options.name, "stopped" if self.directory.exists() else "none")
        process = Process.load(self.directory / "qemu.json")
        running = process is not None and process.alive
        return Status(
            name=self.options.name,
            state="running" if running else "stopped",
            inventory=self.inventory if running and self.inventory.exists() else None,
            port=data["port"],
            accel=data["accel"],
            release=data["release"],
        )

    def _up(self) -> Path:
        options = self.options
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True, mode=0o700)
        base, trial = self._base()
        accel = choose_accelerator(options.accel, trial, self._progress)
        login = Login(self.directory, free_port())
        login.create(options.name)
        hardware = Hardware(
            accel=accel,
            memory_mib=options.memory_mib,
            cpus=options.cpus or processors(accel),
            disk=self._disk(base),
            seed=self._seed(login),
            seed_serial=SEED_SERIAL,
            ssh_port=login.port,
            console=self.console,
            firmware=for_guest(self.directory) if options.uefi else None,
        )
        self._save(port=login.port, accel=accel, release=options.release)
        log = self.directory / "qemu.log"
        with self._timed(f"Booting {options.name}", f"{options.name} gives a login"):
            process = spawn(hardware.arguments(), log)
            process.save(self.directory / "qemu.json")
            # Everything else is made while the guest boots.
            self._repository.build()
            self._repository.serve()
            engine, model = engine_image(self._archive, self._progress), tiny_model()
            login.wait(process, self.console, log, _BOOT_SECONDS[accel])
            if options.image is not None:
                login.wait_for_cloud_init(_BOOT_SECONDS[accel])
        values = variables(options, login, self._repository, engine, model)
        write_inventory(self.inventory, options.name, values)
        return self.inventory

    def _disk(self, base: Path) -> Path:
        disk = self.directory / "disk.qcow2"
        ours = self.options.image is None
        options = self.options
        overlay(base, disk, options.disk_gib, options.boot_mib, ours=ours, esp=options.uefi)
        return disk

    def _seed(self, login: Login) -> Path:
        seed = self.directory / "seed.img"
        write = write_seed if self.options.image is None else write_nocloud
        write(seed, hostname=self.options.name, host_key=login.host_key,
              authorized_key=login.authorized_key)  # fmt: skip
        return seed

    def _base(self) -> tuple[Path, Trial]:
        options = self.options
        if options.image is not None:
            return options.image, Trial.of_image(options.image)
        recipe = Recipe(
            options.release, self._archive, options.boot_mib, boot_loader=options.boot_loader
        )
        disk = base_disk(recipe, self._progress, partial(seal, accel=options.accel))
        return disk.image, disk.trial

    def _stop(self) -> None:
        if process := Process.load(self.directory / "qemu.json"):
            process.stop()
        self._repository.stop()

    def _save(self, **data: Any) -> None:
        (self.directory / "sandbox.json").write_text(json.dumps(data) + "\n", encoding="utf-8")

    def _load(self) -> dict[str, Any]:
        try:
            data = json.loads((self.directory / "sandbox.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}

    @contextmanager
    def _timed(self, doing: str, done: str) -> Iterator[None]:
        self._progress(doing)
        started = time.monotonic()
        yield
        self._progress(f"{done} ({time.monotonic() - started:.0f} s)")
