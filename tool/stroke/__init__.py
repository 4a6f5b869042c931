"""Provision Linux hosts with AMD GPUs so that they serve models, and prove that they do."""

from __future__ import annotations

__all__ = ["version"]


def version() -> str:
    """Return the installed version, or a marker for a checkout that was never installed."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("stroke")
    except PackageNotFoundError:
        return "0+checkout"
