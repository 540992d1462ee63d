"""The driver: options, the chain of stages, and what to type when one fails. Runs as `python -m utils.pipeline.driver`.

Help and refused options need the standard library alone, so that a fresh clone answers before anything is installed. With
NUPTSE_CHECK_OPTIONS=1 it only checks what can be checked that way: status 0 after help, 2 after a refusal, 3 otherwise.
"""

import argparse
import logging
import os
import shlex
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Callable, Dict, Optional, Sequence, Set, Tuple

from utils.core.device import check_device
from utils.core.errors import UserError
from utils.core.files import ROOT, relative, unwritable
from utils.core.options import Parser, device, physical_cores, positive
from utils.core.process import apart
from utils.executors import choice
from utils.pipeline import config as configuration
from utils.pipeline.machine import check_machine
from utils.pipeline.place import Place, check_shared, find_place
from utils.pipeline.stages import BY_NAME, PROPOSE, STAGES, SYNTHESISE, Plan, plan

DEFAULT_RECIPE = "wordvec_hybrid"
TRAINS = BY_NAME["train"]
log = logging.getLogger("nuptse")


def parser(stages: bool, of_corpus: bool = True, trains: bool = False) -> Parser:
    """The options of run.sh (`stages`), or of a single `python -m steps.<name>`.

    of_corpus: whether it needs a corpus; trains: whether it is stage 5.
    """
    table = "\n".join(f"  {s.number}  {s.name:<9} {s.makes}" for s in STAGES)
    p = Parser(
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        prog="./run.sh" if stages else None,
        epilog=f"stages:\n{table}\n\nrecipes: {', '.join(configuration.recipe_names())}",
    )
    p.add_argument(
        "--corpus",
        required=of_corpus and not stages,
        metavar="NAME",
        help=argparse.SUPPRESS if stages else "a folder of egs/, or its path",
    )
    p.add_argument("--recipe", default=DEFAULT_RECIPE, metavar="NAME", help=f"a file of recipes/ (default {DEFAULT_RECIPE})")
    if stages:
        p.add_argument("--stage", metavar="N", help="number or name of the first stage (default 0)")
        p.add_argument("--stop-stage", metavar="N", help="number or name of the last stage (default 9)")
    p.add_argument(
        "--config", metavar="FILE", help="a YAML file of settings, such as best.yaml of steps.sweep; --set overrides it"
    )
    p.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of recipes/base.yaml; may be repeated"
    )
    p.add_argument(
        "--nj", type=positive, default=len(os.sched_getaffinity(0)), metavar="N", help="parallel processes (default: the cores)"
    )
    p.add_argument(
        "--threads",
        type=positive,
        default=physical_cores(),
        metavar="N",
        help="threads of training (default: the physical cores; 1 is faster on a busy machine)",
    )
    p.add_argument("--device", type=device, default="cpu", metavar="NAME", help="cpu, cuda, cuda:1 ... (default cpu)")
    if stages or trains:
        p.add_argument(
            "--world-size",
            type=positive,
            metavar="N",
            help="processes that train together, with N times the batches in a step; they share --nj and --threads (default 1)",
        )
    if stages:
        choice.add_options(p)
    return p


def main(arguments: Optional[Sequence[str]] = None, only: Optional[str] = None) -> int:
    """Run the stages asked for, each in a process of its own; returns the exit status.

    Args:
      arguments: the command line (default: sys.argv).
      only: the name of the one stage to run, for `python -m steps.<name>`.
    """
    p = parser(stages=only is None, trains=only == "train")
    if only:
        choice.add_options(p)
    options = p.parse_args(arguments)
    here = _settle(options)
    place = Place()
    try:
        first = _number(only or getattr(options, "stage", None), 0)
        last = first if only else _number(options.stop_stage, STAGES[-1].number)
        if last < first:
            raise UserError(f"--stop-stage {last} comes before --stage {first}")
        if os.environ.get("NUPTSE_CHECK_OPTIONS"):
            _check_names(options, here)
            return 3
        if only in (None, "train"):
            place = find_place(options.world_size, options.device, only == "train")
        corpus_dir, plans = planned_stages(options, here, place.size)

        def command(begin: int, end: int) -> str:
            return _command(options, ROOT / corpus_dir, here, begin, end)

        _need_earlier(plans, first, last, command)
        for planned in plans.values():
            if first <= planned.stage.number <= last and not planned.complete:
                check_machine(planned, options.device)
        choice.check(options)
    except UserError as error:
        log.error("error: %s", error)
        return 2
    number, status = first, 0
    try:
        for number in range(first, last + 1):
            parts = [planned for planned in plans.values() if planned.stage.number == number]
            if not parts:
                works = "; a bundle needs a trained network, as wordvec_hybrid and bpe_ctc have" * (number == STAGES[-1].number)
                log.info("stage %d %s: the recipe %s has none%s", number, STAGES[number].name, options.recipe, works)
            for planned in parts:
                status = status or _run_stage(planned, options, corpus_dir, place if number == TRAINS.number else Place())
            if status:
                break
        else:
            if number == STAGES[-1].number and parts:
                bundle = parts[-1].out / "bundle"
                log.info("recognise files: %s FILES_OR_FOLDERS", _bundle_command("steps.recognise", bundle, here))
                log.info("serve it, with a page: %s", _bundle_command("steps.serve", bundle, here))
            return 0
    except KeyboardInterrupt:  # between two stages
        status = 130
    if place.rank is None or place.size == 1:
        log.error("to continue: %s", command(number, last))
    elif place.rank == 0:
        log.error("to continue, start all %d processes again", place.size)
    return status


def with_plans(p: Parser, arguments: Optional[Sequence[str]], work: Callable[[argparse.Namespace, Dict[str, Plan]], None]) -> int:
    """Run `work` with a parser's options and the planned stages, which need not be complete; returns the exit status.

    Without a corpus among the options, there are no stages.

    `options.here` is the folder that the command was started in: relative paths in its own options start there.
    `options.corpus_dir` is the corpus's folder.
    """
    options = p.parse_args(arguments)
    options.here = _settle(options)
    try:
        processes = getattr(options, "world_size", None) or 1
        options.corpus_dir, plans = planned_stages(options, options.here, processes) if options.corpus else (None, {})
        work(options, plans)
    except UserError as error:
        log.error("error: %s", error)
        return 2
    except OSError as error:
        said = unwritable(error, _exp())
        if not said:
            raise
        log.error("error: %s", said)
        return 2
    return 0


def _settle(options: argparse.Namespace) -> Path:
    """Go to the repository's root, set logging up, and make paths absolute; returns the folder that the user started in."""
    here = Path(os.environ.get("NUPTSE_CWD") or os.getcwd())  # utils/run.sh changes to the repository's root
    options.set = [_from(here, item) for item in options.set]
    for name in ("NUPTSE_EXP", "NUPTSE_DOWNLOAD"):
        if os.environ.get(name):
            os.environ[name] = str(here / os.environ[name])
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    logging.basicConfig(format="%(message)s", stream=sys.stderr, level=logging.WARNING)
    log.setLevel(logging.INFO)
    return here


def planned_stages(options: argparse.Namespace, here: Path, processes: int = 1) -> Tuple[Path, Dict[str, Plan]]:
    """The corpus's folder, and its stages as these options configure them. Raises UserError for what is refused.

    processes: that train together. The model is that of one process with so many times the batches in a step, and so is its plan.
    """
    corpus_dir = _check_names(options, here)
    config = configuration.load(options.recipe, corpus_dir, options.set)
    if processes > 1:
        config["train"]["accumulate"] *= processes
        check_shared(config, options.recipe, processes)
        options.trained_with = [f"train.accumulate={config['train']['accumulate']}"]
    return corpus_dir, plan(config, _exp() / corpus_dir.name)


def _exp() -> Path:
    """The folder of what the stages make."""
    return Path(relative(Path(os.environ.get("NUPTSE_EXP") or "exp")))


def _check_names(options: argparse.Namespace, here: Path) -> Path:
    """The corpus's folder; raises UserError for an unknown corpus, recipe or key, without reading a configuration.

    The settings of --config come before those of --set, as if they had been given with it.
    """
    corpus_dir = _corpus_dir(options.corpus, here)
    configuration.recipe_file(options.recipe)
    if options.config and not os.environ.get("NUPTSE_CHECK_OPTIONS"):  # which may be without a reader of YAML
        options.set[:0] = [_from(here, item) for item in configuration.settings_of(here / options.config)]
        options.config = None
    configuration.check_overrides(options.set)
    return corpus_dir


def _run_stage(planned: Plan, options: argparse.Namespace, corpus_dir: Path, place: Place) -> int:
    title = _title(planned)
    if planned.complete:
        log.info("%s: complete (%s)", title, planned.out)
        return 0
    if not place.rank:
        log.info("%s: %s", title, planned.stage.makes)
    try:
        preload()
    except ImportError as error:
        log.error("error: %s; run utils/setup.sh, and python -m steps.doctor tells what is wrong", error)
        return 1
    sys.stdout.flush()
    sys.stderr.flush()
    # one process per stage: its peak memory is its own; forked after the imports, which are paid once
    code, stopped = apart(lambda: _work(planned, options, corpus_dir, place))
    if code == 0:
        return 128 + stopped if stopped else 0
    if stopped or code == 130:
        log.error("%s: interrupted; finished files are kept", title)
        return 128 + (stopped or signal.SIGINT)
    if code < 0:
        log.error("%s: killed by signal %d%s", title, -code, " (out of memory? see dmesg)" if code == -9 else "")
        return 128 - code
    return code


def _work(planned: Plan, options: argparse.Namespace, corpus_dir: Path, place: Place) -> int:
    """Make the stage, in its own process; logs any error and returns a status other than 0."""
    from utils.pipeline import contract

    title, started = _title(planned), time.perf_counter()
    try:
        if place.size == 1:  # each of several checks its own
            check_device(options.device)
        with choice.chosen(options, options.nj, planned.partial, log) as executor:
            made = (contract.take_part if place.rank else contract.make)(
                planned,
                corpus=corpus_dir.name,
                corpus_dir=corpus_dir,
                recipe=options.recipe,
                overrides=tuple(configuration.current_overrides([*options.set, *getattr(options, "trained_with", [])])),
                nj=options.nj,
                threads=options.threads,
                device=options.device,
                place=place,
                elsewhere=executor,
            )
        if place.rank:
            return 0
        if made:
            log.info("%s: done in %.1f s (%s)", title, time.perf_counter() - started, planned.out)
        else:
            log.info("%s: complete, made by another run (%s)", title, planned.out)
        return 0
    except KeyboardInterrupt:
        return 130
    except BaseException as error:
        said = unwritable(error, planned.partial) or (str(error) if isinstance(error, UserError) else "")
        if said:
            log.error("error: %s: %s", title, said)
        else:
            traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _title(planned: Plan) -> str:
    return f"stage {planned.stage.number} {planned.stage.name}"


def preload() -> None:
    """Import what most stages need, before the first fork."""
    import lhotse  # noqa: F401
    import torch  # noqa: F401

    try:
        import k2  # noqa: F401
    except ImportError:  # training works without (loss.backend=torch); other stages refuse to start
        pass


def _need_earlier(plans: Dict[str, Plan], first: int, last: int, command: Callable[[int, int], str]) -> None:
    """Raise UserError where `first` to `last` need earlier stages that are not complete; names the command that makes them."""
    missing: Set[str] = set()

    def look(planned: Plan) -> None:
        for name in planned.stage.reads:
            if plans[name].stage.number < first and not plans[name].complete and name not in missing:
                missing.add(name)
                look(plans[name])  # its own inputs are needed too

    for planned in plans.values():
        if first <= planned.stage.number <= last and not planned.complete:
            look(planned)
    if missing:
        stages = [planned.stage for planned in plans.values() if planned.stage.name in missing]
        names = ", ".join(f"{s.number} {s.name}" for s in stages)
        raise UserError(
            f"stage {first} needs {names}, not complete for this configuration; make it with: "
            + command(stages[0].number, stages[-1].number)
        )


def _command(options: argparse.Namespace, corpus_dir: Path, here: Path, first: int, last: int) -> str:
    """What to type in `here` to run the stages `first` to `last` with these options."""
    words = ["--stage", str(first)]
    if last != STAGES[-1].number:
        words += ["--stop-stage", str(last)]
    for item in options.set:
        words += ["--set", item]
    for name in ("nj", "threads", "device", "world_size", "executor", "scheduler"):
        value = getattr(options, name, None)
        if value != parser(stages=True).get_default(name):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return run_command(options.recipe, corpus_dir, here, *words)


def run_command(recipe: str, corpus_dir: Path, here: Path, *options: str) -> str:
    """What to type in `here` to run a recipe on a corpus with these options, in this environment."""
    words = [f"{name}={os.environ[name]}" for name in ("NUPTSE_EXP", "NUPTSE_DOWNLOAD") if os.environ.get(name)]
    script = min(os.path.relpath(corpus_dir / "run.sh", here), str(corpus_dir / "run.sh"), key=len)
    words += [script if "/" in script else f"./{script}", "--recipe", recipe, *options]
    return " ".join(_quoted(word) for word in words)


def _bundle_command(module: str, bundle: Path, here: Path) -> str:
    """What to type in `here` to run a module with a bundle."""
    python = Path(sys.executable)  # not what its link leads to
    words = [str(python.relative_to(ROOT) if ROOT in python.parents else python), "-m", module, "--bundle", str(bundle)]
    change = "" if here == ROOT else f"cd {shlex.quote(str(ROOT))} && "
    return f"{change}{' '.join(map(shlex.quote, words))}"


def _quoted(word: str) -> str:
    name, equals, value = word.partition("=")
    return f"{name}={shlex.quote(value)}" if equals and name.startswith("NUPTSE_") else shlex.quote(word)


def _corpus_dir(name: Optional[str], here: Path) -> Path:
    """The folder of a corpus: its name in egs/, or a path as seen from `here`."""
    for folder in (Path("egs") / (name or "."), here / (name or ".")):
        if name and (folder / "corpus.yaml").is_file():
            folder = folder.resolve()
            return folder.relative_to(ROOT) if ROOT in folder.parents else folder
    known = sorted(p.parent.name for p in Path("egs").glob("*/corpus.yaml"))
    raise UserError(f"no corpus '{name}'{configuration.nearest(name or '', known)}: egs/ has {', '.join(known)}")


def _from(here: Path, item: str) -> str:
    """A --set of a path, relative to `here`, made relative to the repository's root, where stages run."""
    key, _, value = item.partition("=")
    if key.strip() in configuration.PATHS and value and (here / value).exists():
        return f"{key}={relative(here / value)}"
    return item


def _number(text: Optional[str], default: int) -> int:
    if text is None:
        return default
    for stage in (*STAGES, SYNTHESISE, PROPOSE):
        if text == stage.name:
            return stage.number
    if text.isdecimal() and int(text) < len(STAGES):
        return int(text)
    raise UserError(
        f"no stage '{text}'{configuration.nearest(text, BY_NAME)}: there are " + ", ".join(f"{s.number} {s.name}" for s in STAGES)
    )


if __name__ == "__main__":
    sys.exit(main())
