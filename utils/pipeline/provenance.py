"""What the stages behind a result report: time, memory, real-time factors, versions, state of the code."""

from pathlib import Path
from typing import Any, Dict, List, Mapping

from utils.core.errors import UserError
from utils.core.files import read_json
from utils.pipeline.contract import stage_record

# stages with seconds and memory
MEASURED = ("data", "features", "lang", "synthesise", "vectors", "audit", "train", "decode", "propose", "rescore")


def stages_behind(inputs: Mapping[str, Path]) -> Dict[str, Dict[str, Any]]:
    """The records of the stages `inputs` and of all stages before them: stage name -> content of stage.json.

    Raises:
      UserError: a folder is gone, or two stages were made from different outputs of one stage.
    """
    found: Dict[str, Dict[str, Any]] = {}
    folders: Dict[str, Path] = {}
    waiting = list(inputs.items())
    while waiting:
        name, folder = waiting.pop()
        if folders.setdefault(name, folder) != folder:
            raise UserError(f"{folders[name]} and {folder} are both behind one result; delete the later stages and run again")
        if name not in found:
            try:
                found[name] = stage_record(folder)
            except FileNotFoundError:
                what = "is missing, and the record needs its time, memory and commit"
                raise UserError(f"{folder} {what}; run stage {name} again") from None
            waiting += [(name, folder.parent / made) for name, made in found[name]["inputs"].items()]
    return found


def describe(stages: Mapping[str, Mapping[str, Any]], here: Mapping[str, Any], fingerprint: str) -> Dict[str, Any]:
    """The part of a results record that comes from stage records.

    Args:
      stages: from `stages_behind`.
      here: `git_state` when scoring.
      fingerprint: of the stage score.
    """
    made = {name: stages[name] for name in MEASURED if name in stages}
    train = stages.get("train", stages["decode"])  # a ready-made system is not trained
    versions: Dict[str, List[str]] = {}
    for stage in stages.values():
        for tool, version in stage["versions"].items():
            versions.setdefault(tool, []).append(version)
    return {
        "seconds": {name: stage["seconds"] for name, stage in made.items()},
        "peak_memory_mb": {name: stage["peak_memory_mb"] for name, stage in made.items()},
        "stage_threads": {name: stage["threads"] for name, stage in made.items()},
        "fingerprints": {**{name: stage["fingerprint"] for name, stage in made.items()}, "score": fingerprint},
        "versions": {tool: ", ".join(sorted(set(seen))) for tool, seen in sorted(versions.items())},
        "git_commit": here["git_commit"],
        "git_commits": {name: stage["git_commit"] for name, stage in {**made, "score": here}.items()},
        "git_clean": all(stage["git_clean"] for stage in (*made.values(), here)),
        "device": train["device"],
        "machine": train["machine"],
        "threads": train["threads"],
    }


def dirty_stages(stages: Mapping[str, Mapping[str, Any]]) -> List[str]:
    """The stages that ran with uncommitted changes, or outside git."""
    return [name for name in MEASURED if name in stages and not stages[name]["git_clean"]]


def real_time_factors(inputs: Mapping[str, Path]) -> Dict[str, float]:
    """Link -> processing seconds per second of audio on one core, from timing.json of features, decode, propose and rescore."""
    out: Dict[str, float] = {}
    for stage in ("features", "decode", "propose", "rescore"):
        path = inputs.get(stage, Path()) / "timing.json"
        for link, timing in (read_json(path) if path.exists() else {}).items():
            if timing["audio_seconds"] > 0:
                out[link] = round(timing["seconds"] / timing["audio_seconds"], 6)
    return out
