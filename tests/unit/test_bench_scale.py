"""The figures of the scale benchmark: seconds per host, and how they grow."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.run import Contender
from bench.scale import contenders, growth, table


@pytest.mark.parametrize(("much", "exponent"), [(2.0, 0.0), (8.0, 0.5), (32.0, 1.0), (512.0, 2.0)])
def test_growth_is_the_exponent(much: float, exponent: float) -> None:
    assert growth((1, 2.0), (16, much)) == pytest.approx(exponent)


def test_each_command_has_a_row_with_seconds_per_host() -> None:
    found = {n: [Contender("`x`", ("x",), 2, [n * 2.0, n * 2.0])] for n in (4, 1)}
    rows = table(found).splitlines()
    assert rows[0] == "| command | 1 host | 4 hosts | growth |"
    assert rows[2] == "| `x` | 2.00 s (2.00) | 8.00 s (2.00) | n^1.00 |"


def test_all_commands_get_the_same_hosts() -> None:
    found = contenders(Path("/hosts.yml"), ["a", "b"], 3)
    assert len({contender.label for contender in found}) == 4
    assert all("a,b" in contender.command for contender in found)
