"""One guest for all tests of `make vm`: they are in order, each starts where the last one ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from stroke.sandbox import SandboxOptions

from tests.vm.guest import Guest, start
from tests.vm.provisioned import HELD, Provisioned, held, provision


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """What went wrong, at once: the end of such a run may be hours away."""
    if report.failed:
        print(f"\n{report.longreprtext}\n", file=sys.__stderr__, flush=True)


@pytest.fixture(scope="session")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    running = start(tmp_path_factory.mktemp("state"), SandboxOptions(name="stroke-vm"))
    yield running
    running.sandbox.down()


@pytest.fixture(scope="session")
def provisioned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provisioned]:
    """One for all modules; each test that needs it untouched starts it anew."""
    kept = os.environ.get(HELD)
    with held(Path(kept)) if kept else provision(tmp_path_factory.mktemp("provisioned")) as ready:
        yield ready
