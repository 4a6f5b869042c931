"""One converged host with a hub of its own on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers import ROOT, Container, _podman, container

NAME = "stroke-secrets"
HUB_PORT = 8098
TOKEN = "hf_canarytoken0123456789abcdef"  # noqa: S105


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    with container(NAME, tmp_path_factory.mktemp("secrets")) as made:
        made.converge()
        start_hub(made)
        yield made


def start_hub(host: Container) -> None:
    """Nothing that the hub itself is told may be found on the host: its token comes from a file."""
    _podman("cp", f"{ROOT}/tests/hub.py", f"{host.name}:/srv/hub.py")
    host.sh(
        "systemd-run --quiet --unit=hub /usr/bin/python3 /srv/hub.py 127.0.0.1 "
        f"{HUB_PORT} --digest {token_digest()} --slow 0.02"
    )


def token_digest() -> str:
    import hashlib

    return hashlib.sha512(f"Bearer {TOKEN}".encode()).hexdigest()
