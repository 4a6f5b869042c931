"""What the probe reads of processes, sockets and secrets, on trees and files made by the tests."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import tests.unit.trees  # noqa: F401  # makes the module's helpers importable

import service_probe  # isort: skip
from service_host import network, process, secrets  # isort: skip

STATUS = """Name:\tserver
Uid:\t{uid}\t{uid}\t{uid}\t{uid}
Gid:\t996\t996\t996\t996
Groups:\t992 996
CapInh:\t0000000000000000
CapPrm:\t0000000000000000
CapEff:\t{effective}
CapBnd:\t{bounding}
CapAmb:\t0000000000000000
NoNewPrivs:\t{kept}
Seccomp:\t{seccomp}
"""
NONE = "0" * 16
PTRACE = "0000000000080000"


def add_process(proc: Path, pid: int, group: str = "/machine.slice/one", **values: Any) -> Path:
    """One process of a made-up /proc."""
    given = {"uid": 997, "effective": NONE, "bounding": NONE, "kept": 1, "seccomp": 2, **values}
    place = proc / str(pid)
    (place / "ns").mkdir(parents=True)
    for name in process.NAMESPACES:
        shared = pid == 1 or name == "cgroup"
        (place / "ns" / name).symlink_to(f"{name}:[{1 if shared else 2}]")
    (place / "status").write_text(STATUS.format(**given), encoding="utf-8")
    (place / "cgroup").write_text(f"0::{group}\n", encoding="utf-8")
    (place / "cmdline").write_bytes(b"server\0--port\08080\0")
    options = values.get("options", "ro,relatime")
    (place / "mountinfo").write_text(
        f"1 0 0:1 / /proc rw - proc proc rw\n2 0 0:2 / / {options} - overlay overlay rw\n",
        encoding="utf-8",
    )
    (place / "root" / "dev" / "pts").mkdir(parents=True)
    return place


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    add_process(tmp_path, 1, "/init.scope", uid=0)
    add_process(tmp_path, 10)
    return tmp_path


def test_a_process_is_read_with_the_ids_of_the_host(proc: Path) -> None:
    seen = process.view(10, proc)
    assert (seen["uids"], seen["groups"], seen["processes"]) == ([997], [992, 996], 1)
    assert set(seen["capabilities"].values()) == {NONE}
    assert (seen["no_new_privileges"], seen["seccomp"]) == (True, 2)
    assert seen["shared_namespaces"] == ["cgroup"]
    assert seen["root_read_only"] is True and seen["devices"] == []


def test_a_second_process_of_the_container_counts_too(proc: Path) -> None:
    """The weakest of them decides: an exec'ed helper may be root while the server is not."""
    add_process(proc, 11, "/machine.slice/one/exec", uid=0, effective=PTRACE, kept=0, seccomp=0)
    add_process(proc, 12, "/machine.slice/onemore", uid=5)
    seen = process.view(10, proc)
    assert (seen["uids"], seen["processes"]) == ([0, 997], 2)
    assert seen["capabilities"]["CapEff"] == PTRACE
    assert (seen["no_new_privileges"], seen["seccomp"]) == (False, 0)


def test_a_root_that_can_be_written_is_told(proc: Path) -> None:
    add_process(proc, 20, "/other", options="rw,relatime")
    assert process.view(20, proc)["root_read_only"] is False


def test_a_process_that_is_gone_is_nothing(proc: Path) -> None:
    assert process.view(99, proc) == {} and process.view(0, proc) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make device nodes")
def test_nodes_that_not_every_container_has_are_found(proc: Path) -> None:
    dev = proc / "10" / "root" / "dev"
    (dev / "dri").mkdir()
    for name, major, minor in (("null", 1, 3), ("dri/renderD128", 226, 128), ("mem", 1, 1)):
        try:
            os.mknod(dev / name, 0o20660, os.makedev(major, minor))
        except PermissionError:
            pytest.skip("device nodes cannot be made here")
    (dev / "kfd").write_text("a file is no node", encoding="utf-8")
    found = {node["path"]: node["mode"] for node in process.view(10, proc)["devices"]}
    assert set(found) == {"/dev/dri/renderD128", "/dev/mem"}


def test_gpu_memory_is_what_the_topology_in_the_container_says(proc: Path, tmp_path: Path) -> None:
    nodes = proc / "10/root/sys/class/kfd/kfd/topology/nodes"
    for node, heap, size in ((0, 0, 999), (1, 1, 4096), (1, 0, 5)):
        bank = nodes / str(node) / "mem_banks" / str(heap)
        bank.mkdir(parents=True)
        text = f"heap_type {heap}\nsize_in_bytes {size}\n"
        (bank / "properties").write_text(text, encoding="utf-8")
    groups = tmp_path / "cgroup"
    (groups / "machine.slice" / "one").mkdir(parents=True)
    (groups / "machine.slice" / "one" / "memory.max").write_text("max\n", encoding="utf-8")
    (groups / "machine.slice" / "memory.max").write_text("12345\n", encoding="utf-8")
    found = process.memory(10, proc, groups)
    assert found == {"device_bytes": [4096], "limit_bytes": 12345}
    assert process.memory(1, proc, groups)["limit_bytes"] is None


@pytest.mark.parametrize(("raw", "text"), [
    ("0100007F", "127.0.0.1"), ("00000000", "0.0.0.0"), ("0" * 32, "::"),  # noqa: S104
    ("00000000000000000000000001000000", "::1"), ("0000000000000000FFFF00000100007F", "127.0.0.1"),
])  # fmt: skip
def test_addresses_are_read_as_the_kernel_writes_them(raw: str, text: str) -> None:
    assert network.address(raw) == text


def test_only_sockets_that_listen_on_the_port_count(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    row = "  0: {} 00000000:0000 {} 00000000:00000000 00:00000000 00000000 0 0 1\n"
    lines = [("0100007F:1F40", "0A"), ("00000000:1F41", "0A"), ("0200007F:1F40", "01")]
    text = "header\n" + "".join(row.format(*line) for line in lines)
    table.write_text(text, encoding="utf-8")
    assert network.listening(8000, (str(table), str(tmp_path / "none"))) == ["127.0.0.1"]


class Endpoint(BaseHTTPRequestHandler):
    """Answers with a completion to who has the key."""

    def _say(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        asked = json.loads(self.rfile.read(length) or b"{}")
        if self.headers.get("Authorization") != "Bearer geheim-geheim-geheim":
            self._say(401, b"no key geheim-geheim-geheim")
        elif asked.get("model") == "base" and "messages" in asked:
            self._say(400, b"default chat template is no longer allowed")
        else:
            self._say(200, json.dumps({"model": asked["model"], "asked": asked}).encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_the_key_is_sent_and_never_told(url: str) -> None:
    good = network.completion(url, "geheim-geheim-geheim", {"model": "m"}, 5)
    assert (good["status"], good["json"]["model"]) == (200, "m")
    bad = network.completion(url, "wrong", {"model": "m"}, 5)
    assert bad["status"] == 401 and bad["msg"].startswith("HTTP status 401")
    assert network.without_key(url, 5) == 401


def test_a_model_without_a_chat_template_is_asked_to_go_on(url: str) -> None:
    asked = {"model": "base", "messages": [{"role": "user", "content": "Say"}]}
    found = network.completion(url, "geheim-geheim-geheim", asked, 5)
    assert (found["status"], found["json"]["asked"]) == (200, {"model": "base", "prompt": "Say"})


def test_nobody_there_is_an_error_in_words() -> None:
    found = network.completion("http://127.0.0.1:1", "", {}, 2)
    assert found["status"] is None and "refused" in found["msg"]
    assert network.without_key("http://127.0.0.1:1", 2) is None


def test_secrets_are_found_elsewhere_by_their_value(tmp_path: Path) -> None:
    top = tmp_path / "secrets"
    (top / "one").mkdir(parents=True, mode=0o700)
    (top / "one" / "api_key").write_text("sk-0123456789abcdef\n", encoding="utf-8")
    (top / "one" / "config.yml").write_text("api-key: other-0123456789abc\n", encoding="utf-8")
    (top / "one" / "api_key").chmod(0o640)
    kept = secrets.files(top)
    assert [(Path(e["path"]).name, e["type"]) for e in kept] == [
        ("secrets", "directory"), ("one", "directory"), ("api_key", "file"),
        ("config.yml", "file")]  # fmt: skip
    assert kept[2]["mode"] == "0640"
    known = secrets.values(top, kept)
    assert known == {"sk-0123456789abcdef", "other-0123456789abc"}
    texts = {"the unit": "Exec=--api-key sk-0123456789abcdef", "the journal": "nothing"}
    assert secrets.places(known, texts) == ["the unit"]
    assert secrets.places(set(), texts) == []
    assert secrets.first_line(f"{top}/one/api_key") == "sk-0123456789abcdef"
    assert secrets.first_line(f"{top}/none") == "" and secrets.files(tmp_path / "no") == []


def test_what_programs_print_is_read() -> None:
    assert service_probe.properties("A=1\nB=c=d\nnoise\n") == {"A": "1", "B": "c=d"}
    text = "→ Overall exposure level for stroke-inference.service: 9.8 UNSAFE 😨\n"
    assert service_probe.exposure(text) == 9.8
    assert service_probe.exposure("Unit x.service not found.") is None
    assert service_probe.described('[{"Id": "1"}]') == {"Id": "1"}
    assert service_probe.described("") == service_probe.described("[]") == {}
    assert service_probe.described("no json") == {}
