#!/usr/bin/python
"""Send streamed completions to an OpenAI-compatible server and say when each token came."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: completion_load
short_description: Load an OpenAI-compatible server with streamed completions, and time each token
description:
  - Keeps I(concurrency) requests under way until I(requests) have been answered. Every prompt is
    new, so that no cache of prefixes answers for the model, and every answer is as long as asked.
  - Runs beside the server, so that no network and no tunnel is part of the times.
  - Changes nothing.
options:
  url:
    description: Address of the API, with its version (http://127.0.0.1:8000/v1).
    type: str
    required: true
  model:
    description: Name that requests use for the model.
    type: str
    required: true
  api_key_file:
    description: File with the API key. A file that does not exist means that no key is needed.
    type: path
  concurrency:
    description: Requests at the same time.
    type: int
    default: 1
  requests:
    description: Requests that are measured. 0 only warms the server up.
    type: int
    default: 0
  warmup:
    description: Requests before those that are measured.
    type: int
    default: 0
  prompt_tokens:
    description: Length of each prompt; the server's own count is what is reported.
    type: int
    default: 512
  output_tokens:
    description: Length of each answer.
    type: int
    default: 128
  words:
    description: Words in a prompt, as returned by an earlier run. 0 asks the server.
    type: int
    default: 0
  seed:
    description: Start of the random words; another seed makes other prompts.
    type: str
    default: ""
  timeout:
    description: Seconds after which what is not answered counts as an error.
    type: int
    default: 900
attributes:
  check_mode:
    support: full
author: stroke
"""

EXAMPLES = r"""
- name: Measure eight streams
  completion_load:
    url: http://127.0.0.1:8000/v1
    model: qwen
    concurrency: 8
    requests: 32
"""

RETURN = r"""
words:
  description: Words in a prompt of the wanted length.
  returned: success
  type: int
seconds:
  description: From the first request to the last token.
  returned: success
  type: float
client_cpu:
  description: Share of one processor that the measuring itself took, 0 to 1.
  returned: success
  type: float
gaps:
  description: Time between two pieces of an answer in seconds, as count, p50, p95, p99 and max.
  returned: success
  type: dict
requests:
  description:
    - One entry per request. sent, first and last are seconds since the first request was sent;
      input and output are tokens; error is there when there was no whole answer.
  returned: success
  type: list
  elements: dict
"""

# Short words of one token in most vocabularies; their number is corrected by the server's count.
TEXT = """
time year people way day man thing woman life child world school state family student group country
problem hand part place case week company system program question work government number night point
home water room mother area money story fact month lot right study book"""
WORDS = TEXT.split()
PATIENCE = 60.0  # seconds without a byte before the deadline of all, at least


class LoadError(Exception):
    """Why a request was not answered."""


class Client:
    """Knows the server; one connection for each request, as separate users have."""

    def __init__(self, params: dict[str, Any]) -> None:
        address = urlsplit(params["url"])
        if address.scheme not in ("http", "https") or not address.hostname:
            raise LoadError(f"not an address of an API: {params['url']}")
        self.host, self.port = address.hostname, address.port
        self.tls = address.scheme == "https"
        self.path = address.path.rstrip("/") + "/completions"
        self.model = params["model"]
        self.headers = {"Content-Type": "application/json", "Connection": "close"}
        key = Path(params["api_key_file"]) if params["api_key_file"] else None
        if key and key.is_file():
            self.headers["Authorization"] = f"Bearer {key.read_text(encoding='utf-8').strip()}"

    def ask(self, prompt: str, tokens: int, began: float, patience: float) -> dict[str, Any]:
        """Return the times and counts of one answer; times count from `began`."""
        body = {
            "model": self.model,
            "prompt": prompt,
            "max_tokens": tokens,
            "min_tokens": tokens,
            "ignore_eos": True,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        data = json.dumps(body).encode()
        sent = time.perf_counter()
        connection = self._connect(patience)
        try:
            connection.request("POST", self.path, data, self.headers)
            response = connection.getresponse()
            if response.status != 200:
                said = response.read(400).decode("utf-8", "replace").strip()
                raise LoadError(f"HTTP {response.status}: {' '.join(said.split())[:200]}")
            times, usage = _tokens(response)
        finally:
            connection.close()
        if not times:
            raise LoadError("the answer has no tokens")
        return {
            "sent": sent - began,
            "first": times[0] - began,
            "last": times[-1] - began,
            "input": int(usage.get("prompt_tokens") or 0),
            "output": int(usage.get("completion_tokens") or len(times)),
            "gaps": [after - before for before, after in zip(times, times[1:])],
        }

    def _connect(self, patience: float) -> http.client.HTTPConnection:
        if self.tls:
            return http.client.HTTPSConnection(self.host, self.port, timeout=patience)
        return http.client.HTTPConnection(self.host, self.port, timeout=patience)


def _tokens(response: http.client.HTTPResponse) -> tuple[list[float], dict[str, Any]]:
    """Return when each piece came, and the server's own counts."""
    times: list[float] = []
    usage: dict[str, Any] = {}
    ended = 0.0
    for line in response:
        now = time.perf_counter()
        if not line.startswith(b"data:"):
            continue
        text = line[5:].strip()
        if text == b"[DONE]":
            break
        event = json.loads(text)
        if event.get("error"):
            raise LoadError(f"the server says {str(event['error'])[:200]}")
        usage = event.get("usage") or usage
        for choice in event.get("choices") or []:
            # The last piece of some servers only says that the answer ends.
            if choice.get("text") or choice.get("finish_reason") is None:
                times.append(now)
            ended = now
    # A single token may be no text yet, as half of a character is.
    if not times and usage.get("completion_tokens"):
        times.append(ended)
    return times, usage


class Prompts:
    """Random words, other ones for each request, the same ones for the same seed."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)  # noqa: S311  # not a secret
        self._lock = threading.Lock()

    def make(self, words: int) -> str:
        """Return a prompt; its first words are a number, so no two prompts begin alike."""
        with self._lock:
            number = self._random.randrange(10**8)
            return " ".join([str(number), *self._random.choices(WORDS, k=max(0, words - 1))])


def calibrate(client: Client, prompts: Prompts, wanted: int) -> int:
    """Return how many words make a prompt of the wanted number of tokens, by asking the server."""
    # A vocabulary of bytes makes six tokens of a word: the question must fit the context, too.
    words = max(1, wanted // 8)
    counted = client.ask(prompts.make(words), 1, time.perf_counter(), PATIENCE * 5)["input"]
    return max(1, round(words * wanted / counted)) if counted else words


def load(client: Client, prompts: Prompts, params: dict[str, Any], words: int) -> dict[str, Any]:
    """Keep the wanted number of requests under way until all are answered."""
    found: list[dict[str, Any]] = []
    turns = itertools.count()
    texts = [prompts.make(words) for _ in range(params["requests"])]
    cpu, began = time.process_time(), time.perf_counter()
    deadline = began + params["timeout"]

    def work() -> None:
        while True:
            turn = next(turns)
            if turn >= len(texts):
                return
            sent = time.perf_counter()
            try:
                if sent >= deadline:
                    raise LoadError(f"not sent within {params['timeout']} s")
                answer = client.ask(texts[turn], params["output_tokens"], began, deadline - sent)
            except (LoadError, OSError, ValueError, http.client.HTTPException) as error:
                answer = {"sent": sent - began, "error": _words(error)}
            found.append(answer)

    threads = [
        threading.Thread(target=work, daemon=True)
        for _ in range(min(params["concurrency"], len(texts)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = max((answer["last"] for answer in found if "last" in answer), default=0.0)
    gaps = sorted(gap for answer in found for gap in answer.pop("gaps", []))
    spent = time.process_time() - cpu
    return {
        "words": words,
        "seconds": round(seconds, 6),
        "client_cpu": round(spent / seconds, 4) if seconds else 0.0,
        "gaps": {
            "count": len(gaps),
            "p50": percentile(gaps, 50),
            "p95": percentile(gaps, 95),
            "p99": percentile(gaps, 99),
            "max": round(gaps[-1], 6) if gaps else None,
        },
        "requests": [
            {
                key: round(value, 6) if isinstance(value, float) else value
                for key, value in a.items()
            }
            for a in sorted(found, key=lambda answer: float(answer["sent"]))
        ],
    }


def percentile(values: list[float], percent: float) -> float | None:
    """Return a percentile of sorted values, between the two nearest where it falls between them."""
    if not values:
        return None
    at = (len(values) - 1) * percent / 100
    low = int(at)
    high = min(low + 1, len(values) - 1)
    return round(values[low] + (values[high] - values[low]) * (at - low), 6)


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "model": {"type": "str", "required": True},
            "api_key_file": {"type": "path", "no_log": False},
            "concurrency": {"type": "int", "default": 1},
            "requests": {"type": "int", "default": 0},
            "warmup": {"type": "int", "default": 0},
            "prompt_tokens": {"type": "int", "default": 512, "no_log": False},
            "output_tokens": {"type": "int", "default": 128, "no_log": False},
            "words": {"type": "int", "default": 0},
            "seed": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 900},
        },
        supports_check_mode=True,
    )
    params = module.params
    url = params["url"]
    try:
        client, prompts = Client(params), Prompts(params["seed"])
        words = params["words"] or calibrate(client, prompts, params["prompt_tokens"])
        for _ in range(params["warmup"]):
            client.ask(
                prompts.make(words), params["output_tokens"], time.perf_counter(), params["timeout"]
            )
        result = load(client, prompts, params, words)
    except (LoadError, ValueError, http.client.HTTPException) as error:
        module.fail_json(msg=f"STK-621: {url} gives no completions: {_words(error)}. Hint: {HINT}")
    except OSError as error:
        module.fail_json(msg=f"STK-620: no endpoint at {url}: {_words(error)}. Hint: {HINT}")
    errors = [answer["error"] for answer in result["requests"] if "error" in answer]
    if errors and len(errors) == len(result["requests"]):
        module.fail_json(msg=f"STK-621: {url} gives no completions: {errors[0]}. Hint: {HINT}")
    module.exit_json(changed=False, **result)


HINT = "stroke verify says which layer is wrong"


if __name__ == "__main__":
    main()
