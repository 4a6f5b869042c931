"""How hosts are: one line each, and below it what somebody has to know about some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from . import alike, text, views
from .errors import Exit
from .report import HostRun, Run

WELL = ("serving",)
WAITING = ("loading", "starting again", "not deployed", "stopped", "masked")
# Titles with the width of the terminal from which on they are shown: the most telling ones first.
COLUMNS = {
    "HOST": 0, "HEALTH": 0, "KERNEL": 0, "GTT": 72, "MODEL": 0, "DRIFT": 0, "UP": 76,
    "FIRMWARE": 130, "ROCM": 100, "IMAGE": 150, "BOOT": 110,
}  # fmt: skip
ORDER = (
    "HOST", "HEALTH", "KERNEL", "BOOT", "FIRMWARE", "GTT", "ROCM", "IMAGE", "MODEL", "DRIFT", "UP",
)  # fmt: skip


def status(run: Run, width: int) -> RenderableType:
    """The table of all hosts, then findings, then one sentence that sums up."""
    hosts = list(run.hosts.values())
    if not hosts:
        return Text("No host was looked at.")
    shown = [title for title in ORDER if width >= COLUMNS[title]]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in shown:
        whole = title in ("HOST", "HEALTH", "DRIFT", "UP", "GTT")
        table.add_column(title, no_wrap=whole, overflow="fold",
                         justify="right" if title == "DRIFT" else "left")  # fmt: skip
    for host in hosts:
        for number, service in enumerate(_services(host)):
            row = [VALUES[title](host, service) for title in shown]
            table.add_row(*(row if number == 0 else _only_service(shown, row)))
    parts: list[RenderableType] = [table]
    for host in hosts:
        found = list(_findings(host))
        if found:
            parts += [Text(), *found]
    if odd := alike.odd(run):
        parts += [Text(), Text("not alike", style="bold")]
        parts += [Text(f"  {text.clean(one.sentence())}", style="yellow") for one in odd]
    return Group(*parts, Text(), Text(summary(hosts), style="bold"))


def _only_service(shown: Sequence[str], row: Sequence[Text | str]) -> list[Text | str]:
    """The line of a host's second service repeats nothing of the host."""
    own = ("HEALTH", "MODEL", "IMAGE")
    return [cell if title in own else "" for title, cell in zip(shown, row, strict=True)]


def _services(host: HostRun) -> list[Mapping[str, Any]]:
    return list(host.state.get("services") or []) or [{}]


def health(host: HostRun) -> str:
    """The worst word that any service of the host deserves."""
    if not host.state:
        return host.status
    words = [str(service.get("health") or "unknown") for service in _services(host)]
    return next((word for word in words if word not in WELL), words[0])


def _health(host: HostRun, service: Mapping[str, Any]) -> Text:
    word = str(service.get("health") or "") or host.status
    style = "green" if word in WELL else "yellow" if word in WAITING else "red"
    return Text(text.clean(word), style=style)


def drift(host: HostRun) -> Text:
    """The number of changes that `plan` would show; a dash where nobody could work it out."""
    if host.changes is None:
        return Text("-")
    number = len(host.changes)
    return Text(str(number) if number else "none", style="yellow" if number else "green")


def _model(host: HostRun, service: Mapping[str, Any]) -> str:
    return text.clean(service.get("model") or service.get("wanted_model") or "-")


def _image(host: HostRun, service: Mapping[str, Any]) -> str:
    engine = host.profile.get("engine") or {}
    return text.clean(service.get("image") or engine.get("image") or "-")


def _gtt(host: HostRun, service: Mapping[str, Any]) -> str:
    size = host.state.get("gtt_bytes") or host.state.get("gtt_limit_bytes")
    return (text.gib(size) or "-").replace(" GiB", "G")


def ago(seconds: Any) -> str:
    """Return a long time in one unit: `40 s`, `12 min`, `5 h`, `3 d`."""
    if not isinstance(seconds, (int, float)) or seconds < 0:
        return "-"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


# What a phase of the boot transaction (role boot_guard) is called here.
BOOTS = {
    "held": "held", "armed": "armed", "trial": "on trial", "healthy": "on trial",
    "confirmed": "on trial", "committing": "on trial", "committed": "committed",
    "reverting": "reverting", "reverted": "reverted",
}  # fmt: skip


def boot(host: HostRun) -> str:
    """Where the host's last boot transaction stands, in a word."""
    found = host.state.get("boot") or {}
    return text.clean(BOOTS.get(str(found.get("phase")), found.get("phase") or "-"))


def _boot(host: HostRun, service: Mapping[str, Any]) -> Text:
    word = boot(host)
    return Text(word, style={"-": "", "committed": "green", "reverted": "red"}.get(word, "yellow"))


def _transaction(host: HostRun) -> Iterator[Text]:
    """What is not over, or was taken back; a system that was kept is worth no line."""
    found, word = host.state.get("boot") or {}, boot(host)
    good, tried = (text.clean(found.get(key) or "") for key in ("last_known_good", "trial"))
    back = f"the last known good system ({good})"
    said = {
        "held": f"{back} starts by default until a change has proven itself",
        "armed": f"the next boot tries {tried}, once; every other one is {back}",
        "on trial": f"{tried} is on trial; its next boot, unless it is kept, is {back}",
        "reverting": f"going back to {back}",
        "reverted": f"{tried} was tried and left, and {back} runs",
    }.get(word)
    if said:
        line = Text("boot: ")
        line.append(word, style=_boot(host, {}).style)
        line.append(f" ({text.clean(found.get('since') or '')}): {said}")
        why = text.clean(found.get("why") or "")
        yield line.append(f": {why}" if why else "")


Cell = Callable[[HostRun, Mapping[str, Any]], Text | str]
VALUES: dict[str, Cell] = {
    "HOST": lambda host, _: Text(host.name, style="bold"),
    "HEALTH": _health,
    "KERNEL": lambda host, _: text.clean(host.facts.get("kernel") or "-"),
    "BOOT": _boot,
    "FIRMWARE": lambda host, _: text.clean(host.state.get("firmware") or "-"),
    "GTT": _gtt,
    "ROCM": lambda host, _: text.clean(host.state.get("rocm") or "-"),
    "IMAGE": _image,
    "MODEL": _model,
    "DRIFT": lambda host, _: drift(host),
    "UP": lambda host, _: ago(host.state.get("up_seconds")),
}


def _findings(host: HostRun) -> Iterator[RenderableType]:
    """What the line of the host cannot say, under the host's name."""
    lines = [line for service in host.state.get("services") or [] for line in _about(host, service)]
    lines += _transaction(host)
    problems = views.problems(host)
    if host.changes and host.exit is Exit.OK:
        roles = ", ".join(dict.fromkeys(change.role for change in host.changes))
        number = text.count(len(host.changes), "difference")
        lines.append(Text(f"drift: {number} from the plan, in {roles}"))
    lines = [*_fleet(host), *lines]
    if lines or problems:
        yield Text(host.name, style="bold")
        yield from (Padding(part, (0, 0, 0, 2)) for part in (*lines, *problems))


def _fleet(host: HostRun) -> Iterator[Text]:
    """Who changes the host now, and whether its load balancer was told to leave it out."""
    held = host.state.get("lock")
    if isinstance(held, Mapping):
        who = f"{held.get('user') or 'somebody'}@{held.get('controller') or 'unknown'}"
        line = Text(f"locked by {text.clean(who)}, run {text.clean(held.get('run', ''))}", "yellow")
        line.append(f", for {ago(held.get('taken_seconds'))}")
        line.append(f", last sign {ago(held.get('silent_seconds'))} ago")
        line.append("" if held.get("connected") else ", not connected")
        yield line
    if host.state.get("drained"):
        yield Text("drained: it is out of its load balancer", style="yellow")


def _about(host: HostRun, service: Mapping[str, Any]) -> Iterator[Text]:
    name, now = text.clean(service.get("name", "")), host.state.get("now")
    word = str(service.get("health") or "unknown")
    if word not in (*WELL, "not deployed"):
        since = ago(service.get("for_seconds"))
        line = Text(f"{name}: ")
        line.append(word, style=_health(host, service).style)
        line.append(f" for {since}" if since != "-" and word in ("failed", "stopped") else "")
        yield line.append(f": {text.clean(service['why'])}" if service.get("why") else "")
        yield Text(f"on the host: journalctl -u {name}.service", style="dim")
    yield from _restarts(service, now)
    watch = service.get("watchdog")
    if watch:
        yield from _watched(watch, now)


def _restarts(service: Mapping[str, Any], now: Any) -> Iterator[Text]:
    """More than one start in this boot is worth a line, with the reason of the last stop."""
    starts = service.get("starts") or 0
    if starts < 2:
        return
    line = Text(f"starts since boot: {starts}")
    if service.get("automatic_restarts"):
        line.append(f", {service['automatic_restarts']} by systemd in a row")
    if service.get("last_stop") and service.get("last_stop_time") and now:
        line.append(f"; last stop {ago(now - service['last_stop_time'])} ago: ")
        line.append(text.clean(service["last_stop"]))
    yield line


def _watched(watch: Mapping[str, Any], now: Any) -> Iterator[Text]:
    last = watch.get("last_restart")
    if last and now:
        number = text.count(watch.get("restarts") or 0, "restart")
        yield Text(f"watchdog: {number} within a day, the last {ago(now - last['time'])} ago "
                   f"({text.clean(last.get('reason', ''))})")  # fmt: skip
    if watch.get("given_up"):
        line = Text("watchdog: ")
        line.append(f"gave up: {text.clean(watch['given_up'])}", style="bold red")
        yield line
    if watch.get("evidence"):
        yield Text(f"evidence: {text.clean(watch['evidence'])}")
    if watch.get("looked") and now and now - watch["looked"] > 3600:
        yield Text(f"watchdog: its last look is {ago(now - watch['looked'])} old", style="yellow")


def summary(hosts: Sequence[HostRun]) -> str:
    """The sentence below the table."""
    words = [health(host) for host in hosts]
    said = [f"{number} {word}" for word in dict.fromkeys(words) if (number := words.count(word))]
    drifted = sum(bool(host.changes) for host in hosts)
    tail = f"; {text.count(drifted, 'host')} drifted" if drifted else ""
    return f"{text.count(len(hosts), 'host')}: {', '.join(said)}{tail}."


def exit_of(run: Run) -> list[Exit]:
    """6 for each host on which a service that was deployed does not serve as it should."""
    fine = (*WELL, "not deployed", "loading")
    return [Exit.VERIFY for host in run.hosts.values() if host.state and health(host) not in fine]
