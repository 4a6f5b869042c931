"""What of a running system differs from the wanted one."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]

NEWEST = "newest"  # what boot_guard_release says where no release is named


def _numbers(version: str) -> tuple[int, ...]:
    """The upstream part of a kernel release as numbers: 7.2.12+deb13-amd64 is (7, 2, 12)."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def boot_differences(
    facts: Json,
    kernel: str,
    arguments: list[str],
    release: str = "",
    absent: Sequence[str] = (),
) -> list[str]:
    """Sentences, kernel first; none means that no reboot is needed.

    `release` is the one that has to run, where one was chosen; `absent` are keys of arguments that
    nothing is to have.
    """
    found = []
    running = facts["kernel"]["running"]
    if release and running != release:
        found.append(f"kernel {running} runs, {release} is wanted")
    elif kernel and _numbers(running) < _numbers(kernel):
        found.append(f"kernel {running} runs, {kernel} or newer is wanted")
    words = facts["kernel"]["args"]
    for argument in arguments:
        key = argument.partition("=")[0]
        present = [word for word in words if word.partition("=")[0] == key]
        if present != [argument]:
            has = " ".join(present) or f"no {key}"
            found.append(f"the command line has {has}, {argument} is wanted")
    unwanted = [word for word in words if word.partition("=")[0] in absent]
    found += [f"the command line has {word}, which is not wanted" for word in unwanted]
    return found


def _age(release: str) -> tuple[tuple[int, ...], list[int]]:
    """What releases are sorted by: 6.8.0-45-generic is older than 6.8.0-110-generic."""
    upstream = _numbers(release)
    return upstream, [int(number) for number in re.findall(r"\d+", release)]


def newest_kernel(facts: Json) -> str:
    """Release of the newest installed kernel: what GRUB starts unless the admin chose otherwise."""
    releases = [kernel["release"] for kernel in facts["kernel"]["installed"]]
    return max(releases, key=_age, default=str(facts["kernel"]["running"]))


def chosen_kernel(facts: Json, release: str) -> str:
    """The release that was chosen by name or as the newest; empty where none was."""
    return newest_kernel(facts) if release == NEWEST else release


def boot_files(facts: Json, release: str = "") -> list[str]:
    """The kernel that will start and its initramfs, where its distribution puts them."""
    release = release or newest_kernel(facts)
    if facts.get("package_manager") != "dnf":
        return [f"/boot/vmlinuz-{release}", f"/boot/initrd.img-{release}"]
    if facts["boot"].get("layout") == "systemd-boot":
        # Its copies are in a folder whose name only kernel-install knows.
        return [f"/usr/lib/modules/{release}/vmlinuz"]
    return [f"/boot/vmlinuz-{release}", f"/boot/initramfs-{release}.img"]


def boot_repair(facts: Json) -> str:
    """What makes a missing initramfs and its boot entry anew."""
    if facts.get("package_manager") == "dnf":
        return "sudo kernel-install add-all"
    if facts["boot"].get("layout") == "systemd-boot":
        return "sudo update-initramfs -c -k all"
    return "sudo update-initramfs -c -k all and sudo update-grub"


def boot_question(facts: Json) -> str:
    """What shows which entry starts next."""
    layout = facts["boot"].get("layout")
    if layout == "systemd-boot":
        return "sudo bootctl list"
    if layout == "grub-bls":
        return "sudo grubby --info=DEFAULT"
    return "grep -E 'GRUB_DEFAULT|saved_entry' /etc/default/grub /boot/grub/grubenv"


def boot_mode(probe: Json, attended: bool) -> str:
    """guarded, attended or refused: see vars/main.yml."""
    if not probe.get("obstacles"):
        return "guarded"
    return "attended" if attended else "refused"


def boot_problem(probe: Json, attended: bool) -> list[Json]:
    """The refusal of a host that could be left without a system; none where there is a way back."""
    obstacles = probe.get("obstacles") or []
    if obstacles and not attended:
        return [
            {
                "code": "STK-420",
                "what": "a reboot is needed, and the host could not come back from a bad one "
                f"by itself: {'; '.join(obstacles)}",
                "hint": "if somebody can get at its console, set boot_guard_attended: true "
                "in the inventory",
            }
        ]
    short = int(probe.get("copies_bytes") or 0) - int(probe.get("boot_free_bytes") or 0)
    if not obstacles and short > 0:
        missing = short // 1024**2 + 1
        place = probe.get("boot") or "/boot"
        what = f"{place} lacks {missing} MiB for copies of the running kernel and initramfs"
        hint = (
            "remove kernels not needed (apt list --installed 'linux-image-*', rpm -q kernel-core) "
            "or enlarge it"
        )
        return [{"code": "STK-403", "what": what, "hint": hint}]
    return []


def boot_sentence(problem: Json) -> str:
    """A problem as one line."""
    return f"{problem['code']}: {problem['what']}. Hint: {problem['hint']}"


def boot_plan(probe: Json, attended: bool) -> Json:
    """What will happen at the reboot, for the plan."""
    mode = boot_mode(probe, attended)
    if mode == "guarded":
        said = [
            "the new system is started once, and kept only if it proves itself; "
            "otherwise the host returns to the one that runs now, without a hand on it"
        ]
        if not probe.get("watchdog"):
            said.append(
                "there is no watchdog device: the kernel's own is used in the trial, and "
                "a processor that stands still for good would need a hand"
            )
    elif mode == "attended":
        said = [
            "a plain reboot, as boot_guard_attended allows: the host cannot come back by itself, "
            f"because {'; '.join(probe['obstacles'])}"
        ]
    else:
        said = [problem["what"] for problem in boot_problem(probe, attended)]
    state = probe.get("state") or {}
    if probe.get("open") and state.get("why"):
        said.append(f"the last attempt was taken back: {state['why']}")
    return {"rebooted": False, "outcome": "planned", "mode": mode, "sentences": said}


def boot_reached(tags: Sequence[str], skipped: Sequence[str]) -> bool:
    """Whether a run with these tags gets as far as the reboot."""
    own = {"reboot", "boot_guard"}
    return bool({"all", *own} & set(tags)) and not own & set(skipped)


def _answer(stdout: str) -> Json:
    try:
        answer = json.loads(stdout)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def module_words(options: dict[str, str]) -> list[str]:
    """Module options as kernel arguments, which modprobe(8) goes by, too."""
    return [f"{module}.{word}" for module, text in options.items() for word in str(text).split()]


def boot_decided(stdout: str) -> bool:
    """Whether asking again could bring another answer of a trial."""
    answer = _answer(stdout)
    return answer.get("running") != "trial" or answer.get("phase") not in ("trial", "healthy")


def boot_confirmed(stdout: str) -> bool:
    """Whether the trial is what runs, and was confirmed."""
    answer = _answer(stdout)
    return answer.get("running") == "trial" and answer.get("phase") in ("confirmed", "committing")


def boot_ended(stdout: str) -> bool:
    """Whether the host knows how its trial ended: confirmed, or another system runs."""
    answer = _answer(stdout)
    told = bool(answer) and not answer.get("problem", {}).get("passing")  # a full disk, say
    return boot_confirmed(stdout) or (told and answer.get("running") != "trial")


def boot_reason(stdout: str) -> str:
    """Why a trial was not kept, as its guard says."""
    answer = _answer(stdout)
    problem = answer.get("problem") or {}
    return str(answer.get("why") or problem.get("what") or "its guard does not say why")


def boot_left(stdout: str, kernel: str) -> str:
    """What became of a trial that was not confirmed, as a sentence with its code.

    Only a host that says so itself has gone back.
    """
    answer, reason = _answer(stdout), boot_reason(stdout)
    if answer.get("running") == "lkg":
        return (
            "STK-510: the new system did not prove itself, and the host went back to kernel "
            f"{kernel}, which it serves with as before: {reason}. Hint: mend that, or see "
            "journalctl --boot=-1 on the host, then run stroke again: it tries once more"
        )
    if answer.get("running") == "" and "problem" not in answer:
        return (
            f"STK-511: kernel {kernel} runs, which is neither the trial nor the last known good "
            "system: somebody chose another entry, or another boot loader started the host. "
            "Hint: see what starts (stroke status), then run stroke again"
        )
    return (
        f"STK-511: it is not known whether the new system can be kept: {reason}. If it runs still, "
        "it goes back by itself. Hint: stroke status tells; mend that, then run stroke again"
    )


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {
            "boot_confirmed": boot_confirmed,
            "boot_decided": boot_decided,
            "boot_differences": boot_differences,
            "boot_ended": boot_ended,
            "boot_files": boot_files,
            "boot_left": boot_left,
            "boot_mode": boot_mode,
            "boot_plan": boot_plan,
            "boot_problem": boot_problem,
            "boot_question": boot_question,
            "boot_reached": boot_reached,
            "boot_reason": boot_reason,
            "boot_repair": boot_repair,
            "boot_sentence": boot_sentence,
            "chosen_kernel": chosen_kernel,
            "module_words": module_words,
            "newest_kernel": newest_kernel,
        }
