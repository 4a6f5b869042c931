"""An independent look at a benchmark: what went over the wire, seen from between client and server.

It shares no code with what it checks: asyncio instead of threads, its own reading of the stream,
its own arithmetic (statistics.quantiles). It relays the very requests that are measured, so a busy
machine disturbs both sides alike, and a difference is one of method.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import threading
import time
from dataclasses import dataclass, field


@dataclass
class Seen:
    """One request: when its first byte came from the client, and when each piece went back."""

    began: float
    pieces: list[float] = field(default_factory=list)
    prompt: int = 0
    answer: int = 0
    authorization: str = ""

    @property
    def ttft(self) -> float:
        return self.pieces[0] - self.began

    @property
    def tpot(self) -> float:
        return (self.pieces[-1] - self.pieces[0]) / (self.answer - 1)


class Observer:
    """A relay on the loopback interface, in a thread of its own."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.seen: list[Seen] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Observer:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._relay, "127.0.0.1", 0, limit=2**22)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()

    async def _relay(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        head = await near.readuntil(b"\r\n\r\n")
        seen = Seen(time.perf_counter())
        self.seen.append(seen)  # at once: the client is gone before the last line came
        far, out = await asyncio.open_connection("127.0.0.1", self.target, limit=2**22)
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            if name.lower() == b"authorization":
                seen.authorization = value.decode().strip()
        out.write(head + await near.readexactly(length))
        await out.drain()
        while line := await far.readline():
            back.write(line)
            await back.drain()
            self._note(seen, line)
        out.close()
        back.close()

    @staticmethod
    def _note(seen: Seen, line: bytes) -> None:
        if not line.startswith(b"data: {"):
            return
        event = json.loads(line.removeprefix(b"data: "))
        if counts := event.get("usage"):
            seen.prompt, seen.answer = counts["prompt_tokens"], counts["completion_tokens"]
        # A token may be no text yet, as half of a character is; the end of an answer is none.
        if any(choice["text"] or not choice.get("finish_reason") for choice in event["choices"]):
            seen.pieces.append(time.perf_counter())

    def measured(self, tokens: int) -> list[Seen]:
        """The requests with answers of that length: neither the calibration nor a failure."""
        return [seen for seen in self.seen if seen.answer == tokens and len(seen.pieces) > 1]


def figures(seen: list[Seen]) -> dict[str, float]:
    """The figures that are compared, worked out anew."""
    ttft, tpot = [one.ttft for one in seen], [one.tpot for one in seen]
    gaps = [b - a for one in seen for a, b in zip(one.pieces, one.pieces[1:], strict=False)]
    seconds = max(one.pieces[-1] for one in seen) - min(one.began for one in seen)
    cut = statistics.quantiles
    return {
        "ttft_p50": statistics.median(ttft),
        "ttft_p95": cut(ttft, n=100, method="inclusive")[94],
        "tpot_p50": statistics.median(tpot),
        "tpot_p95": cut(tpot, n=100, method="inclusive")[94],
        "itl_mean": statistics.fmean(gaps),
        "output_per_s": sum(one.answer for one in seen) / seconds,
        "total_per_s": sum(one.answer + one.prompt for one in seen) / seconds,
    }
