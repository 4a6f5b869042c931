"""The end of a plan: reboot, downloads and free space, from what the roles know of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from stroke import plan_parts, results, views
from stroke.report import Change, HostRun, Run

from tests.unit.facts import GIB, strix_halo
from tests.unit.plugins import plugin
from tests.unit.profile_cases import resolved
from tests.unit.test_console import drawn, planned

MIB = 2**20
space = plugin("preflight", "space")
PROFILE: dict[str, Any] = {
    "kernel": {"boot_free_mib": 350, "root_free_mib": 1500},
    "runtime": {"archive_factor": 4, "store": "/var/lib/containers"},
    "engine": {"image_archive": None, "definition": {"disk_gib": 80}},
    "model": {"store": [{"name": "Qwen--Qwen3-8B", "source": "hf:Qwen/Qwen3-8B"}]},
}


def change(**values: Any) -> dict[str, Any]:
    plain = {"role": "kernel", "stage": "prepare", "kind": "package", "what": "linux-image-amd64",
             "action": "upgrade", "before": "1", "after": "2", "reason": ""}  # fmt: skip
    return plain | values


IMAGE = change(role="inference_server", stage="serve", kind="image", what="a/vllm:1", action="load")
MODEL = change(role="model_store", kind="directory", what="/var/lib/stroke/models/Qwen--Qwen3-8B",
               action="create")  # fmt: skip


def host(
    *changes: dict[str, Any], profile: dict[str, Any] = PROFILE, name: str = "box1"
) -> HostRun:
    found = space.plan_space(strix_halo(), profile, list(changes))
    return HostRun(name, changes=tuple(map(Change.of, changes)), space=found)


def lines(*hosts: HostRun, width: int = 100) -> list[str]:
    return drawn(views.plan(Run(hosts={one.name: one for one in hosts})), width)


def test_downloads_say_their_size_or_who_knows_it() -> None:
    shown = lines(host(change(), change(what="firmware", action="install"), IMAGE, MODEL))
    begin = shown.index("Downloads")
    assert [" ".join(line.split()) for line in shown[begin + 1 : begin + 4]] == [
        "2 packages and what they need size unknown (the package manager works it out)",
        "image a/vllm:1 size unknown (the registry knows)",
        "model Qwen--Qwen3-8B size unknown (the model hub knows)",
    ]


def test_what_comes_from_a_file_has_its_size(tmp_path: Path) -> None:
    archive, model = tmp_path / "image.tar", tmp_path / "m.gguf"
    archive.write_bytes(b"x" * 3 * MIB)
    model.write_bytes(b"x" * 2 * MIB)
    profile = {
        **PROFILE,
        "engine": {"image_archive": str(archive), "definition": {}},
        "model": {"store": [{"name": "m.gguf", "source": str(model)}]},
    }
    files = MODEL | {"what": "/var/lib/stroke/models/m.gguf", "kind": "file"}
    shown = "\n".join(lines(host(IMAGE, files, profile=profile)))
    assert "image a/vllm:1  3 MiB" in shown and "model m.gguf    2 MiB" in shown
    assert "14 MiB wanted for the container image and the model m.gguf" in shown


def test_free_space_is_told_by_file_system_with_what_is_needed_of_it() -> None:
    shown = "\n".join(lines(host(change(), IMAGE)))
    assert "Free space" in shown
    assert "/boot  512 MiB free, 350 MiB wanted for the kernel and its initramfs" in shown
    assert "80 GiB free, 81 GiB wanted for kernel modules, firmware and packages" in shown


def test_hosts_with_the_same_plan_have_their_own_free_space() -> None:
    small = host(change(), name="box2")
    less = [{**place, "free_bytes": GIB} for place in small.space["filesystems"]]
    shown = "\n".join(lines(host(change()), replace(small, space={**small.space,
                                                               "filesystems": less})))  # fmt: skip
    assert shown.count("Downloads") == 1
    assert "box1  /boot" in shown and "box2  /boot  1.0 GiB free" in shown


def test_a_reboot_says_when_and_what_it_means() -> None:
    waits = change(role="boot_params", stage="reboot", kind="kernel_arg", action="reboot",
                   what="ttm.pages_limit")  # fmt: skip
    shown = "\n".join(lines(host(change(), waits)))
    assert "At the reboot\n  once, after the preparation; the host serves nothing until" in shown
    assert "the kernel that runs now stays installed" in shown
    assert "sets ttm.pages_limit" in shown
    alone = "\n".join(lines(host(waits)))
    assert "all it takes is there already" in alone and "stays installed" not in alone
    assert plan_parts.reboot([Change.of(change())]) == []


def test_the_plan_says_what_the_boot_transaction_will_do() -> None:
    changes = [Change.of(change(action="reboot", stage="reboot"))]
    (_, *lines) = plan_parts.reboot(changes, {"sentences": ["a plain reboot"]})
    assert "  a plain reboot" in [str(line) for line in lines]


def test_nothing_to_change_asks_for_no_room() -> None:
    assert space.plan_space(strix_halo(), PROFILE, []) == {}
    shown = lines(HostRun("box1", changes=(), profile={"verdict": "supported"}))
    assert "Free space" not in shown and "Downloads" not in shown


def test_a_plan_of_a_playbook_that_knows_no_sizes_is_shown_too() -> None:
    shown = drawn(views.plan(planned()))
    assert "Downloads" not in shown and "At the reboot" in shown


def test_a_narrow_screen_is_enough() -> None:
    assert max(len(line) for line in lines(host(change(), IMAGE, MODEL), width=80)) <= 80


def test_the_memory_is_shown_step_by_step_with_the_expected_speed() -> None:
    profile = resolved("strix-halo-qwen2.5-14b")
    one = replace(host(IMAGE), profile=profile)
    shown = lines(one)
    start = shown.index("Memory for Qwen/Qwen2.5-14B-Instruct")
    text = "\n".join(shown[start:])
    for row in profile["budget"]["table"]:
        assert row["step"] in text
    assert "6.0 to 8.7 tok/s" in text and "stroke estimate Qwen/Qwen2.5-14B-Instruct" in text
    inspected = "\n".join(drawn(results.inspected(Run(hosts={one.name: one})), 100))
    assert "--gpu-memory-utilization" in inspected and "108.0 GiB" in inspected


def test_a_model_without_a_recipe_says_so_in_the_plan() -> None:
    shown = lines(replace(host(IMAGE), profile=resolved("strix-halo-unknown-model")))
    assert any("no recipe for someone/unheard-of" in line for line in shown)
