"""N hosts fetch a model and an image: bytes over the uplink, by the counters of its interface.

    hosts ─ lan (bridge) ─ gateway, which is the cache ─ uplink ─ hub, registry, files

Every box is a network namespace that this test makes. Model and image are fetched by what real
hosts fetch them with: the role's fetch_model.py, and Podman. nginx is Debian's, unpacked and not
installed, with the configuration that the role writes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.container
ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/download_cache"
PREFIX = f"stk{os.getpid() % 10000}"
HOSTS = 4
GATEWAY, SERVER, PORT, CACHE_PORT = "10.98.0.1", "10.99.0.1", 9000, 8470
MODEL, LAYER = 48 << 20, 24 << 20
IMAGE = f"{SERVER}:{PORT + 1}/org/image:latest"


def run(*words: str | Path, check: bool = True) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


@dataclass
class Network:
    """The namespaces, and what runs in them."""

    where: Path
    runs: int = 0

    def inside(self, name: str, *words: str | Path) -> tuple[str | Path, ...]:
        return ("ip", "netns", "exec", f"{PREFIX}-{name}", *words)

    @property
    def uplink(self) -> int:
        """Bytes that came in from outside so far."""
        text = run(*self.inside("gateway", "cat", "/sys/class/net/uplink/statistics/rx_bytes"))
        return int(text)


def make(network: Network) -> None:
    names = ["server", "gateway", *(f"host{number}" for number in range(HOSTS))]
    for name in names:
        run("ip", "netns", "add", f"{PREFIX}-{name}")
        run(*network.inside(name, "ip", "link", "set", "lo", "up"))
    cable(network, "server", "out", f"{SERVER}/24", "gateway", "uplink", "10.99.0.2/24")
    run(*network.inside("server", "ip", "route", "add", "default", "via", "10.99.0.2"))
    run(*network.inside("gateway", "ip", "link", "add", "lan", "type", "bridge"))
    run(*network.inside("gateway", "ip", "address", "add", f"{GATEWAY}/24", "dev", "lan"))
    run(*network.inside("gateway", "ip", "link", "set", "lan", "up"))
    run(*network.inside("gateway", "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"))
    for number in range(HOSTS):
        host = f"host{number}"
        cable(network, host, "eth", f"10.98.0.{10 + number}/24", "gateway", f"port{number}", "")
        run(*network.inside("gateway", "ip", "link", "set", f"port{number}", "master", "lan"))
        run(*network.inside(host, "ip", "route", "add", "default", "via", GATEWAY))


def cable(network: Network, one: str, end: str, address: str, other: str, far: str,
          far_address: str) -> None:  # fmt: skip
    run("ip", "link", "add", end, "netns", f"{PREFIX}-{one}", "type", "veth",
        "peer", "name", far, "netns", f"{PREFIX}-{other}")  # fmt: skip
    for name, link, where in ((one, end, address), (other, far, far_address)):
        if where:
            run(*network.inside(name, "ip", "address", "add", where, "dev", link))
        run(*network.inside(name, "ip", "link", "set", link, "up"))


def image(folder: Path) -> None:
    """An image of one layer that nothing compresses, as a registry has it."""
    folder.mkdir()
    data = random.Random(1).randbytes(LAYER)  # noqa: S311  not a secret
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("blob")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    layer = gzip.compress(buffer.getvalue(), 1, mtime=0)
    diff = f"sha256:{hashlib.sha256(buffer.getvalue()).hexdigest()}"
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                         "rootfs": {"type": "layers", "diff_ids": [diff]}}).encode()  # fmt: skip
    kind = "application/vnd.oci.image"
    manifest = {"schemaVersion": 2, "mediaType": f"{kind}.manifest.v1+json",
                "config": describe(folder, config, f"{kind}.config.v1+json"),
                "layers": [describe(folder, layer, f"{kind}.layer.v1.tar+gzip")]}  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))


def describe(folder: Path, data: bytes, kind: str) -> dict[str, object]:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    (folder / digest).write_bytes(data)
    return {"mediaType": kind, "digest": digest, "size": len(data)}


def nginx(where: Path) -> Path:
    """Debian's nginx without its service."""
    where.mkdir()
    subprocess.run(["apt-get", "download", "-qq", "nginx"], cwd=where, check=True)
    (package,) = where.glob("nginx_*.deb")
    run("dpkg-deb", "--extract", package, where / "root")
    return where / "root/usr/sbin/nginx"


def configure(where: Path) -> tuple[Path, Path]:
    """The files that the role writes, written by Ansible from the role's own templates."""
    store, pages = where / "store", where / "pages"
    for folder in (store, pages):
        folder.mkdir()
    registry = {"name": f"{SERVER}:{PORT + 1}", "address": f"http://{SERVER}:{PORT + 1}"}
    variables = {
        "ansible_python_interpreter": sys.executable,
        "download_cache_address": GATEWAY,
        "download_cache_hub": f"http://{SERVER}:{PORT}",
        "download_cache_registries": [registry],
        "download_cache_sources": [SERVER.replace(".", "\\.")],
        "download_cache_resolvers": ["127.0.0.1"],
        "__download_cache_run": os.fspath(store),
        "__download_cache_store": os.fspath(store),
        "__download_cache_authorities": "/etc/ssl/certs/ca-certificates.crt",
    }
    write = {"hosts": "localhost", "gather_facts": False, "connection": "local",
             "vars_files": [os.fspath(ROLE / name / "main.yml") for name in ("defaults", "vars")],
             "tasks": [{"ansible.builtin.template": {"src": os.fspath(source),
                        "dest": os.fspath(pages / source.stem), "mode": "0644"}}
                       for source in (ROLE / "templates/etc/stroke/download_cache/nginx.conf.j2",
                                      ROLE / "templates/etc/containers/registries.conf.d"
                                             "/stroke-download-cache.conf.j2")]}  # fmt: skip
    (where / "play.yml").write_text(yaml.safe_dump([write]))
    (where / "vars.json").write_text(json.dumps(variables))
    run(Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,",
        "-e", f"@{where / 'vars.json'}", where / "play.yml")  # fmt: skip
    return pages / "nginx.conf", pages / "stroke-download-cache.conf"


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    # Podman wants a short path for what runs.
    where = Path(tempfile.mkdtemp(prefix="stk-"))
    where.chmod(0o755)
    made = Network(where)
    started: list[subprocess.Popen[bytes]] = []
    try:
        make(made)
        image(where / "blobs")
        program = nginx(where / "nginx")
        configuration, _ = configure(where)
        run("chmod", "-R", "a+rX", where)
        (where / "store").chmod(0o777)
        started.append(subprocess.Popen(made.inside(
            "server", sys.executable, ROOT / "tests/downloads/internet.py", SERVER, str(PORT),
            where / "blobs")))  # fmt: skip
        started.append(subprocess.Popen(made.inside(
            "gateway", program, "-c", configuration, "-e", "stderr")))  # fmt: skip
        wait_for(made)
        yield made
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()
        for name in ("server", "gateway", *(f"host{number}" for number in range(HOSTS))):
            run("ip", "netns", "delete", f"{PREFIX}-{name}", check=False)
        shutil.rmtree(where)


def wait_for(network: Network) -> None:
    question = "import sys, urllib.request as u\nfor a in sys.argv[1:]: u.urlopen(a, timeout=5)"
    for _ in range(60):
        asked = subprocess.run(
            network.inside("host0", sys.executable, "-c", question,
                           f"http://{SERVER}:{PORT + 1}/v2/",
                           f"http://{GATEWAY}:{CACHE_PORT + 1}/v2/"),
            capture_output=True, check=False,
        )  # fmt: skip
        if asked.returncode == 0:
            return
        time.sleep(1)
    raise AssertionError(asked.stderr.decode())


def fetch(network: Network, hosts: int, *, cached: bool) -> int:
    """All hosts at the same time, each with a store of its own; bytes over the uplink."""
    network.runs += 1
    before = network.uplink
    begun = [process for number in range(hosts) for process in fetches(network, number, cached)]
    for process in begun:
        output = process.communicate(timeout=600)[0].decode("utf-8", "replace")
        assert process.returncode == 0, output
    for number in range(hosts):
        weights = place(network, number) / "models/model/model.safetensors"
        assert weights.stat().st_size == MODEL
    return network.uplink - before


def place(network: Network, number: int) -> Path:
    return network.where / f"{network.runs}-{number}"


def fetches(network: Network, number: int, cached: bool) -> list[subprocess.Popen[bytes]]:
    here = place(network, number)
    (here / "models").mkdir(parents=True)
    hub = f"http://{GATEWAY}:{CACHE_PORT}" if cached else f"http://{SERVER}:{PORT}"
    registries = here / "registries.conf"
    mirrors = (network.where / "pages/stroke-download-cache.conf").read_text()
    direct = f'[[registry]]\nlocation = "{SERVER}:{PORT + 1}"\ninsecure = true\n'
    entry = f'location = "{SERVER}:{PORT + 1}"\n'
    registries.write_text(mirrors.replace(entry, f"{entry}insecure = true\n", 1)
                          if cached else direct)  # fmt: skip
    model = network.inside(
        f"host{number}", sys.executable, ROOT / "roles/model_store/files/fetch_model.py",
        "--endpoint", hub, "--repository", "org/model", "--revision", "main",
        "--store", here / "models", "--name", "model",
    )  # fmt: skip
    pull = network.inside(
        f"host{number}", "env", f"CONTAINERS_REGISTRIES_CONF={registries}", "podman",
        "--root", here / "images", "--runroot", here / "run", "--storage-driver", "vfs",
        "pull", "--quiet", IMAGE,
    )  # fmt: skip
    return [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT)
        for command in (model, pull)
    ]  # fmt: skip


def test_bytes_over_the_uplink(network: Network, capsys: pytest.CaptureFixture[str]) -> None:
    one = MODEL + LAYER
    direct = {number: fetch(network, number, cached=False) for number in (1, 2, 4)}
    assert all(found > number * one for number, found in direct.items()), "the counter counts"
    cached = {}
    for number in (1, 2, 4):
        for path in (network.where / "store/files").iterdir():
            shutil.rmtree(path)
        cached[number] = fetch(network, number, cached=True)
    later = fetch(network, 4, cached=True)
    with capsys.disabled():
        print(f"\none model and one image: {one / 2**20:.1f} MiB\nhosts  direct  by the cache")
        for number in (1, 2, 4):
            print(f"{number:5d}  {direct[number] / 2**20:6.1f}  {cached[number] / 2**20:.2f}")
        print(f"four more, later: {later / 2**20:.2f}")
    assert all(one < found < 1.1 * one for found in cached.values()), "once for all of them"
    assert later < 0.02 * one, "lists and permissions only"


def test_the_cache_fetches_from_nobody_else(network: Network) -> None:
    question = (
        "import sys, urllib.request as u, urllib.error as e\n"
        "try: print(u.urlopen(sys.argv[1]).status)\nexcept e.HTTPError as x: print(x.code)"
    )
    for path in ("http/10.98.0.1/x", "http/evil.example/x", "file/etc/passwd",
                 f"http/{SERVER}.evil.example/x"):  # fmt: skip
        url = f"http://{GATEWAY}:{CACHE_PORT}/.stroke-follow/{path}"
        assert run(*network.inside("host0", sys.executable, "-c", question, url)).strip() == "403"
