"""Values and answers that try to be commands: a clear refusal, or a value; nothing is executed.

Each host of the fleet has one hostile setting, so one run tries them all. What would be executed
makes a file: none may be there, on the controller or on a host.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.hosts import TAGS, Fleet

pytestmark = pytest.mark.container
CANARY = Path("/tmp/stroke-canary")
LOOKUP = "{{ lookup('pipe', 'touch /tmp/stroke-canary') }}"
SHELL = "$(touch /tmp/stroke-canary)"
ENDS = "x'; touch /tmp/stroke-canary; '"
BREAKS = 'x" ; touch /tmp/stroke-canary ; "'
LINE = "x\nExecStartPre=/usr/bin/touch /tmp/stroke-canary\n"
SETTINGS: list[dict[str, Any]] = [
    {"inference_server_model": SHELL},
    {"inference_server_model": LINE},
    {"inference_server_image": f"localhost/a:{SHELL}"},
    {"inference_server_image": "--privileged"},
    {"inference_server_extra_args": [LINE]},
    {"inference_server_extra_args": [f"--alias={ENDS}"]},
    {"inference_server_extra_env": {"A": LINE}},
    {"inference_server_name": "../../etc/cron.d/x"},
    {"boot_params_extra_args": [f'a="{SHELL}"']},
    {"boot_params_extra_args": ["a=1\nGRUB_DEFAULT=`touch /tmp/stroke-canary`"]},
    {"boot_params_extra_args": [ENDS]},
    {"model_store_path": f"/srv/{SHELL}"},
    {"gpu_access_user": "-oops"},
    {"gpu_access_user": f"x{SHELL}"},
    {"inference_server_model": "mod\u00e8le\u202e", "gpu_access_users": [BREAKS]},
    {"inference_server_bind": LINE},
]
# Files of a host in which a value could become a command.
READ = r"""
cat /etc/default/grub.d/90-stroke.cfg /etc/modprobe.d/stroke.conf 2>/dev/null
find /etc/cron.d /etc/containers/systemd /etc/systemd/system /etc/stroke -newer /srv/fake \
    -type f -exec cat {} + 2>/dev/null
test ! -e /tmp/stroke-canary || echo CANARY
"""


@pytest.fixture(autouse=True)
def canary() -> None:
    CANARY.unlink(missing_ok=True)


def test_hostile_settings_are_refused_or_written_as_values(hosts: Fleet) -> None:
    hosts.undo()
    names = hosts.names[: len(SETTINGS)]
    before = dict(hosts.more)
    hosts.more.update(zip(names, SETTINGS, strict=True))
    try:
        inventory = str(hosts.inventory(names))
        done = hosts.stroke("provision", inventory, "--yes", "--json", "--tags", TAGS,
                            "--canary", "0", "--wave", "100%", "--forks", "8")  # fmt: skip
    finally:
        hosts.more = before
    report = json.loads(done.stdout)
    assert len(report["hosts"]) == len(names), done.stderr
    for host, setting in zip(report["hosts"], SETTINGS, strict=True):
        codes = [problem["code"] for problem in host["problems"]]
        print(f"{host['name']}: {host['status']} {codes} {str(setting)[:70]}")
        assert host["status"] in ("refused", "done", "not started"), (setting, host["problems"])
        if host["status"] == "refused":
            assert all(re.fullmatch(r"STK-[34]\d\d", code) for code in codes), codes
        written = hosts.hosts[host["name"]].sh(READ)
        assert "CANARY" not in written
        for line in written.splitlines():
            words = line.strip()
            assert not words.startswith(("ExecStartPre=/usr/bin/touch", "GRUB_DEFAULT=")), line
            assert "`" not in words and "$(touch" not in words, line
    assert not CANARY.exists()
    assert "Traceback" not in done.stderr


def test_what_a_host_says_is_never_evaluated(hosts: Fleet) -> None:
    name = hosts.names[0]
    host = hosts.hosts[name]
    held = {"user": LOOKUP, "controller": "\x1b[2Jdesk", "run": LOOKUP, "pid": "1", "machine": "x",
            "boot_id": host.sh("cat /proc/sys/kernel/random/boot_id"), "names": [LOOKUP],
            "renewed": float(host.sh("cut -d' ' -f1 /proc/uptime"))}  # fmt: skip
    host.sh(f"""set -eu
cp /etc/os-release /tmp/os-release.before
rm /etc/os-release; cp /tmp/os-release.before /etc/os-release
cat >>/etc/os-release <<'EOF'
PRETTY_NAME="Debian {LOOKUP}"
EOF
cat >/etc/default/grub.d/99-host.cfg <<'EOF'
GRUB_CMDLINE_LINUX="host={LOOKUP}"
EOF
mkdir -p /var/lib/stroke
cat >/var/lib/stroke/lock <<'EOF'
{json.dumps(held)}
EOF""")
    try:
        inventory = str(hosts.inventory([name]))
        status = hosts.stroke("status", inventory)
        again = hosts.stroke("provision", inventory, "--yes", "--tags", TAGS, "--full",
                             "-e", "host_lock_wait=0")  # fmt: skip
    finally:
        host.sh("mv -f /tmp/os-release.before /etc/os-release; rm -f /var/lib/stroke/lock "
                "/etc/default/grub.d/99-host.cfg")  # fmt: skip
    said = again.stdout + again.stderr
    print(said[-1500:])
    assert "STK-520" in said and "\x1b" not in said + status.stdout
    assert LOOKUP in status.stdout, "shown as it is"
    assert again.returncode == 5
    assert not CANARY.exists() and "CANARY" not in host.sh(READ)


@pytest.mark.parametrize("name", ["-oProxyCommand=touch${IFS}/tmp/stroke-canary", "$(touch x)"])
def test_a_host_name_is_no_option_of_ssh(hosts: Fleet, name: str) -> None:
    path = hosts.state / "named.yml"
    path.write_text(json.dumps({"all": {"hosts": {name: {}, "box1": {"ansible_host": name}}}}))
    done = hosts.stroke("plan", str(path), "--json")
    codes = {p["code"] for host in json.loads(done.stdout)["hosts"] for p in host["problems"]}
    assert (done.returncode, codes) == (2, {"STK-642"}), done.stderr
    assert not CANARY.exists()
