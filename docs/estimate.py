"""Print the table of estimate.md: what was measured beside what the roofline says of it."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "roles" / "host_profile" / "filter_plugins")]

from hostprofile import catalog, estimate  # noqa: E402  found through the line above


def rows() -> list[str]:
    """One row for each measurement of the catalogue."""
    known = catalog.load(str(ROOT / "roles" / "host_profile" / "files" / "catalog"))
    cases = {case["id"]: case for case in known["roofline_cases"]}
    found = []
    for row in known["roofline_measurements"]:
        streams = row.get("streams", 1)
        band = estimate.speed(
            cases[row["case"]], row["bandwidth_gbs"], row["active_bytes"],
            weights=row.get("weight_bytes", 0), gpus=row.get("gpus", 1), streams=streams,
        )  # fmt: skip
        what = f"{row['gpu']}, {row['model']}" + (f", {streams} requests" if streams > 1 else "")
        figures = ", ".join(f"{figure:g}" for figure in row["tokens_per_s"])
        bands = (f"{band[key]:.1f}" for key in ("low", "expected", "high"))
        cells = (what, row["case"], figures, *bands)
        found.append(f"| {' | '.join(cells)} |")
    return found


if __name__ == "__main__":
    print("\n".join(rows()))
