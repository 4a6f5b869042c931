"""What facts are turned into for other parts: here, which paths may be left on a host."""

from __future__ import annotations

from typing import Any

from tests.unit.plugins import plugin

facts = plugin("gpu_facts", "facts")
PATHS = ["/etc/stroke/tls_proxy", "/var/lib/stroke-x", "/opt/other", "/run/motd.d/50-stroke"]
SEEN: dict[str, Any] = {
    "patterns": ["/etc/stroke/*", "/var/lib/stroke-*", "/run/motd.d/*stroke*"],
    "paths": {"/run/motd.d/50-stroke": {"exists": True}},
}


def test_what_a_look_did_not_find_is_left_out_and_what_it_did_not_cover_stays() -> None:
    assert facts.paths_left(PATHS, {"seen": SEEN}) == ["/opt/other", "/run/motd.d/50-stroke"]


def test_a_look_that_failed_leaves_nothing_out() -> None:
    assert facts.paths_left(PATHS, {"seen": SEEN | {"paths": {}}}) == PATHS
    assert facts.paths_left(PATHS, {}) == PATHS


def test_a_wildcard_does_not_reach_into_a_directory() -> None:
    assert facts.paths_left(["/etc/stroke/a/b"], {"seen": SEEN}) == ["/etc/stroke/a/b"]
