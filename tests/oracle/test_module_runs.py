"""What a look costs: one module run for each host, however many there are."""

from __future__ import annotations

import pytest

from tests.containers import ROOT, Container
from tests.oracle.play import play

pytestmark = pytest.mark.container


def test_plan_of_24_hosts_takes_one_module_run_for_each(host: Container) -> None:
    assert len(host.names) == 24
    played = play(ROOT / "playbooks" / "plan.yml", host.inventory, "--forks", "8")
    assert played.status == 0, played
    assert dict(played.modules) == dict.fromkeys(host.names, 1)
    assert played.plan == {name: [] for name in host.names}
