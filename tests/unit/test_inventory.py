"""HOSTS as the user types them, and what ansible says when they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from stroke import inventory
from stroke.errors import StrokeError
from stroke.inventory import THIS_MACHINE, Inventory, cause_of, listed, names, require_hosts
from stroke.runner import Job, environment, executable

BAD_YAML = """\
[WARNING]: Failed to parse inventory with 'auto' plugin: YAML parsing failed: While parsing a flow mapping did not find expected ',' or '}'.

Failed to parse inventory with 'auto' plugin.

<<< caused by >>>

YAML parsing failed: While parsing a flow mapping did not find expected ',' or '}'.
Origin: /home/me/bad.yml:4:1

(source not shown: file truncated)

[WARNING]: Failed to parse inventory with 'ini' plugin: Failed to parse inventory: Invalid host pattern 'all:' supplied, ending in ':' is not allowed, this character is reserved to provide a port.

Failed to parse inventory with 'ini' plugin.

<<< caused by >>>

Failed to parse inventory: Invalid host pattern 'all:' supplied, ending in ':' is not allowed, this character is reserved to provide a port.
Origin: /home/me/bad.yml

[ERROR]: Completely failed to parse inventory source /home/me/bad.yml
"""  # noqa: E501 — as ansible prints it

BAD_SCRIPT = """\
[WARNING]: Failed to parse inventory with 'script' plugin: Inventory script returned non-zero exit code 3.

Failed to parse inventory with 'script' plugin.

<<< caused by >>>

Inventory script returned non-zero exit code 3.
Origin: <inventory plugin 'script' with source '/home/me/dyn.sh'>

Standard error from inventory script:
boom

[WARNING]: Failed to parse inventory with 'ini' plugin: Failed to parse inventory: Expected key=value host variable assignment, got: boom

[ERROR]: Completely failed to parse inventory source /home/me/dyn.sh
"""  # noqa: E501 — as ansible prints it


def test_no_hosts_means_this_machine() -> None:
    assert inventory.resolve(()) is THIS_MACHINE
    assert THIS_MACHINE.local and THIS_MACHINE.sources == ("localhost,",)


def test_files_directories_and_names_may_be_mixed(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.ini"
    hosts.write_text("box1\n", encoding="utf-8")
    sources = (str(hosts), str(tmp_path), "box2,")
    assert inventory.resolve(sources) == Inventory(sources)


def test_a_name_without_a_comma_is_explained() -> None:
    with pytest.raises(StrokeError) as caught:
        inventory.resolve(("box1",))
    assert caught.value.code == "STK-101"
    assert caught.value.hint == "to name a host directly, end it with a comma: box1,"


def test_a_missing_file_names_the_ones_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hosts.ini").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StrokeError) as caught:
        inventory.resolve(("host.ini",))
    assert caught.value.hint and "hosts.ini" in caught.value.hint


def test_the_complaint_that_fits_the_file_is_shown_with_its_line() -> None:
    source, cause = cause_of(BAD_YAML)
    assert source == "/home/me/bad.yml"
    assert cause.startswith("YAML parsing failed") and cause.endswith("(/home/me/bad.yml:4:1)")


def test_a_script_is_quoted() -> None:
    source, cause = cause_of(BAD_SCRIPT)
    assert source == "/home/me/dyn.sh"
    assert cause == "Inventory script returned non-zero exit code 3: boom"


def test_a_source_that_nothing_understands() -> None:
    said = "[ERROR]: Completely failed to parse inventory source /srv/empty\n"
    assert cause_of(said) == ("/srv/empty", "no plugin of ansible understands it")
    assert cause_of("")[1] == "ansible-inventory gave no reason"


def test_hosts_are_listed_once() -> None:
    document = {
        "_meta": {"hostvars": {"a": {}, "c": {}}},
        "all": {"children": ["gpu"]},
        "gpu": {"hosts": ["a", "b"]},
        "other": {"hosts": ["b"]},
    }
    assert listed(document) == ("a", "b", "c")


def test_an_inventory_without_hosts() -> None:
    with pytest.raises(StrokeError, match=r"hosts\.ini has no hosts") as caught:
        require_hosts(Inventory(("hosts.ini",)), (), ("web",))
    assert caught.value.code == "STK-102"


def test_a_limit_without_hosts_names_those_that_there_are() -> None:
    with pytest.raises(StrokeError) as caught:
        require_hosts(Inventory(("hosts.ini",)), ("box1", "box2"), ("web",))
    assert (caught.value.code, caught.value.hint) == ("STK-104", "the hosts are: box1, box2")
    require_hosts(Inventory(("hosts.ini",)), ("box1",), ())


STRICT = {"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "True", "ANSIBLE_NOCOLOR": "1"}


def test_ansible_itself_is_asked(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.ini"
    hosts.write_text("[gpu]\nbox[1:2]\n", encoding="utf-8")
    command = executable("ansible-inventory")
    where = Inventory((str(hosts),))
    assert names(where, command, STRICT) == ("box1", "box2")
    assert names(where, command, STRICT, ("box2",)) == ("box2",)


def test_a_broken_file_is_explained_in_ansibles_words(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.yml"
    hosts.write_text("all:\n  hosts:\n   a: {x: 1\n", encoding="utf-8")
    with pytest.raises(StrokeError) as caught:
        names(Inventory((str(hosts),)), executable("ansible-inventory"), STRICT)
    assert caught.value.code == "STK-103"
    assert f"({hosts}:" in caught.value.what and "Traceback" not in caught.value.what


def test_a_key_that_is_there_twice_drops_no_host(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.yml"
    hosts.write_text("all:\n  hosts: {box1: }\n  hosts: {box2: }\n", encoding="utf-8")
    ours = environment(Job(Path(), (str(hosts),)), {})
    with pytest.raises(StrokeError, match="duplicate mapping key 'hosts'") as caught:
        names(Inventory((str(hosts),)), executable("ansible-inventory"), ours)
    assert caught.value.code == "STK-103"
