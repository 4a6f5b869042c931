"""`stroke provision` inside of a machine that stops and starts: a container with systemd.

Real here: systemd's stop and start, the unit, the message at a login, what is cleaned up. Played:
the kernel and its command line, which a container does not have of its own; tests/vm has those.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests import runtime_packages
from tests.containers import (
    KERNEL,
    LAYOUT,
    ROOT,
    Container,
    _podman,
    _settings,
    _wait_for_systemd,
    container,
)

pytestmark = pytest.mark.container
NAME = "stroke-this-machine"
MOTD = "/run/motd.d/50-stroke"
HOME = "/home/admin"
STROKE = f"cd {HOME} && /usr/local/bin/stroke"
# What the boot loader and the kernel would do at each boot, before any unit of ours starts.
PLAYED = """[Unit]
Description=the kernel of this test
Before=basic.target
DefaultDependencies=no
After=local-fs.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh /srv/boot.sh
[Install]
WantedBy=basic.target
"""
MIRROR = """[Service]
ExecStart=/usr/bin/python3 -m http.server 8099 --bind=127.0.0.1 --directory=/srv/rocm
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    with container(NAME, tmp_path_factory.mktemp("this-machine")) as made:
        install(made)
        yield made


def install(made: Container) -> None:
    """Stroke as this checkout has it, what it is to serve, and a kernel that is played."""
    made.sh("mkdir -p /opt/stroke/site /opt/artifacts")
    for part in ("tool", "roles", "playbooks", "site.yml"):
        _podman("cp", f"{ROOT}/{part}", f"{NAME}:/opt/stroke/{part}")
    version = made.sh("python3 -c 'import sys; print(*sys.version_info[:2], sep=\".\")'")
    runtime_packages.install(made.state / "site", version)
    _podman("cp", f"{made.state}/site/.", f"{NAME}:/opt/stroke/site")
    for name, text in runtime_packages.programs().items():
        put(made, f"/usr/local/bin/{name}", text)
        made.sh(f"chmod 0755 /usr/local/bin/{name}")
    _podman("cp", f"{made.state}/artifacts/.", f"{NAME}:/opt/artifacts")
    made_here = _settings(made.state / "artifacts")
    settings = json.dumps(made_here)
    for path in (made_here["inference_server_image_archive"],
                 *(model["source"] for model in made_here["model_store_models"])):  # fmt: skip
        _podman("cp", path, f"{NAME}:/opt/artifacts/")
        settings = settings.replace(path, f"/opt/artifacts/{Path(path).name}")
    made.sh("chmod -R a+rX /opt/artifacts")
    settings = settings.replace(os.fspath(made.state / "artifacts"), "/opt/artifacts")
    put(made, f"{HOME}/vars.yml", yaml.safe_dump(json.loads(settings)))
    plan = asked(made, f"{STROKE} plan -e @vars.yml --json")
    assert plan.returncode == 0, plan.stdout + plan.stderr
    profile = json.loads(plan.stdout)["hosts"][0]["profile"]
    put(made, "/srv/boot.sh", boot_script(profile["boot"]["args"]))
    put(made, "/etc/systemd/system/played.service", PLAYED)
    put(made, "/etc/systemd/system/mirror.service", MIRROR)
    made.sh("systemctl enable --quiet played.service mirror.service")


def put(made: Container, path: str, text: str) -> None:
    subprocess.run(["podman", "exec", "--interactive", made.name, "tee", path], input=text,
                   capture_output=True, text=True, check=True)  # fmt: skip


def boot_script(arguments: list[str]) -> str:
    """The second half of LAYOUT, with the arguments that the new boot has."""
    mounts = LAYOUT[LAYOUT.index("printf '{kernel}") :].format(kernel=KERNEL)
    mounts = mounts.replace("ro quiet", f"ro quiet {' '.join(arguments)}")
    lines = ["set -eu", "mkdir -p /srv/fake", mounts]
    for argument in arguments:
        module, dot, rest = argument.partition(".")
        if dot:
            name, _, value = rest.partition("=")
            lines.append(f"echo '{value}' >/sys/module/{module}/parameters/{name}")
    return "\n".join(lines) + "\n"


def asked(made: Container, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script as the administrator, who is not root."""
    return subprocess.run(
        ["podman", "exec", "--user", "admin", "--env", f"HOME={HOME}", made.name,
         "sh", "-c", script],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def running(made: Container) -> bool:
    return _podman("inspect", "--format", "{{.State.Running}}", made.name) == "true"


def wait_for_end(made: Container, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while running(made):
        assert time.monotonic() < deadline, f"the machine did not go down in {seconds:.0f} s"
        time.sleep(1)


def wait_for(made: Container, question: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not made.sh(question, check=False):
        if time.monotonic() > deadline:
            raise AssertionError(made.sh("journalctl --no-pager -n 200", check=False))
        time.sleep(2)


def test_the_run_goes_on_after_the_start_and_leaves_a_message(machine: Container) -> None:
    done = asked(machine, f"{STROKE} provision --yes --after-reboot continue -e @vars.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "reboots in a few seconds" in done.stderr and "as root" in done.stderr
    assert machine.sh("stat -c '%a %U' /var/lib/stroke/resume") == "700 root"
    wait_for_end(machine, 90)
    _podman("start", machine.name)
    _wait_for_systemd(machine.name)
    wait_for(machine, f"cat {MOTD} 2>/dev/null", 600)
    told = machine.sh(f"cat {MOTD}")
    assert "this machine is provisioned" in told, machine.sh("journalctl -u stroke-resume")
    assert "answers on http://127.0.0.1:8000" in told


def test_it_has_cleaned_up_after_itself(machine: Container) -> None:
    wait_for(machine, "test -e /var/lib/stroke/resume || echo gone", 30)
    assert machine.sh("find /etc/systemd /var/lib/stroke -name '*resume*'") == ""
    assert machine.sh(f"find {HOME} -user root ! -name vars.yml") == "", "in the user's home"
    assert machine.sh("systemctl is-active stroke-inference.service") == "active"


def test_a_login_shows_the_outcome(machine: Container) -> None:
    machine.address = _podman("inspect", "--format", "{{.NetworkSettings.IPAddress}}", NAME)
    inventory = yaml.safe_load(machine.write_inventory({}).read_text(encoding="utf-8"))
    words = str(inventory["all"]["vars"]["ansible_ssh_common_args"]).split()
    done = subprocess.run(
        ["ssh", "-tt", "-p", "2200", "-i", machine.state / "key", *words,
         f"admin@{machine.address}"],
        input="exit\n", capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert "this machine is provisioned" in done.stdout, done.stdout + done.stderr


def test_another_run_finds_nothing_to_do(machine: Container) -> None:
    done = asked(machine, f"{STROKE} provision --yes -e @vars.yml --json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["hosts"][0]["changes"] == []


def test_remove_takes_the_message_away(machine: Container) -> None:
    done = asked(machine, f"{STROKE} remove --yes -e @vars.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert machine.sh(f"ls {MOTD} 2>/dev/null", check=False) == ""
