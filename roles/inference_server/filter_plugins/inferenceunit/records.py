"""Which images stroke brought to a host for a service, so that exactly these can be taken away."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def record(previous: Json | None, now: Json) -> Json:
    """The record before another image is brought.

    `now` has the reference, and `found`: the image that has this name already. `before` stays what
    that was the first time; `brought` lists the ids of images that proved themselves, oldest first.
    """
    kept = previous or {"before": now["found"]}
    return {
        "reference": now["reference"],
        "before": kept.get("before"),
        "brought": list(kept.get("brought") or []),
    }


def superseded(previous: Json | None, current: str) -> Json:
    """After `current` proved itself: the new record, and the images that nobody goes back to.

    The one before it stays, for the next image that fails to start.
    """
    if not previous:
        return {"record": None, "remove": []}
    ids = [one for one in previous.get("brought") or [] if one != current]
    return {"record": previous | {"brought": [*ids[-1:], current]}, "remove": ids[:-1]}
