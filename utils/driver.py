"""The driver: options, the chain of stages, and what to type when one fails. Runs as `python -m utils.driver`."""
import argparse
import difflib
import logging
import os
import shlex
import sys
import time
import traceback
from pathlib import Path
from typing import Dict, List, NoReturn, Optional, Sequence

from utils import config as configuration
from utils import contract
from utils.errors import UserError
from utils.files import ROOT
from utils.stages import BY_NAME, STAGES, Plan, plan

DEFAULT_RECIPE = "wordvec_hybrid"
log = logging.getLogger("nuptse")


class Parser(argparse.ArgumentParser):
    """Refuses an unknown option with the nearest one and the list of those that exist."""

    def error(self, message: str) -> NoReturn:
        known = sorted(option for action in self._actions for option in action.option_strings if option.startswith("--"))
        unknown = message.partition("unrecognized arguments: ")[2].split()
        near = difflib.get_close_matches(unknown[0].partition("=")[0], known, 1) if unknown else []
        hint = f" (did you mean {near[0]}?)" if near else ""
        self.exit(2, f"error: {message}{hint}\noptions: {' '.join(known)}\n")


def parser(stages: bool) -> Parser:
    """The options of run.sh (`stages`), or of a single `python -m steps.<name>`."""
    table = "\n".join(f"  {s.number}  {s.name:<9} {s.makes}" for s in STAGES)
    p = Parser(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
               prog="./run.sh" if stages else None, epilog=f"stages:\n{table}\n\nrecipes: {', '.join(configuration.recipe_names())}")
    p.add_argument("--corpus", required=not stages, metavar="NAME", help=argparse.SUPPRESS if stages else "a folder of egs/, or its path")
    p.add_argument("--recipe", default=DEFAULT_RECIPE, metavar="NAME", help=f"a file of recipes/ (default {DEFAULT_RECIPE})")
    if stages:
        p.add_argument("--stage", metavar="N", help="number or name of the first stage (default 0)")
        p.add_argument("--stop-stage", metavar="N", help="number or name of the last stage (default 9)")
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a configuration key; may be repeated")
    p.add_argument("--nj", type=_positive, default=len(os.sched_getaffinity(0)), metavar="N", help="parallel processes (default: the cores)")
    p.add_argument("--threads", type=_positive, default=len(os.sched_getaffinity(0)), metavar="N",
                   help="threads of training (default: the cores; 1 where the machine is busy)")
    p.add_argument("--device", default="cpu", metavar="NAME", help="cpu, cuda, cuda:1 ... (default cpu)")
    return p


def main(arguments: Optional[Sequence[str]] = None, only: Optional[str] = None) -> int:
    """Run the stages asked for, each in a process of its own; returns the exit status.

    Args:
      arguments: the command line (default: sys.argv).
      only: the name of the one stage to run, for `python -m steps.<name>`.
    """
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    options = parser(stages=only is None).parse_args(arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stderr, level=logging.WARNING)
    log.setLevel(logging.INFO)
    try:
        corpus_dir = _corpus_dir(options.corpus)
        config = configuration.load(options.recipe, corpus_dir, options.set)
        exp = Path(os.environ.get("NUPTSE_EXP", "exp")) / corpus_dir.name
        first = _number(only or getattr(options, "stage", None), 0)
        last = first if only else _number(options.stop_stage, STAGES[-1].number)
        if last < first:
            raise UserError(f"--stop-stage {last} lies before --stage {first}")
        plans = plan(config, exp)
        _need_earlier(plans, first, last, options, corpus_dir)
    except UserError as error:
        log.error("error: %s", error)
        return 2
    for stage in STAGES[first:last + 1]:
        status = _run_stage(plans[stage.name], options, corpus_dir)
        if status:
            log.error("to go on: %s", _command(options, corpus_dir, stage.number, last))
            return status
    return 0


def _run_stage(planned: Plan, options: argparse.Namespace, corpus_dir: Path) -> int:
    title = f"stage {planned.stage.number} {planned.stage.name}"
    if planned.complete:
        log.info("%s: complete (%s)", title, planned.out)
        return 0
    log.info("%s: %s", title, planned.stage.makes)
    started = time.perf_counter()
    _preload()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()  # a process a stage: peak memory is the stage's own, and the imports are paid once
    if child == 0:
        os._exit(_in_child(planned, options, corpus_dir))
    try:
        _, status = os.waitpid(child, 0)
    except KeyboardInterrupt:  # the child had the same Ctrl-C
        os.waitpid(child, 0)
        log.error("%s: interrupted; what is finished stays", title)
        return 130
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        log.error("%s: killed by signal %d%s", title, -code, " (out of memory? see dmesg)" if code == -9 else "")
        return 128 - code
    if code == 0:
        log.info("%s: done in %.1f s (%s)", title, time.perf_counter() - started, planned.out)
    return code


def _in_child(planned: Plan, options: argparse.Namespace, corpus_dir: Path) -> int:
    try:
        contract.make(planned, corpus=corpus_dir.name, corpus_dir=corpus_dir, recipe=options.recipe, overrides=tuple(options.set),
                      nj=options.nj, threads=options.threads, device=options.device)
        return 0
    except KeyboardInterrupt:
        return 130
    except UserError as error:
        log.error("error: stage %d %s: %s", planned.stage.number, planned.stage.name, error)
    except OSError as error:
        if error.errno not in (28, 122):  # ENOSPC, EDQUOT
            traceback.print_exc()
        else:
            log.error("error: stage %d %s: the disk is full (%s); free space, or set NUPTSE_EXP to a folder with more",
                      planned.stage.number, planned.stage.name, error.filename or planned.partial)
    except BaseException:  # the process ends here: whatever it was, say it and report failure
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 1


def _preload() -> None:
    """Import what most stages need, before the first fork."""
    import lhotse  # noqa: F401
    import torch  # noqa: F401
    try:
        import k2  # noqa: F401
    except ImportError:  # training can do without (loss.backend=torch); stages that can't say so
        pass


def _need_earlier(plans: Dict[str, Plan], first: int, last: int, options: argparse.Namespace, corpus_dir: Path) -> None:
    needed = {name for stage in STAGES[first:last + 1] for name in stage.reads if BY_NAME[name].number < first}
    missing = [s for s in STAGES[:first] if s.name in needed and not plans[s.name].complete]
    if missing:
        names = ", ".join(f"{s.number} {s.name}" for s in missing)
        raise UserError(f"stage {first} needs {names}, not complete for this configuration; make it with: "
                        + _command(options, corpus_dir, missing[0].number, first - 1))


def _command(options: argparse.Namespace, corpus_dir: Path, first: int, last: int) -> str:
    folder = corpus_dir if not corpus_dir.is_absolute() else Path(os.path.relpath(corpus_dir))
    words: List[str] = [str(folder / "run.sh"), "--recipe", options.recipe, "--stage", str(first)]
    if last != STAGES[-1].number:
        words += ["--stop-stage", str(last)]
    for item in options.set:
        words += ["--set", item]
    if options.device != "cpu":
        words += ["--device", options.device]
    return " ".join(shlex.quote(w) for w in words)


def _corpus_dir(name: Optional[str]) -> Path:
    folder = Path(name or "")
    if folder.name == name and not (folder / "corpus.yaml").exists():
        folder = Path("egs") / folder
    if not name or not (folder / "corpus.yaml").is_file():
        known = sorted(p.parent.name for p in Path("egs").glob("*/corpus.yaml"))
        raise UserError(f"no corpus '{name}'{configuration.nearest(name or '', known)}: egs/ has {', '.join(known)}")
    folder = folder.resolve()
    return folder.relative_to(ROOT) if ROOT in folder.parents else folder


def _number(text: Optional[str], default: int) -> int:
    if text is None:
        return default
    if text in BY_NAME:
        return BY_NAME[text].number
    if text.isdigit() and int(text) < len(STAGES):
        return int(text)
    raise UserError(f"no stage '{text}'{configuration.nearest(text, BY_NAME)}: there are "
                    + ", ".join(f"{s.number} {s.name}" for s in STAGES))


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
