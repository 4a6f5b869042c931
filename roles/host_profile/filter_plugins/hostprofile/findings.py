"""What deciding about one host has found so far: values, reasons, warnings and refusals."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

# Settings that are read here, and what they have to be; the roles' argument specifications say the
# same, but whoever calls resolve() on their own has not passed those.
TYPES: dict[str, type | tuple[type, ...]] = {
    "boot_params_iommu": str,
    "boot_params_gttsize": bool,
    "boot_params_extra_args": list,
    "host_profile_gfx": str,
    "host_profile_kernel_stream": str,
    "inference_server_engine": str,
    "inference_server_engine_version": str,
    "inference_server_extra_args": list,
    "inference_server_extra_env": dict,
    "inference_server_gpus": list,
    "inference_server_image": str,
    "inference_server_image_archive": str,
    "inference_server_model": str,
    "inference_server_served_model_name": str,
    "inference_server_runtime": str,
    "inference_server_rootless": bool,
    "inference_servers": list,
    "kernel_minimum": (str, int, float),
    "model_store_models": list,
    "rocm_source": str,
    "rocm_version": (str, int, float),
    "rocm_packages": list,
    "rocm_mirror_uri": str,
    "rocm_mirror_suite": str,
    "rocm_key_url": str,
    "rocm_key_fingerprint": str,
}
# Lists of plain words, and lists of tables with their required key.
ELEMENTS: dict[str, str | None] = {
    "boot_params_extra_args": None,
    "inference_server_gpus": None,
    "inference_servers": "name",
    "model_store_models": "name",
    "rocm_packages": "name",
}


class Findings:
    """Collects; decides nothing. Each problem has a code, what is wrong, and what helps."""

    def __init__(self, settings: Json) -> None:
        self.settings: Json = {}
        self.values: Json = {}
        self.reasons: dict[str, str] = {}
        self.refusals: list[Json] = []
        self.warnings: list[Json] = []
        for name, value in settings.items():
            if self._usable(name, value):
                self.settings[name] = value

    def refuse(self, code: str, what: str, hint: str) -> None:
        self._add(self.refusals, code, what, hint)

    def warn(self, code: str, what: str, hint: str) -> None:
        self._add(self.warnings, code, what, hint)

    def verdict(self) -> str:
        if self.refusals:
            return "refused"
        return "works with warnings" if self.warnings else "supported"

    @staticmethod
    def _add(place: list[Json], code: str, what: str, hint: str) -> None:
        problem = {"code": code, "what": what, "hint": hint}
        if problem not in place:
            place.append(problem)

    def _usable(self, name: str, value: Any) -> bool:
        wanted = TYPES.get(name)
        if wanted is None or value is None:
            return True
        good = isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
        if good and name in ELEMENTS:
            key = ELEMENTS[name]
            good = all(
                isinstance(entry, str)
                if key is None
                else isinstance(entry, dict) and isinstance(entry.get(key), str)
                for entry in value
            )
        if not good:
            self.refuse(
                "STK-302",
                f"{name}: {value!r:.80} is not of the type that it has to be",
                "docs/variables.md has the types; correct it in the inventory or after -e",
            )
        return good


def gib(amount: float) -> str:
    """Bytes in words: 1.5 GiB, 108 GiB."""
    return f"{amount / 1024**3:.1f}".removesuffix(".0") + " GiB"


def by_id(entries: list[Json], wanted: str, key: str = "id") -> Json:
    """The entry of that name; a catalogue that passed its checks has it."""
    for entry in entries:
        if entry[key] == wanted:
            return entry
    raise ValueError(f"the catalogue refers to {wanted!r}, which it does not define")
