"""The program `stroke`: the one place that turns errors into text and exit codes."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line; a traceback is for --debug only."""
    from .cli import main as run

    try:
        code = run()
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        code = 130
    except Exception as error:
        code = _report(error)
    sys.exit(code)


def _report(error: Exception) -> int:
    from .console import Console
    from .errors import Problem, StrokeError, exit_of

    console = Console()
    if "--debug" in sys.argv or os.environ.get("STROKE_DEBUG"):
        console.traceback()
    if isinstance(error, StrokeError):
        console.problem(error.problem)
        return int(error.exit)
    what = f"stroke itself failed: {type(error).__name__}: {error}"
    console.problem(Problem("STK-901", what, "run again with --debug and report what it prints"))
    return int(exit_of("STK-901"))


if __name__ == "__main__":
    main()
