"""One converged host for all tests here, and the names under which it is many."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers import Container, container

NAMES = tuple(f"node-{number:02d}" for number in range(1, 25))


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    state = tmp_path_factory.mktemp("oracle")
    with container("stroke-oracle", state, NAMES) as made:
        made.converge()
        yield made


@pytest.fixture(scope="session")
def one(host: Container) -> str:
    """The name that tests use which change the host."""
    return host.names[0]
