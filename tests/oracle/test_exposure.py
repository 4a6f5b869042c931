"""What stroke's service may do, beside what the requirement documents' `docker run` lines may.

Each line runs under systemd on the same host with the same image, as people run it. All figures
are what the kernel says of the processes (/proc) and what systemd says of the unit.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.containers import ROOT, Container

pytestmark = pytest.mark.container

Json = dict[str, Any]
LINES = yaml.safe_load((ROOT / "tests/oracle/lines.yml").read_text(encoding="utf-8"))["lines"]
BOUND = yaml.safe_load((ROOT / "roles/host_verify/defaults/main.yml").read_text(encoding="utf-8"))[
    "host_verify_exposure"
]
HELPERS = ROOT / "roles/host_verify/module_utils/service_host"
UNIT = """[Unit]
Description=As the requirement documents have it
[Service]
ExecStart=/usr/bin/podman run --rm --name {name} --replace {options} {image} {arguments}
"""
# Nodes of a GPU, so that there is something to hand over: no driver is behind them.
NODES = """set -eu
mkdir -p /dev/dri
[ -e /dev/kfd ] || mknod -m 0660 /dev/kfd c 511 0
[ -e /dev/dri/renderD128 ] || mknod -m 0660 /dev/dri/renderD128 c 226 128
[ -e /dev/dri/card0 ] || mknod -m 0660 /dev/dri/card0 c 226 0
"""
PROBE = """cd /srv && exec python3 -c '
import json, sys
from service_host import network, process
pid, port = int(sys.argv[1]), int(sys.argv[2])
print(json.dumps({**process.view(pid), "listening": network.listening(port)}))' "$1" "$2"
"""


def inspected(host: Container, name: str) -> Json:
    text = host.sh('podman container inspect "$1"', name, check=False) or "[]"
    found: list[Json] = json.loads(text)
    return found[0] if found else {}


def seen(host: Container, name: str, unit: str, port: int) -> Json:
    """Everything that is compared, of one running container and its unit."""
    pid = inspected(host, name)["State"]["Pid"]
    view: Json = json.loads(host.sh(PROBE, str(pid), str(port)))
    text = host.sh('systemd-analyze --no-pager security "$1"', unit)
    view["exposure"] = float(text.rsplit(": ", 1)[1].split()[0])
    return view


@pytest.fixture(scope="module")
def views(host: Container, request: pytest.FixtureRequest) -> dict[str, Json]:
    """stroke's own service, and each line started as a service of its own."""
    host.sh("mkdir -p /srv/service_host")
    for path in HELPERS.glob("*.py"):
        host.sh(f"cat >/srv/service_host/{path.name} <<'END'\n{path.read_text()}\nEND")
    own = inspected(host, "stroke-inference")
    arguments = shlex.join(own["Config"]["Cmd"])
    found = {"stroke": seen(host, "stroke-inference", "stroke-inference.service", 8000)}
    host.sh(NODES)
    request.addfinalizer(lambda: host.sh("rm -rf /dev/kfd /dev/dri") and None)
    for number, line in enumerate(LINES, 1):
        name, port = f"line-{number}", 18001 if number == 1 else 18002
        text = UNIT.format(name=name, options=shlex.join(line["options"]), image=own["ImageName"],
                           arguments=arguments.replace("--port 8080", f"--port {port}")
                           if number > 1 else arguments)  # fmt: skip
        host.sh(f"cat >/run/systemd/system/{name}.service <<'END'\n{text}END\n"
                f"systemctl daemon-reload && systemctl start {name}.service")  # fmt: skip
        try:
            deadline = time.monotonic() + 120
            while not (inspected(host, name).get("State") or {}).get("Pid"):
                log = host.sh(f"journalctl -u {name} -n 5 --no-pager -o cat", check=False)
                assert time.monotonic() < deadline, log
                time.sleep(1)
            time.sleep(5)  # until it listens
            found[line["name"]] = seen(host, name, f"{name}.service", port)
        finally:
            host.sh(f"systemctl stop {name}.service; podman rm -f --ignore {name}; "
                    f"rm /run/systemd/system/{name}.service; systemctl daemon-reload")  # fmt: skip
    return found


def names(mask: str) -> str:
    """A mask of capabilities: how many, and the figure itself."""
    return f"{int(mask, 16).bit_count()} ({mask.lstrip('0') or '0'})"


ROWS: tuple[tuple[str, Callable[[Json], str]], ...] = (
    ("systemd-analyze security", lambda view: f"{view['exposure']:.1f}"),
    ("effective capabilities", lambda view: names(view["capabilities"]["CapEff"])),
    ("bounding capabilities", lambda view: names(view["capabilities"]["CapBnd"])),
    ("seccomp", lambda view: {0: "none", 2: "filter"}[view["seccomp"]]),
    ("no new privileges", lambda view: "yes" if view["no_new_privileges"] else "no"),
    ("user on the host", lambda view: ", ".join(map(str, view["uids"]))),
    ("device nodes", lambda view: ", ".join(n["path"] for n in view["devices"]) or "none"),
    ("root file system", lambda view: "read-only" if view["root_read_only"] else "writable"),
    ("shared with the host", lambda view: ", ".join(view["shared_namespaces"]) or "nothing"),
    ("listens on", lambda view: ", ".join(view["listening"])),
)


def test_exposure_side_by_side(views: dict[str, Json], capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print("\n\nExposure of the service")
        for title, read in ROWS:
            print(f"  {title}")
            for name, view in views.items():
                print(f"      {name:<34}{read(view)}")
    assert len(views) == 1 + len(LINES)


def test_the_service_of_stroke_may_do_nothing(views: dict[str, Json]) -> None:
    own = views["stroke"]
    assert set(own["capabilities"].values()) == {"0" * 16}
    assert (own["seccomp"], own["no_new_privileges"], own["root_read_only"]) == (2, True, True)
    assert 0 not in own["uids"]
    assert {node["path"] for node in own["devices"]} <= {"/dev/kfd", "/dev/dri/renderD128"}
    assert not {"ipc", "mnt", "net", "pid", "uts"} & set(own["shared_namespaces"])
    assert own["listening"] == ["127.0.0.1"]
    # About the program that starts the container, not about the container: a bound, no comparison.
    # Quadlet's Delegate=yes alone makes it worse than a bare `podman run`.
    assert own["exposure"] <= BOUND


@pytest.mark.parametrize("line", [line["name"] for line in LINES])
def test_each_line_of_the_documents_may_do_more(views: dict[str, Json], line: str) -> None:
    """Were it no more, the hardening would be for nothing, or this test blind."""
    other = views[line]
    assert int(other["capabilities"]["CapEff"], 16) > 0 and other["seccomp"] == 0
    assert 0 in other["uids"] and not other["no_new_privileges"]
    assert "ipc" in other["shared_namespaces"] and not other["root_read_only"]
    there = {node["path"] for node in other["devices"]}
    assert {"/dev/kfd", "/dev/dri/renderD128", "/dev/dri/card0"} <= there
    assert other["listening"] != ["127.0.0.1"]
