"""Hosts of one group with the same GPU: which of them differ from the others, and in what."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from stroke import alike
from stroke.report import HostRun, Run
from stroke.status import status


def host(name: str, *, kernel: str = "7.2.12", groups: tuple[str, ...] = ("halo",),
         gpu: str = "gfx1151", memory: int = 128, **state: Any) -> HostRun:  # fmt: skip
    facts = {"kernel": kernel, "gpu": gpu, "memory_bytes": memory * 2**30}
    return HostRun(name, facts=facts, state={"groups": list(groups), **state}, changes=())


def said(*hosts: HostRun) -> list[str]:
    return [one.sentence() for one in alike.odd(Run({one.name: one for one in hosts}))]


def test_equal_hosts_are_not_mentioned() -> None:
    assert said(*(host(f"box{n}") for n in range(5))) == []


def test_the_odd_one_is_named_against_the_majority() -> None:
    hosts = [*(host(f"box{n}") for n in range(5)), host("odd", kernel="6.19.1")]
    assert said(*hosts) == ["halo (gfx1151): kernel 7.2.12 on 5 of 6, but 6.19.1 on odd"]


def test_two_that_differ_have_no_majority() -> None:
    assert said(host("a"), host("b", kernel="6.19.1")) == [
        "halo (gfx1151): kernel differs: 7.2.12 on a; 6.19.1 on b"
    ]


def test_another_gpu_and_another_group_are_another_kind() -> None:
    assert said(host("a"), host("b", kernel="6.19.1", gpu="gfx1201")) == []
    assert said(host("a"), host("b", kernel="6.19.1", groups=("other",))) == []


def test_a_difference_is_said_once_though_the_hosts_share_two_groups() -> None:
    both = ("halo", "rack")
    assert len(said(host("a", groups=both), host("b", kernel="6.19.1", groups=both))) == 1


def test_every_aspect_is_compared() -> None:
    usual: dict[str, Any] = {
        "firmware": "MES 0x86", "rocm": "7.14.1", "arguments": ["quiet", "iommu=pt"],
        "services": [{"image_id": "1" * 64}],
    }  # fmt: skip
    other: dict[str, Any] = {
        "firmware": "MES 0x83", "rocm": "7.2.4", "arguments": ["quiet"],
        "services": [{"image_id": "2" * 64}],
    }  # fmt: skip
    hosts = (host("a", **usual), host("b", **usual), host("c", kernel="6.19", **other))
    found = alike.odd(Run({one.name: one for one in hosts}))
    assert [one.aspect for one in found] == ["kernel", "firmware", "ROCm", "image", "arguments"]
    assert all(list(one.others.values()) == [("c",)] for one in found)


def test_arguments_may_differ_with_the_memory() -> None:
    small = host("small", memory=64, arguments=["ttm.pages_limit=1"])
    assert said(host("a", arguments=["x"]), host("b", arguments=["x"]), small) == []


def test_what_is_not_known_is_not_compared() -> None:
    assert said(host("a", firmware="MES 0x86"), host("b")) == []


def test_status_shows_locks_drained_hosts_and_odd_ones() -> None:
    held = {"user": "alice", "controller": "desk", "run": "3f2a", "taken_seconds": 720,
            "silent_seconds": 30, "connected": False}  # fmt: skip
    hosts = [host("a", lock=held), host("b", drained=True), host("c", kernel="6.19.1")]
    console = Console(width=200, record=True, quiet=False)
    with console.capture() as shown:
        console.print(status(Run({one.name: one for one in hosts}), 200))
    text = shown.get()
    assert "locked by alice@desk, run 3f2a, for 12 min, last sign 30 s ago, not connected" in text
    assert "drained: it is out of its load balancer" in text
    assert "halo (gfx1151): kernel 7.2.12 on 2 of 3, but 6.19.1 on c" in text
