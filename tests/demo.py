"""`make demo`: the main job on a virtual machine made on the spot, and gone afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import yaml

NAME = "stroke-demo"
STROKE = (sys.executable, "-m", "stroke")
# A stock server has no curl, but it has Python.
ASK = """
import json, sys, urllib.request
messages = [{"role": "user", "content": "Hello!"}]
question = json.dumps({"model": MODEL, "max_tokens": 24, "messages": messages}).encode()
request = urllib.request.Request("http://127.0.0.1:8000/v1/chat/completions",
                                 question, {"Content-Type": "application/json"})
print(urllib.request.urlopen(request, timeout=300).read().decode())
"""


def step(words: str, *command: str, stdin: str | None = None, capture: bool = False) -> str:
    """Show a command, run it, show its time; a failure ends the demo with its exit code."""
    print(f"\n$ {words}", flush=True)
    began = time.monotonic()
    run = subprocess.run(
        command, check=False, text=True, input=stdin, stdout=subprocess.PIPE if capture else None
    )
    print(f"[{time.monotonic() - began:.0f} s]", flush=True)
    if run.returncode != 0:
        raise SystemExit(run.returncode)
    return run.stdout or ""


def up() -> Path:
    words = f"stroke sandbox up --name {NAME}"
    return Path(step(words, *STROKE, "sandbox", "up", "--name", NAME, capture=True).strip())


def completion(inventory: Path) -> str:
    host = yaml.safe_load(inventory.read_text(encoding="utf-8"))["all"]["hosts"][NAME]
    program = ASK.replace("MODEL", repr(host["inference_server_model"]))
    answer = step(
        f"stroke sandbox ssh --name {NAME} -- python3 -  "
        "# POST http://127.0.0.1:8000/v1/chat/completions",
        *STROKE, "sandbox", "ssh", "--name", NAME, "--", "python3", "-",
        stdin=program, capture=True,
    )  # fmt: skip
    return json.dumps(json.loads(answer), indent=2, ensure_ascii=False)


def main() -> int:
    began = time.monotonic()
    # What a demo that was killed may have left behind.
    subprocess.run(
        [*STROKE, "sandbox", "down", "--name", NAME], check=False,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        inventory = up()
        step(f"stroke provision {inventory} --yes", *STROKE, "provision", str(inventory), "--yes")
        print(completion(inventory))
        print("\nThe model is tiny and random, so its words mean nothing; the rest is real.")
    finally:
        step(f"stroke sandbox down --name {NAME}", *STROKE, "sandbox", "down", "--name", NAME)
    print(f"\nDone in {time.monotonic() - began:.0f} s. Next: README.md, your own host.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
