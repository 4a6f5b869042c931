"""Going back on a real GRUB and real kernels: arguments, image and kernel, and forward again.

In order: each test starts where the last one ended. A kernel that was never proven stands in for an
older generation's, by a generation written into the record: the distribution's own, which is there.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.vm.guest import Guest, Result, values
from tests.vm.provisioned import Provisioned

pytestmark = pytest.mark.slow
Json = dict[str, Any]

RECORD = "/var/lib/stroke/generations.json"
OTHER = "localhost/stroke-test/other:2"
# Another amount of memory is another ttm.pages_limit; the other image is the same engine.
CHANGED = (
    *("-e", "stroke_memory_gib=96"),
    *("-e", json.dumps({"inference_server_image": OTHER, "inference_server_image_archive": None})),
)
# A generation of the kernel that the guest had first, beside those that were proven.
OLDER = f"""
old=$(ls /boot/vmlinuz-* | sort -V | head -n1); old=${{old#/boot/vmlinuz-}}
sudo python3 - "$old" <<'PYTHON'
import json, sys
record = json.load(open("{RECORD}"))
first = record["generations"][0]
number = record["generations"][-1]["number"] + 1
record["generations"].append({{**first, "number": number, "kernel": sys.argv[1]}})
json.dump(record, open("{RECORD}", "w"))
print(number, sys.argv[1])
PYTHON
"""


@pytest.fixture(scope="module")
def guest(provisioned: Provisioned) -> Guest:
    provisioned.start()
    return provisioned.guest


def record(guest: Guest) -> Json:
    return dict(json.loads(guest.run(f"cat {RECORD}")))


def pages(guest: Guest) -> str:
    (word,) = [word for word in guest.run("cat /proc/cmdline").split()
               if word.startswith("ttm.pages_limit=")]  # fmt: skip
    return word


def image(guest: Guest) -> str:
    return guest.run("sudo podman container inspect --format '{{.Image}}' stroke-inference")


def good(result: Result) -> Json:
    assert result.status == 0, result
    return result.host


def converged(guest: Guest, *words: str) -> None:
    again = guest.stroke("plan", "--detailed-exitcode", *words)
    assert again.status == 0, again


def test_every_proven_state_is_a_generation(guest: Guest) -> None:
    first = record(guest)
    assert [one["number"] for one in first["generations"]] == [1]
    guest.run(f"sudo podman commit --quiet stroke-inference {OTHER}")
    good(guest.stroke("provision", "--yes", *CHANGED))
    now = record(guest)
    assert (now["current"], len(now["generations"])) == (2, 2)
    one, two = now["generations"]
    assert one["arguments"] != two["arguments"]
    assert one["images"]["stroke-inference"]["id"] != two["images"]["stroke-inference"]["id"]
    assert two["kernel"] == guest.run("uname -r")
    good(guest.stroke("provision", "--yes", "--full", *CHANGED))
    assert record(guest) == now


def test_a_rollback_is_tried_kept_and_proven(guest: Guest) -> None:
    one, two = record(guest)["generations"]
    assert pages(guest) in two["arguments"]
    host = good(guest.stroke("rollback", "--yes"))
    assert host["profile"]["generation"]["number"] == 1
    assert (host["rebooted"], host["boot"]["outcome"]) == (True, "committed")
    assert pages(guest) in one["arguments"]
    assert f"sha256:{image(guest)}" == one["images"]["stroke-inference"]["id"]
    assert guest.complete(host["endpoint"]["model"])["choices"][0]["message"]["content"]
    now = record(guest)
    assert (now["current"], len(now["generations"])) == (1, 2)


def test_it_stays_there_as_long_as_the_inventory_says_so(guest: Guest) -> None:
    stay = ("-e", "stroke_generation=1")
    converged(guest, *stay)
    converged(guest, "-e", "stroke_generation=previous")
    good(guest.stroke("verify", *stay))
    full = good(guest.stroke("provision", "--yes", "--full", *stay))
    assert full["changed"] == 0, full
    guest.reboot()
    converged(guest, *stay)


def test_without_a_word_it_goes_forward_again(guest: Guest) -> None:
    plan = good(guest.stroke("plan", *CHANGED))
    assert ("boot_params", "reboot", "ttm.pages_limit") in values(plan, "role", "action", "what")
    good(guest.stroke("provision", "--yes", *CHANGED))
    assert (record(guest)["current"], len(record(guest)["generations"])) == (2, 2)
    assert "GRUB_DEFAULT" not in guest.run("cat /etc/default/grub.d/90-stroke.cfg")
    converged(guest, *CHANGED)


def test_an_older_kernel_is_tried_before_it_starts_by_itself_and_so_is_the_newer_one(
    guest: Guest,
) -> None:
    newer = guest.run("uname -r")
    number, older = guest.run(OLDER).split()
    assert older != newer
    host = good(guest.stroke("rollback", "--yes", "--to", number))
    assert (host["boot"]["outcome"], guest.run("uname -r")) == ("committed", older)
    guest.reboot()
    assert guest.run("uname -r") == older, "it is the menu's own default by now"
    converged(guest, "-e", f"stroke_generation={number}")
    host = good(guest.stroke("provision", "--yes", *CHANGED))
    assert (host["boot"]["outcome"], guest.run("uname -r")) == ("committed", newer)
    guest.reboot()
    assert guest.run("uname -r") == newer


def test_what_is_not_there_is_refused_before_anything_is_changed(guest: Guest) -> None:
    before = guest.fingerprint()
    missing = guest.stroke("rollback", "--yes", "--to", "99")
    assert (missing.status, missing.codes) == (5, ["STK-450"])
    guest.run(f"sudo cp {RECORD} {RECORD}.kept; echo broken | sudo tee {RECORD} >/dev/null")
    broken = guest.stroke("rollback", "--yes")
    assert (broken.status, broken.codes) == (3, ["STK-525"])
    assert guest.run(f"cat {RECORD}") == "broken"
    guest.run(f"sudo mv {RECORD}.kept {RECORD}")
    assert guest.fingerprint() == before


def test_the_list_says_what_is_there(guest: Guest) -> None:
    listed = good(guest.stroke("rollback", "--list"))["generations"]
    assert [row["current"] for row in listed["rows"]].count(True) == 1
    assert all(row["kernel_there"] and row["images_there"] for row in listed["rows"])


def test_remove_forgets_the_generations(guest: Guest) -> None:
    good(guest.stroke("remove", "--yes"))
    assert guest.run(f"ls {RECORD} 2>/dev/null || echo gone") == "gone"
