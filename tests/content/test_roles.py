"""Every role has the same skeleton, and its variables are the ones that it documents."""

from __future__ import annotations

import re

import pytest

from tests.content.repo import ROLES, ROOT, argument_specs, defaults, load, templated

# These only look at a host, or decide: they have nothing to take back.
READERS = {"gpu_facts", "host_bench", "host_profile", "host_verify"}
# Nobody has these without asking for them.
OPTIONAL = {"metrics", "resume", "download_cache"}
# Settings of the playbooks themselves; they live with the role that checks them.
SHARED_PREFIX = "stroke_"

ALL = pytest.mark.parametrize("role", ROLES)
CHANGERS = pytest.mark.parametrize("role", sorted(set(ROLES) - READERS))


def test_the_roles_of_the_design_are_there() -> None:
    assert set(ROLES) == {
        "gpu_facts", "host_profile", "preflight", "kernel", "boot_params", "boot_guard", "rocm",
        "gpu_access", "container_runtime", "model_store", "inference_server", "host_verify",
        "host_bench", "packages", "metrics", "service_watchdog", "tls_proxy",
        "resume", "download_cache", "host_lock", "service_drain", "generation",
    }  # fmt: skip


@ALL
@pytest.mark.parametrize(
    "path",
    ["README.md", "defaults/main.yml", "meta/main.yml", "meta/argument_specs.yml",
     "tasks/main.yml"],
)  # fmt: skip
def test_role_has(role: str, path: str) -> None:
    assert (ROOT / "roles" / role / path).is_file()


@ALL
def test_main_tasks_are_a_table_of_contents(role: str) -> None:
    lines = (ROOT / "roles" / role / "tasks" / "main.yml").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 60


@CHANGERS
def test_role_can_be_undone(role: str) -> None:
    option = argument_specs(role)["main"]["options"][f"{role}_state"]
    assert option["choices"] == ["present", "absent"]
    assert defaults(role)[f"{role}_state"] == ("absent" if role in OPTIONAL else "present")


@CHANGERS
def test_role_describes_what_it_wants(role: str) -> None:
    if role in {"preflight", "packages", "resume", "download_cache", "host_lock"}:
        pytest.skip("this role leaves nothing on a host, or what others describe")
    assert (ROOT / "roles" / role / "tasks" / "manifest.yml").is_file()


@ALL
def test_specified_defaults_are_the_real_ones(role: str) -> None:
    options = argument_specs(role)["main"].get("options", {})
    real = defaults(role)
    wrong = {
        name: (option["default"], real.get(name))
        for name, option in options.items()
        if "default" in option
        and not templated(real.get(name))
        and (name not in real or real[name] != option["default"])
    }
    assert wrong == {}


@ALL
def test_every_default_is_specified(role: str) -> None:
    options = argument_specs(role)["main"].get("options", {})
    assert sorted(set(defaults(role)) - set(options)) == []


@ALL
def test_every_plain_default_is_stated_in_the_specification(role: str) -> None:
    """ansible-doc then shows it; an unset value (null, empty) may be left to the words."""
    options = argument_specs(role)["main"].get("options", {})
    unstated = [
        name
        for name, value in defaults(role).items()
        if value and not templated(value) and "default" not in options.get(name, {})
    ]
    assert unstated == []


@ALL
def test_public_names_begin_with_the_role(role: str) -> None:
    names = {*defaults(role), *argument_specs(role)["main"].get("options", {})}
    allowed = (f"{role}_", SHARED_PREFIX) if role == "host_profile" else (f"{role}_",)
    names -= {f"{role}s"}  # a list of what the role otherwise makes one of
    assert sorted(name for name in names if not name.startswith(allowed)) == []


@ALL
def test_internal_names_begin_with_two_underscores(role: str) -> None:
    files = sorted((ROOT / "roles" / role / "vars").glob("*.yml"))
    names = [name for path in files for name in (load(path) or {})]
    assert [name for name in names if not name.startswith(f"__{role}_")] == []


@ALL
def test_every_default_is_explained(role: str) -> None:
    """A comment stands above each variable: the file is the reference manual."""
    path = ROOT / "roles" / role / "defaults" / "main.yml"
    lines = path.read_text(encoding="utf-8").splitlines()
    bare = [
        line
        for before, line in zip(["---", *lines], lines, strict=False)
        if re.match(r"[a-z_]+:", line) and not before.startswith("#")
    ]
    assert bare == []
