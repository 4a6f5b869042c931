"""The file for docker compose, as its playbook renders it for a host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.containers import ROOT, Container
from tests.oracle.play import play

pytestmark = pytest.mark.container


def test_the_services_of_a_host_are_rendered_for_docker_compose(
    host: Container, one: str, tmp_path: Path
) -> None:
    file = tmp_path / "compose.yaml"
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"inference_server_compose": str(file)}), encoding="utf-8")
    played = play(ROOT / "playbooks/compose.yml", host.inventory, "--limit", one,
                  "-e", f"@{settings}")  # fmt: skip
    assert played.status == 0, played
    ((name, service),) = yaml.safe_load(file.read_text(encoding="utf-8"))["services"].items()
    assert name == "stroke-inference"
    assert service["ports"] == ["127.0.0.1:8000:8080"]
    # The very image that the service has: a name could be another one by now.
    assert service["image"].startswith("sha256:")
