"""Whether a model fits, with what context, and how fast: before anything is downloaded."""

from __future__ import annotations

import difflib
import getpass
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import role_code, version
from .errors import Exit, Problem, StrokeError
from .estimate_targets import Target, everywhere, of_name, of_profile
from .options import Options
from .report import Run, worst
from .runner import Backend, RunnerBackend
from .session import Session

Json = dict[str, Any]
SCHEMA = "stroke/estimate/1"


@dataclass(frozen=True, slots=True)
class Question:
    """What the user asked."""

    model: str
    gpu: str | None = None
    memory_gib: int | None = None
    gpus: int = 1
    hosts: tuple[str, ...] = ()
    limit: tuple[str, ...] = ()
    extra_vars: tuple[str, ...] = ()
    ask_become_pass: bool = False
    engine: str | None = None
    context: int = 0
    concurrency: int = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """What holds for one target. `room`: requests as long as asked for that the cache holds."""

    target: Target
    engine: str
    budget: Json
    estimate: Json | None
    alternatives: list[Json]
    drawbacks: list[Json]
    room: int

    @property
    def fits(self) -> bool:
        """Whether the model fits, with the context and the requests that were asked for."""
        return bool(self.budget["fits"]) and self.room > 0


class Survey(Session):
    """Looks at hosts and shows nothing of it: the answer is told by estimate."""

    def look(self) -> tuple[Run, Exit]:
        """What the hosts are."""
        code = self.execute()
        return self.known, code

    def dispatch(self) -> tuple[Run, Exit]:
        run = self.play("inspect", "Looking at the hosts")
        return run, run.exit


def recipe_of(known: Json, name: str) -> Json:
    """The recipe of a model, by its name or the end of it."""
    find = role_code.decisions("hostprofile.recipes").find
    recipe: Json | None = find(known, name)
    ends = [m for m in known["models"] if m["id"].lower().endswith(f"/{name.lower()}")]
    if recipe is None and ends:
        recipe = ends[0]
    if recipe is None:
        near = _near(known, name)
        hint = f"did you mean {', '.join(near)}? " if near else ""
        raise StrokeError(
            f"the catalogue has no recipe for {name}", code="STK-438",
            hint=f"{hint}All of them: stroke catalog models",
        )  # fmt: skip
    return recipe


def _near(known: Json, name: str) -> list[str]:
    ids = {model["id"].lower(): model["id"] for model in known["models"]}
    word = name.lower().rsplit("/", 1)[-1]
    near = difflib.get_close_matches(name.lower(), ids, n=3, cutoff=0.5)
    near += [one for one in ids if word in one and one not in near]
    return [ids[one] for one in near[:3]]


def _engine(known: Json, question: Question, recipe: Json, target: Target) -> str:
    """The engine that can load the weights and has an image for the GPU."""
    gfx = target.gfx["name"]
    made = {image["engine"] for image in known["images"] if gfx in image["gfx"]}
    usual = sorted(recipe["engines"], key=lambda name: name != target.gfx["engine"])
    wanted = question.engine or next((name for name in usual if name in made), usual[0])
    if wanted not in recipe["engines"]:
        what = f"{recipe['id']} is for {' and '.join(recipe['engines'])}, not for {wanted}"
    elif wanted not in made:
        what = f"{recipe['id']} is for {wanted}, which has no image with code for {gfx}"
    else:
        return wanted
    hint = f"other weights of {recipe['family']}, by engine: stroke catalog models"
    raise StrokeError(what, code="STK-438", hint=hint)


def answer(known: Json, question: Question, recipe: Json, target: Target) -> Answer:
    """The budget and the speed of a model on one target."""
    wanted = _engine(known, question, recipe, target)
    plan = role_code.decisions("hostprofile.plan")
    done = plan.consider(
        known, target.pool, recipe, {"name": wanted, "definition": known["engines"][wanted]},
        target.gfx, target.bandwidth_gbs, context=question.context, streams=question.concurrency,
    )  # fmt: skip
    budget = done["budget"]
    room = plan.room(budget, question.context)
    enough = question.context <= budget.get("context", 0) and room >= question.concurrency
    return Answer(
        target=target, engine=wanted, budget=budget, estimate=done["estimate"],
        alternatives=[_spoken(known, target, wanted, one) for one in done["alternatives"][:4]],
        drawbacks=role_code.decisions("hostprofile.recipes").drawbacks(recipe, target.gfx["name"]),
        room=room if enough else 0,
    )  # fmt: skip


def _spoken(known: Json, target: Target, engine: str, budget: Json) -> Json:
    """An alternative with its speed."""
    recipe = role_code.decisions("hostprofile.recipes").find(known, budget["recipe"])
    whole = role_code.decisions("hostprofile.plan").consider(
        known, target.pool, recipe, {"name": engine, "definition": known["engines"][engine]},
        target.gfx, target.bandwidth_gbs,
    )  # fmt: skip
    speed = whole["estimate"]
    return {
        "model": budget["recipe"],
        "weight_bytes": budget["weight_bytes"],
        "context": budget["context"],
        "sequences": budget["sequences"],
        "tokens_per_s": speed["single"] if speed else None,
    }


def document(question: Question, recipe: Json, answers: list[Answer], problems: list[Json],
             code: Exit) -> Json:  # fmt: skip
    """What `--json` prints; docs/estimate.schema.json describes it."""
    return {
        "schema": SCHEMA,
        "stroke": version(),
        "exit_code": int(code),
        "model": recipe["id"],
        "context": question.context,
        "concurrency": question.concurrency,
        "problems": problems,
        "targets": [
            {
                "name": one.target.name,
                "gfx": one.target.gfx["name"],
                "engine": one.engine,
                "fits": one.fits,
                "budget": one.budget,
                "estimate": one.estimate,
                "alternatives": one.alternatives,
                "drawbacks": one.drawbacks,
            }
            for one in answers
        ],
    }


def _targets(
    known: Json, question: Question, backend: Backend | None
) -> tuple[list[Target], list[Json], Exit, bool]:
    """Targets, problems of hosts, the exit code of the look, and whether it is every GPU."""
    if question.gpu:
        target = of_name(known, question.gpu, question.memory_gib, question.gpus)
        return [target], [], Exit.OK, False
    if question.hosts:
        return (*_of_hosts(known, question, backend or RunnerBackend()), False)
    facts = role_code.facts(Path("/"), known, getpass.getuser())
    here = of_profile(known, "this machine", role_code.profile(facts, known))
    return ([here], [], Exit.OK, False) if here else (everywhere(known), [], Exit.OK, True)


def _of_hosts(
    known: Json, question: Question, backend: Backend
) -> tuple[list[Target], list[Json], Exit]:
    from .console import Console

    # The model that a host has now does not matter, and must not refuse the look at it.
    options = Options(
        hosts=question.hosts, limit=question.limit, ask_become_pass=question.ask_become_pass,
        extra_vars=(*question.extra_vars, "inference_server_model="),
    )  # fmt: skip
    run, code = Survey("inspect", options, backend, Console()).look()
    targets, problems = [], []
    for host in run.hosts.values():
        target = of_profile(known, host.name, host.profile)
        if target:
            targets.append(target)
        problems += [{"host": host.name, **_plain(one)} for one in host.all_problems]
    return targets, problems, code


def _plain(problem: Problem) -> Json:
    return {"code": problem.code, "what": problem.what, "hint": problem.hint}


def _answers(known: Json, question: Question, recipe: Json, targets: list[Target],
             overview: bool) -> Iterator[Answer]:  # fmt: skip
    """An answer for each target; in an overview those that the engine is not made for are left."""
    for target in targets:
        try:
            yield answer(known, question, recipe, target)
        except StrokeError:
            if not overview:
                raise


def estimate(question: Question, *, as_json: bool, backend: Backend | None = None) -> Exit:
    """Run the command: 0 it fits, 5 it does not fit somewhere, 2 nobody knows model or GPU."""
    from . import estimate_view as view
    from .console import Console

    console = Console(as_json=as_json)
    known = role_code.catalog()
    recipe = recipe_of(known, question.model)
    targets, problems, code, overview = _targets(known, question, backend)
    answers = list(_answers(known, question, recipe, targets, overview))
    misfits = [] if overview else [one for one in answers if not one.fits]
    code = worst([code, Exit.REFUSED if misfits else Exit.OK])
    if overview:
        console.say("This machine has no AMD GPU that serves models; this is what others would do.")
        console.result(view.overview(recipe, answers))
    else:
        console.result(view.report(recipe, question, answers))
    for one in problems:
        console.problem(Problem(one["code"], f"{one['host']}: {one['what']}", one["hint"]))
    console.document(document(question, recipe, answers, problems, code))
    _next(console, question, recipe, answers, overview)
    return code


def _next(console: Any, question: Question, recipe: Json, answers: list[Answer],
          overview: bool) -> None:  # fmt: skip
    if overview:
        console.hint(
            "The whole budget on one of them:",
            f"stroke estimate {recipe['id']} --gpu "
            f"{next((one.target.gfx['name'] for one in answers if one.fits), 'gfx1151')}",
        )
        return
    if answers and all(one.fits for one in answers):
        settings: tuple[str, ...] = (f"inference_server_model={recipe['id']}",)
        if any(one.engine != one.target.gfx["engine"] for one in answers):
            settings += (f"inference_server_engine={answers[0].engine}",)
        hosts = question.hosts or (("hosts.ini",) if question.gpu else ())
        options = Options(hosts=hosts, limit=question.limit, extra_vars=settings)
        console.hint("To serve it:", options.again("provision"))
