"""One guest for all tests of `make vm`: they are in order, each starts where the last one ended."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from stroke.sandbox import SandboxOptions

from tests.vm.guest import Guest, start


@pytest.fixture(scope="session")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    running = start(tmp_path_factory.mktemp("state"), SandboxOptions(name="stroke-vm"))
    yield running
    running.sandbox.down()
