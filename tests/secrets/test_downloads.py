"""What goes wrong with a download ends with a clear message, and with nothing half there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.containers import ROOT, Container
from tests.oracle.play import Played, play
from tests.secrets.conftest import HUB_PORT
from tests.secrets.test_secrets import settings

pytestmark = pytest.mark.container
SMALL = "/srv/small"


def fetch(host: Container, source: str, **more: Any) -> Played:
    model = {"name": "m", "source": f"hf:{source}", "revision": None}
    given = {"model_store_models": [model], "model_store_endpoint": f"http://127.0.0.1:{HUB_PORT}"}
    return play(ROOT / "tests/secrets/fetch.yml", host.inventory, "-e",
                settings(host, "fetch", **given, **more))  # fmt: skip


def test_a_model_that_does_not_exist_is_told(host: Container) -> None:
    played = fetch(host, "org/nothing")
    assert played.status != 0
    assert "STK-615: model org/nothing" in str(played) and "does not exist" in str(played)
    assert host.sh("test ! -e /var/lib/stroke/models/m && systemctl is-active stroke-inference")


def test_a_full_disk_is_told_and_the_next_run_goes_on(host: Container) -> None:
    """The model fits when it begins; something else takes the room while it comes."""
    host.sh(f"""set -eu
truncate --size=40M /srv/small.img
mkfs.ext4 -q -m 0 /srv/small.img
mkdir -p {SMALL}
mount -o loop /srv/small.img {SMALL}
(sleep 1; while ! ls {SMALL}/.partial/m/*.part; do sleep 0.1; done
 dd if=/dev/zero of={SMALL}/other bs=64k) >/dev/null 2>&1 &""")
    try:
        played = fetch(host, "org/tiny", model_store_path=SMALL)
        assert played.status != 0
        assert "STK-617: model org/tiny" in str(played), played
        assert host.sh(f"test ! -e {SMALL}/m && ls {SMALL}/.partial/m | grep -c 'part$'") == "1"
        host.sh(f"rm {SMALL}/other")
        again = fetch(host, "org/tiny", model_store_path=SMALL)
        assert again.status == 0, again
        assert host.sh(f"stat -c %s {SMALL}/m/model.safetensors") == str(24 * 1024 * 1024)
        assert host.sh(f"ls {SMALL}/.partial") == ""
        assert fetch(host, "org/tiny", model_store_path=SMALL).changed == {}
    finally:
        host.sh(f"umount {SMALL}; rm -r /srv/small.img {SMALL} /var/lib/stroke/model_store/m.json",
                check=False)  # fmt: skip
