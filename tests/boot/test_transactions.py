"""The boot transaction from end to end on a host whose loader and kernel are played.

Ansible, the guard's unit, its health checks, deadlines and reboots are real: see machine.py.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.boot.machine import NEW, OLD, Machine, machine
from tests.containers import ROOT

pytestmark = pytest.mark.container
LEFT = r"""
find / -xdev \( -path /proc -o -path /srv \) -prune \
    -o \( -name '*stroke*' -o -name custom.cfg \) -print
"""
# A container starts in seconds: so do the deadlines.
QUICK = {"boot_guard_health_timeout": 30, "boot_guard_deadline": 60}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine("stroke-boot-faults", tmp_path_factory.mktemp("boot") / "state") as made:
        yield made


@pytest.fixture(autouse=True)
def begin(host: Machine) -> None:
    host.forget()


def extra(**values: object) -> tuple[str, str]:
    """Variables for play.yml; deadlines count from the start of the machine below, which played
    kernels share, so they are added to its age."""
    age = int(time.monotonic())
    quick = {key: value + age for key, value in QUICK.items()}
    return ("--extra-vars", json.dumps({**quick, **values}))


def test_check_mode_says_what_it_would_do_and_does_nothing(host: Machine) -> None:
    before = host.sh(LEFT)
    said = host.play(*extra(), "--check")
    assert said.startswith("exit 0"), said
    assert host.sh(LEFT) == before
    assert host.starts() == []


@pytest.mark.parametrize(
    ("fault", "why"), [("panic", "ended before its guard began"), ("network", "default route")]
)
def test_a_bad_system_is_left_and_the_run_says_why(host: Machine, fault: str, why: str) -> None:
    said = host.play(*extra(trial=[f"fault={fault}"]))
    assert said.startswith("exit 2"), said
    assert "STK-510" in said
    assert why in said
    assert host.starts() == ["stroke-trial", "stroke-lkg"]
    assert host.running == OLD
    assert "stroke_test=1" not in host.words
    assert host.state["phase"] == "reverted"
    assert why in host.state["why"]
    assert host.sh("ls /etc/default/grub.d/90-stroke.cfg || echo none").endswith("none")


def test_a_gpu_that_amdgpu_does_not_drive_is_a_reason_to_go_back(host: Machine) -> None:
    said = host.play(*extra(boot_guard_gpus=["0000:ff:1f.7"]))
    assert "STK-510" in said
    assert "amdgpu does not drive the GPU at 0000:ff:1f.7" in said
    assert host.starts() == ["stroke-trial", "stroke-lkg"]


def test_power_cut_between_arm_and_reboot(host: Machine) -> None:
    """The next start is the trial; nobody confirms it, and the host goes back by itself."""
    said = host.play(*extra(boot_guard_reboot=False))
    assert "STK-504" in said, said
    assert host.state["phase"] == "armed"
    host.cut()
    assert host.starts() == ["stroke-trial"]
    host.cut()
    assert host.starts() == ["stroke-trial", "stroke-lkg"]
    host.until("grep -q '\"reverted\"' /var/lib/stroke/boot_guard/state.json")
    assert host.running == OLD


def test_power_cut_in_the_trial_before_the_commit(host: Machine) -> None:
    run = subprocess.Popen(host.command(*extra()), cwd=ROOT, env=host.environment, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    host.until("grep -q stroke.trial= /proc/cmdline")
    host.cut()
    said, _ = run.communicate(timeout=600)
    assert run.returncode == 2, said
    assert "STK-510" in said
    assert host.starts() == ["stroke-trial", "stroke-lkg"]


def test_a_controller_that_is_gone_is_not_waited_for(host: Machine) -> None:
    run = subprocess.Popen(host.command(*extra()), cwd=ROOT, env=host.environment,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    host.until("grep -q '\"armed\"' /var/lib/stroke/boot_guard/state.json")
    run.kill()
    run.wait()
    host.until("grep -q 'stroke.lkg=' /proc/cmdline && test \"$(wc -l </srv/fake/console)\" -gt 2")
    host.until("grep -q '\"reverted\"' /var/lib/stroke/boot_guard/state.json")
    assert host.starts() == ["stroke-trial", "stroke-lkg"]
    assert "confirmed it" in host.state["why"]


def test_the_next_run_succeeds_with_one_boot(host: Machine) -> None:
    said = host.play(*extra())
    assert said.startswith("exit 0"), said
    assert host.starts() == ["stroke-trial"]
    assert host.running == NEW
    assert "stroke_test=1" in host.words
    state = host.state
    assert (state["phase"], state["trial"]["release"]) == ("committed", NEW)
    left = [path for path in host.sh(LEFT).splitlines() if "stroke" in path or "custom" in path]
    assert "/boot/grub/custom.cfg" not in left
    assert [path for path in left if "boot-guard" in path or path.startswith("/boot")] == []


def test_the_distributions_own_menu_starts_it_from_then_on(host: Machine) -> None:
    host.cut()
    assert host.starts() == ["entry-0"]
    assert (host.running, "stroke_test=1" in host.words) == (NEW, True)
    said = host.play(*extra())
    assert "changed=0" in said, said


def test_a_loader_that_cannot_write_needs_consent(host: Machine) -> None:
    host.sh("echo lvm >/srv/fake/abstraction")
    words = {"boot_params_args": ["stroke_test=2"], "boot_guard_attended": False}
    said = host.play(*extra(**words))
    assert "STK-420" in said, said
    assert "lvm" in said
    assert host.starts() == []
