"""One converged host for all tests here, and the names under which it is many."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.containers import Container, container

NAMES = tuple(f"node-{number:02d}" for number in range(1, 25))


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    state = tmp_path_factory.mktemp("oracle")
    # A name of its own: a second run beside this one must not take its container away.
    with container(f"stroke-oracle-{os.getpid()}", state, NAMES) as made:
        made.converge()
        yield made


@pytest.fixture(scope="session")
def one(host: Container) -> str:
    """The name that tests use which change the host."""
    return host.names[0]
