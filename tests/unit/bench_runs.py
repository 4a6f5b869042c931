"""Measured runs made of known numbers."""

from __future__ import annotations

from typing import Any

from stroke import role_code
from stroke.bench import document
from stroke.bench_settings import Settings
from stroke.report import HostRun

Json = dict[str, Any]
OUTPUT = 11


def step(concurrency: int, repetition: int, *, token: float = 0.1, first: float = 0.5) -> Json:
    """Two rounds of requests with answers of 11 tokens, `token` seconds each."""
    whole = first + (OUTPUT - 1) * token
    requests = [
        {"sent": turn * whole, "first": turn * whole + first, "last": (turn + 1) * whole,
         "input": 20, "output": OUTPUT}
        for turn in range(2)
        for _ in range(concurrency)
    ]  # fmt: skip
    gaps = {"count": 20, "p50": token, "p95": token, "p99": token, "max": token}
    return {"concurrency": concurrency, "repetition": repetition, "seconds": 2 * whole,
            "client_cpu": 0.01, "gaps": gaps, "requests": requests}  # fmt: skip


def steps(*tokens: float, concurrency: tuple[int, ...] = (1, 4)) -> list[Json]:
    """A repetition per value."""
    return [
        step(level, number, token=token)
        for number, token in enumerate(tokens, 1)
        for level in concurrency
    ]


def raw(found: list[Json], **values: Any) -> Json:
    """What the role publishes."""
    load = {"prompt_length": 20, "output_length": OUTPUT, "repetitions": 3, "concurrency": [1, 4]}
    unit = "ExecStart={ path=/usr/bin/podman ; argv[]=podman run image ; ignore_errors=no }"
    return {
        "url": "http://127.0.0.1:8000/v1",
        "model": "tiny",
        "service": "stroke-inference",
        "unit": unit,
        "load": load,
        "steps": found,
        **values,
    }


ESTIMATE = {"single": {"low": 7.0, "expected": 9.0, "high": 12.0}, "case": "test"}
FACTS = {"distribution": "Debian 13", "kernel": "7.2.12", "gpu": "gfx1151", "memory_bytes": 2**37}


def run(found: list[Json], *, estimate: Json | None = None, label: str = "", **values: Any) -> Json:
    """A whole document."""
    profile = {"engine": {"name": "llamacpp", "image": "localhost/engine:1"}, "estimate": estimate}
    host = HostRun("box1", facts=FACTS, profile=profile, bench=raw(found, **values))
    return document(host, Settings(label=label), role_code.catalog())
