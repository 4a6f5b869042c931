"""What the user's own files could do to this program and to ssh, and what is refused."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import pytest
from hostprofile import yaml_size
from stroke import inventory, vetting
from stroke.errors import StrokeError

from tests.unit.playing import ROOT
from tests.unit.plugins import plugin

settings = plugin("host_profile", "settings")
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi",
                                                                         strict=True)
)  # fmt: skip
DEEP = "a: " + "[" * 50_000 + "]" * 50_000


def refused(where: Path, extra: tuple[str, ...] = ()) -> StrokeError:
    with pytest.raises(StrokeError) as raised:
        vetting.vet(inventory.Inventory((str(where),)), extra)
    return raised.value


@pytest.mark.parametrize("text", [BOMB, DEEP], ids=["aliases", "depth"])
def test_a_bomb_is_refused_in_no_time_and_memory(tmp_path: Path, text: str) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(text, encoding="utf-8")
    began = time.process_time()
    tracemalloc.start()
    error = refused(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.code == "STK-641" and str(path) in error.what
    assert time.process_time() - began < 10 and peak < 50 * 2**20


@pytest.mark.parametrize("place", ["group_vars/all.yml", "host_vars/box1", "group_vars/all/x.yaml"])
def test_variables_beside_the_inventory_are_measured(tmp_path: Path, place: str) -> None:
    (tmp_path / "hosts.ini").write_text("box1\n", encoding="utf-8")
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_text(BOMB, encoding="utf-8")
    assert place in refused(tmp_path / "hosts.ini").what


def test_a_file_of_extra_variables_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "vars.yml"
    path.write_text(BOMB, encoding="utf-8")
    assert str(path) in refused(tmp_path / "none.ini", (f"@{path}",)).what


def test_ordinary_aliases_and_vaults_are_read(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(
        "x: &x {a: 1}\nall: {hosts: {b: *x, c: *x}, vars: {k: !vault 'abc'}}\n", encoding="utf-8"
    )
    vetting.vet(inventory.Inventory((str(path), "box1,")), ())


def test_what_is_no_yaml_is_left_to_ansible(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text("a: *nowhere\n b: [", encoding="utf-8")
    vetting.vet(inventory.Inventory((str(path),)), ())


def test_the_size_is_that_of_the_values_written_out() -> None:
    assert yaml_size.too_large("a: &a [1, 2]\nb: [*a, *a]\n") == ""
    line = "&x [" + "1," * 1000 + "]"
    text = f"a: {line}\nb: [" + "*x," * 2001 + "]"
    assert "aliases" in yaml_size.too_large(text)
    assert yaml_size.too_large(text.replace("2001", "3")[:4000].rsplit(",", 1)[0] + "]") == ""


def test_a_bomb_in_the_catalogue_of_a_site_is_a_refusal(tmp_path: Path) -> None:
    from hostprofile import catalog

    (tmp_path / "kernels.yml").write_text(BOMB, encoding="utf-8")
    shipped = ROOT / "roles/host_profile/files/catalog"
    found = catalog.load(str(shipped), str(tmp_path))
    assert any("aliases" in problem for problem in found["site"]["problems"])


NAMES = ["-oProxyCommand=id", "--help", ".", "a b", "a;b", "a\nb", "$(id)", "`id`",
         "a'b", 'a"b', "b\u043ex", "box\u202e", "{{ 1 }}", "a/b", "../x", "",
         "x" * 300]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", ["inventory_hostname", "ansible_host"])
def test_a_name_or_address_that_is_none_is_refused(name: str, key: str) -> None:
    if (name, key) == (".", "ansible_host"):
        name = ".."
    with pytest.raises(ValueError, match="STK-642"):
        settings.check_settings({"inventory_hostname": "box1", key: name}, "roles", [])


@pytest.mark.parametrize(
    "variables",
    [{"ansible_host": "192.0.2.7"}, {"ansible_host": "fe80::1%eth0"}, {"ansible_host": "[::1]"},
     {"inventory_hostname": "node_01.rack-2.example.org"}, {"ansible_user": "DOMAIN\\me"},
     {"ansible_user": "me@example.org"}, {"ansible_port": 2222}],
)  # fmt: skip
def test_ordinary_names_and_addresses_are_accepted(variables: dict[str, object]) -> None:
    assert settings.hostile({"inventory_hostname": "box1", **variables}) == ""


@pytest.mark.parametrize("login", ["-oops", "a b", "a:b", "$(id)", "a\nb", "a/b", "x" * 99])
@pytest.mark.parametrize("name", ["gpu_access_user", "gpu_access_users", "model_store_owner"])
def test_a_login_of_a_host_is_no_option_of_useradd(name: str, login: str) -> None:
    value = [login] if name.endswith("s") else login
    variables = {"inventory_hostname": "box1", name: value}
    found = settings.check_settings(variables, str(ROOT / "roles"), [])["problems"]
    assert [problem["code"] for problem in found] == ["STK-302"]
    usual = {**variables, name: ["stroke", "me.too-2"] if name.endswith("s") else "stroke"}
    assert settings.check_settings(usual, str(ROOT / "roles"), [])["problems"] == []


@pytest.mark.parametrize(
    "variables", [{"ansible_user": "-lroot"}, {"ansible_user": "a b"}, {"ansible_port": "22 -v"}]
)
def test_logins_and_ports_are_no_options(variables: dict[str, object]) -> None:
    assert "STK-642" in settings.hostile({"inventory_hostname": "box1", **variables})


@pytest.mark.parametrize("setting", ['{"key": "s3cret"', "[s3cret, 2", '{key: "s3cret'])
def test_a_setting_that_nobody_can_read_is_not_blamed_on_the_inventory(setting: str) -> None:
    with pytest.raises(StrokeError) as raised:
        vetting.settings(("x=1", setting))
    assert raised.value.code == "STK-106" and "s3cret" not in str(raised.value.problem)


def test_settings_that_ansible_reads_are_passed_on() -> None:
    vetting.settings(("x={1", "@vars.yml", '{"a": [1, 2]}', "{a: 1}"))


@pytest.mark.parametrize("tags", ["prepaer", "serve,bogus", "verify", "verify,host_verify"])
def test_a_tag_that_changes_nothing_is_refused(tags: str) -> None:
    with pytest.raises(StrokeError) as raised:
        vetting.tags((tags,))
    assert raised.value.code == "STK-106"
    hint = raised.value.hint or ""
    assert "stroke verify" in hint if tags.startswith("verify") else "kernel" in hint


@pytest.mark.parametrize("tags", [(), ("prepare",), ("serve,verify",), ("kernel", "all")])
def test_stages_and_roles_are_tags(tags: tuple[str, ...]) -> None:
    vetting.tags(tags)
