"""A bundle says what is wrong with a host, and nothing about whose host it is."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest
from gpu_host import logs
from gpu_host.files import Host
from stroke.document import host_document
from stroke.events import Event
from stroke.report import HostRun, publish

from tests.unit.playing import backend, event, home, only, published, stroke
from tests.unit.trees import tree, write

import gpu_facts  # isort: skip  # needs the helpers of tests.unit.trees
from ansible.module_utils.gpu_host import anonymous, recording, scrub  # isort: skip
from ansible.module_utils.gpu_host import logs as host_logs  # isort: skip

__all__ = ["home"]


@pytest.fixture(autouse=True)
def real_roles(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules of the controller are the role's own, not the stand-in's."""
    monkeypatch.delenv("STROKE_CONTENT")


Json = dict[str, Any]
UUID = "0f3c1b52-8a55-4f0e-9c1e-3f1f2d8b7a10"
KEY = "canary-key-0123456789"  # what stroke itself keeps in /etc/stroke/secrets
PLANTED = {
    "the API key of the service": KEY,
    "a token of Hugging Face": "hf_AbCdEfGhIjKlMnOpQrSt",
    "a token of GitHub": "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "a token of OpenAI's form": "sk-proj-Zm9vYmFyYmF6cXV4",
    "a JSON web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqYW5lIn0.c2lnbmF0dXJl",
    "a bearer": "Plainlookingbearer77",
    "a password in a command": "hunter2butlonger",
    "a value in JSON": "opensesame-json",
    "a value in quoted JSON": "opensesame-quoted",
    "a login in an address": "proxyuser:proxypass",
    "a private key": "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC",
    "an SSH key": "AAAAC3NzaC1lZDI1NTE5AAAAIJane0fAcmeKeyBody",
    "a word of every kind of letter": "Zq8Xw2LmN0pQr5StUv7WxYz1AbCdEf3Gh",
    "IPv4": "10.1.2.3",
    "IPv4 at a port": "172.16.40.9",
    "IPv6": "fd12:3456:789a::1",
    "IPv6 in full": "2a02:8071:b683:1:ab3f:11ff:fe22:3344",
    "MAC": "aa:bb:cc:dd:ee:ff",
    "InfiniBand": "80:00:00:48:fe:80:00:00:00:00:00:00:24:8a:07:03:00:2d:5c:7e",
    "host name": "payroll-01",
    "domain": "acme.internal",
    "another host": "db7.acme.internal",
    "a host that only the log has": "nas9.acme.internal",
    "a login": "jane.doe",
    "a mail address": "ops@acme.com",
    "a serial number": "S6XNNG0T123456",
    "machine id": "0123456789abcdef0123456789abcdef",
    "uuid": UUID,
    "a server": "mirror.acme.internal",
}
LOG = f"""\
2026-11-21T10:00:00+0000 payroll-01 vllm[812]: api_key={KEY} max_tokens=128 tokenizer=auto
HF_TOKEN={PLANTED["a token of Hugging Face"]} GH={PLANTED["a token of GitHub"]}
key {PLANTED["a token of OpenAI's form"]} and {PLANTED["a JSON web token"]}
Authorization: Bearer {PLANTED["a bearer"]}
mysql --password {PLANTED["a password in a command"]} --port 3306
{{"secret": "{PLANTED["a value in JSON"]}", "tokens": 512, "api_key": null}}
"{{\\"password\\": \\"{PLANTED["a value in quoted JSON"]}\\"}}"
proxy http://{PLANTED["a login in an address"]}@mirror.acme.internal:3128/
-----BEGIN PRIVATE KEY-----
{PLANTED["a private key"]}
-----END PRIVATE KEY-----
ssh-ed25519 {PLANTED["an SSH key"]} jane.doe@payroll-01
cookie of the session {PLANTED["a word of every kind of letter"]}
GET / from 10.1.2.3:5555, 172.16.40.9, [fd12:3456:789a::1]:443 {PLANTED["IPv6 in full"]}/64
link aa:bb:cc:dd:ee:ff up; ib0 {PLANTED["InfiniBand"]}; db7.acme.internal; ops@acme.com
mount nas9.acme.internal:/srv
usb 1-1: SerialNumber: {PLANTED["a serial number"]}
session of jane.doe on payroll-01.acme.internal, machine {PLANTED["machine id"]} disk {UUID}
"""
# Known to the host by its value alone.
HOST_LOG = f"{LOG}refused {KEY} as a key\n"
KEPT = (
    "max_tokens=128", "tokenizer=auto", '"tokens": 512', '"api_key": null', "--port 3306",
    "amdgpu 0000:c5:00.0: ring gfx_0.0.0 timeout", "http://127.0.0.1:8000/v1", "::1",
    "std::bad_alloc", "12:34:56", "linux 6.12.57-1", "sha256:" + "ab" * 32,
    "Qwen/Qwen3-30B-A3B-Instruct-2507-FP8", "0.0.0.0",  # noqa: S104  nothing is bound
)  # fmt: skip


def planted_host(target: Path) -> Path:
    """A tree with something that must not leave it in every kind of file."""
    root = tree("strix-halo-debian13-fixed", target)
    write(root, "proc/sys/kernel/hostname", "payroll-01.acme.internal\n")
    write(root, "etc/hosts", "127.0.0.1 localhost\n10.1.2.3 payroll-01 db7.acme.internal\n")
    write(root, "etc/resolv.conf", "search acme.internal\nnameserver 10.1.2.3\n")
    write(root, "etc/passwd", "root:x:0:0::/root:/bin/sh\njane.doe:x:1000:1000::/home/jane.doe:\n")
    write(root, "etc/stroke/secrets/stroke-inference/api_key", f"{KEY}\n")
    write(root, "etc/systemd/system/stroke-x.service", "[Service]\n" + HOST_LOG)
    write(root, "var/lib/stroke/boot/state.json", json.dumps({"log": HOST_LOG, "token": KEY}))
    write(root, "var/lib/stroke/models/big.json", "weights of somebody")
    write(root, "var/lib/stroke/watchdog/evidence/20261121T100000Z-x/journal.txt", HOST_LOG)
    write(root, "sys/fs/pstore/dmesg-efi-1", HOST_LOG)
    write(root, "etc/modprobe.d/stroke.conf", HOST_LOG)
    write(root, "proc/cmdline", "root=/dev/sda1 ip=10.1.2.3 hostname=payroll-01 quiet\n")
    return root


def sent(root: Path, monkeypatch: pytest.MonkeyPatch, keep: bool = False) -> Json:
    """What the module returns of the tree; programs print the planted log."""
    said = HOST_LOG + "".join(f"{line}\n" for line in KEPT)
    monkeypatch.setattr(
        host_logs, "run", lambda host, *words: "" if words[0] in ("podman", "docker") else said
    )
    host = recording.Recorder(root)
    parameters: Json = {"declared_gpu": None, "declared_memory_gib": None, "paths": [],
                        "pci_ids": {}, "packages": ["podman"], "users": []}  # fmt: skip
    facts = gpu_facts.collect(host, parameters)
    names = anonymous.Names(host.files, ["podman"], keep)
    found = {"logs": host_logs.pack(Host(root), names)}
    return {**found, "capture": recording.pack(host, ["podman"], names), "facts": facts}


def everything(file: Path) -> str:
    """Every name and every content in an archive, as one text."""
    with tarfile.open(file) as archive:
        return "\n".join(
            f"{entry.name} {entry.linkname}\n" + (
                (archive.extractfile(entry) or io.BytesIO()).read().decode("utf-8", "replace")
                if entry.isreg() else "")
            for entry in archive)  # fmt: skip


def left(text: str) -> list[str]:
    """Every planted word that is there, with the file and what stands around it."""
    return [
        f"{what}: {text[max(0, at - 60) : at + 80]!r} in "
        + re.findall(r"^stroke-bundle\S+", text[:at], re.M)[-1]
        for what, word in PLANTED.items()
        if (at := text.find(word)) >= 0
    ]


def written(home: Path, data: Json, *options: str, name: str = "payroll-01") -> tuple[str, Path]:
    """Run the command on a recorded host that sent this; everything that is in its archive."""
    told = {"what": LOG, "api_key": KEY, "url": "http://10.1.2.3:8000"}
    state = {"services": [{"name": "stroke-inference", "health": "failed", "why": LOG}]}
    more = {**data, "facts": {"gpu": "gfx1151", "kernel": "7.2.12", "hostname": name},
            "state": state, "verify": [{"id": "api", "status": "failed", **told}]}  # fmt: skip
    found = backend(bundle=[event("runner_on_ok", host=name), published(name, more)])
    file = home / "out.tar.gz"
    result = stroke(found, "bundle", f"{name},", "-o", str(file), *options)
    assert result.exit_code == 0, result.stderr
    assert str(file) in result.stdout
    return everything(file), file


def test_nothing_planted_is_in_the_archive(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "word-of-the-controller")
    kept = home / "state/stroke/last-run"
    kept.mkdir(parents=True)
    (kept / "report.json").write_text(json.dumps({"hosts": [{"name": "payroll-01", "x": LOG}]}))
    failed = Event(1, "runner_on_failed", host="payroll-01",
                   result={"msg": f"word-of-the-controller {LOG}"})  # fmt: skip
    (kept / "events.jsonl").write_text(failed.to_json() + "\n")
    root = planted_host(tmp_path / "host")
    text, file = written(home, sent(root, monkeypatch))
    assert left(text) == []
    assert "word-of-the-controller" not in text
    assert [word for word in KEPT if word not in text] == []
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    names = set(re.findall(r"^stroke-bundle/(\S+)", text, re.M))
    assert {"INDEX.md", "versions.json", "run-before.json"} <= names
    for part in ("report.json", "logs/kernel.txt", "logs/journal.txt", "logs/versions.txt",
                 "logs/files/var/lib/stroke/boot/state.json",
                 "logs/files/sys/fs/pstore/dmesg-efi-1",
                 "logs/evidence/20261121T100000Z-x/journal.txt", "tree/proc/cmdline"):  # fmt: skip
        assert f"gfx1151-linux/{part}" in names, part
    assert "weights of somebody" not in text


def test_without_the_rules_every_planted_word_is_in_the_archive(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the test above has its subject."""
    monkeypatch.setattr(scrub.Scrub, "text", lambda self, text: text)
    monkeypatch.setattr(scrub.Scrub, "data", lambda self, data: data)
    text, _ = written(home, sent(planted_host(tmp_path / "host"), monkeypatch))
    assert [what for what, word in PLANTED.items() if word not in text] == []


def test_the_index_lists_every_file_with_its_checksum(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    _, file = written(home, sent(planted_host(tmp_path / "host"), monkeypatch))
    with tarfile.open(file) as archive:
        (index,) = [e for e in archive if e.name.endswith("INDEX.md")]
        text = (archive.extractfile(index) or io.BytesIO()).read().decode()
        rows = dict(re.findall(r"^\| (\S+) \| \d+ \| ([0-9a-f]{64}) \|$", text, re.M))
        for entry in archive:
            if entry.isreg() and entry != index:
                data = (archive.extractfile(entry) or io.BytesIO()).read()
                assert rows.pop(entry.name.partition("/")[2]) == hashlib.sha256(data).hexdigest()
    assert rows == {} and "failed checks" in text and "| api |" in text


def test_host_names_stay_where_asked(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = sent(planted_host(tmp_path / "host"), monkeypatch, keep=True)
    text, _ = written(home, data, "--keep-host-names")
    assert "stroke-bundle/payroll-01/report.json" in text and "db7.acme.internal" in text
    stay = {"host name", "domain", "another host", "a host that only the log has", "a server"}
    assert [line for line in left(text) if line.partition(":")[0] not in stay] == []


def test_a_second_pass_changes_nothing() -> None:
    once, again = scrub.Scrub(anonymous.Names({}, [])), scrub.Scrub(anonymous.Names({}, []))
    first = once.text(LOG)
    assert again.text(first) == first


def test_what_is_no_secret_stays() -> None:
    rules = scrub.Scrub(anonymous.Names({}, []))
    for word in KEPT:
        assert rules.text(word) == word


def test_long_lines_take_no_time() -> None:
    """A host may log what it wants; none of the rules goes back and forth over it."""
    import time

    rules = scrub.Scrub(anonymous.Names({}, []))
    began = time.monotonic()
    for unit in ("a", "a.", "token", "0:", "1.", "x@", "-----BEGIN A-----", 'k="'):
        rules.text(unit * (100_000 // len(unit)))
    assert time.monotonic() - began < 20


def test_a_host_that_cannot_be_asked_ends_with_its_own_code(home: Path) -> None:
    found = backend(bundle=only("plan", "gone"))
    result = stroke(found, "bundle", "hosts.ini")
    assert result.exit_code == 4 and "was not written" in result.stderr
    assert "STK-201: " in result.stderr and "Hint: " in result.stderr
    assert list(home.glob("stroke-bundle*")) == []


def test_a_place_that_cannot_be_written_is_told_before_a_host_is_asked(home: Path) -> None:
    found = backend(bundle=[])
    result = stroke(found, "bundle", "hosts.ini", "-o", str(home / "no/such.tar.gz"))
    assert result.exit_code == 2 and "STK-645" in result.stderr and found.jobs == []


def test_too_much_is_left_out_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a module returns has a limit; the archive stays whole and names what is missing."""
    import random

    source = random.Random(1)  # noqa: S311  not a secret
    noise = "".join(source.choice("abcdefghijklmnop \n") for _ in range(300_000))
    monkeypatch.setattr(host_logs, "run", lambda host, *words: noise)
    monkeypatch.setattr(host_logs, "_containers", lambda host: "")
    host = recording.Recorder(tree("strix-halo-debian13-fixed", tmp_path / "host"))
    packed = host_logs.pack(host, anonymous.Names({}, []))
    assert len(packed["archive"]) < 650_000
    assert packed["left_out"] and "versions.txt" not in packed["left_out"]
    assert gzip.decompress(base64.b64decode(packed["archive"]))


def test_the_kernels_log_keeps_what_matters_and_the_last_lines() -> None:
    text = "usb 1-1: new device\namdgpu: GPU reset\nsnd: ok\neth0: up\n"
    assert logs.kernel_lines(text) == "amdgpu: GPU reset\n"
    assert logs.kernel_lines(text, last=1) == "amdgpu: GPU reset\neth0: up\n"


def test_logs_are_not_in_the_report() -> None:
    host = publish(HostRun("x"), {"logs": {"archive": "QUJD", "files": 1}})
    assert host.logs and "QUJD" not in json.dumps(host_document(host))
