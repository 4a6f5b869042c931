"""What was asked for and what was seen, brought into the shape that the layers judge."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

WILDCARD = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  compared, not bound  # nosec B104


def _url(bind: str, port: int) -> str:
    """Where the host itself reaches what is published on an address."""
    place = WILDCARD.get(bind, bind)
    return f"http://[{place}]:{port}" if ":" in place else f"http://{place}:{port}"


def services(given: list[Json], only: Json) -> list[Json]:
    """Every service with all that the probe needs; `only` describes it where there is just one."""
    found = []
    for entry in given or [only]:
        service: Json = {
            **only,
            **{key: value for key, value in entry.items() if value is not None},
        }
        name = str(service["name"])
        rootless = bool(service.get("rootless"))
        model = service.get("served_model_name") or service.get("model") or only["model"]
        found.append(
            {
                "name": name,
                "unit": str(entry.get("unit") or f"{name}.service"),
                "container": str(entry.get("container") or name),
                "runtime": str(service.get("runtime") or "podman"),
                "rootless": rootless,
                "user": only["user"] if rootless else None,
                "bind": str(service["bind"]),
                "port": int(service["port"]),
                "url": _url(str(service["bind"]), int(service["port"])),
                "model": str(model),
                "gpus": list(service.get("gpus") or []),
            }
        )
    return found


def read_completion(answer: Json, prompt: str) -> Json:
    """What the endpoint said: text, tokens and seconds, or why there is nothing."""
    body: Any = answer.get("json")
    empty: Json = {
        "prompt": prompt,
        "text": "",
        "tokens": 0,
        "seconds": 0,
        "model": None,
        "chat": True,
    }
    try:
        choice = body["choices"][0]
        said = choice["message"] if "message" in choice else {"content": choice["text"]}
        return empty | {
            "text": said.get("content") or said.get("reasoning_content") or "",
            "chat": "message" in choice,
            "tokens": int(body["usage"]["completion_tokens"]),
            "seconds": answer.get("elapsed", 0),
            "model": body.get("model"),
            "error": None,
        }
    except (TypeError, LookupError, ValueError, AttributeError):
        return empty | {"error": str(answer.get("msg") or "the answer is no completion")}


def _digest(manifest: list[Json], unit: str) -> str | None:
    """The wanted configuration's digest; None when its ids were not known yet."""
    items = (item for item in manifest if item.get("kind") == "unit" and item.get("name") == unit)
    return next((item.get("config") for item in items), None)


def seen(asked: list[Json], probed: Json, manifest: list[Json], prompt: str) -> list[Json]:
    """The services with what the probe saw of each, its completion, and its wanted digest."""
    found = []
    for service in asked:
        view = dict(probed.get(service["name"]) or {})
        completion = read_completion(view.get("answer") or {}, prompt)
        digest = _digest(manifest, service["unit"])
        found.append({**service, "seen": view, "completion": completion, "digest": digest})
    return found
