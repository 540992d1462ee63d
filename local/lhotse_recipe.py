"""Published corpora through Lhotse's recipes: `data.options.recipe` names one, `lhotse_corpora/table.py` has them all.

Lhotse's `prepare_*` says which words are where; here its manifests become utterances. Official splits are kept; a dev or test
that a corpus does not have is held out of train. Transcripts without audio and audio without a transcript are left out, listed.
"""

import logging
import tempfile
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, Iterator, List, Sequence, Tuple, Union

import lhotse
from lhotse.audio.backend import audio_backend

from local.lhotse_corpora import archives
from local.lhotse_corpora.recipe import Asked, Headers, Recipe, Spoken
from local.lhotse_corpora.table import RECIPES
from utils.core.allowed import nearest
from utils.core.errors import UserError, printable
from utils.core.languages import canonical, family
from utils.core.splits import SPLITS
from utils.corpus import naming
from utils.corpus.held_out import check_share, hold_out
from utils.corpus.manifests import Corpus, LeftOut, Utterance, options

SHORTER = 0.01  # seconds by which an utterance may be shorter than its recording and still be all of it


def name(config: SimpleNamespace) -> str:
    """The name of the corpus in results: that of its recipe, its language where it has several, options that are not usual."""
    recipe, chosen = _chosen(config)
    own = chosen["recipe"] if len(recipe.languages) == 1 else f"{chosen['recipe']}-{config.language}"
    return naming.named(own, config, _known(config), said=("recipe",))


def place(config: SimpleNamespace) -> str:
    """What tells copies apart, which may be parts of the corpus: a digest of the folder's path."""
    return naming.place(Path(config.source)) if config.source else ""


def prepare(config: SimpleNamespace, downloads: Path, out: Path, nj: int, log: logging.Logger) -> Corpus:
    """Download the corpus, unless data.source names a copy or its publisher has to be asked, and read it."""
    recipe, chosen = _chosen(config)
    language = _of_corpus(recipe, config.language)
    with tempfile.TemporaryDirectory() as work:
        asked = Asked(Path(config.source), language, chosen, Path(work), downloads, [])
        if not config.source:
            asked = asked._replace(source=_downloaded(recipe, asked, downloads))
        elif not asked.source.is_dir():
            raise UserError(f"data.source={asked.source} is not a folder; it names {recipe.layout}")
        found = _read(recipe, asked, log)
        left_out = [item for item in found if isinstance(item, LeftOut)]
        utterances = [_utterance(item, config.language, asked) for item in found if isinstance(item, Spoken)]
    _compare(recipe, chosen, [*utterances, *left_out], log)
    utterances = _with_all_splits(utterances, recipe, chosen, log)
    return Corpus(utterances, left_out, asked.inputs)


def _chosen(config: SimpleNamespace) -> Tuple[Recipe, Dict[str, Any]]:
    chosen = options(config, _known(config))
    for split in SPLITS:
        parts = _parts(chosen, split)
        wrong = [part for part in parts if not isinstance(part, str) or "/" in part or not part]
        if wrong:
            raise UserError(f"data.options.{split}={parts}: must be a list of names of parts")
    return RECIPES[chosen["recipe"]], chosen


def _parts(chosen: Dict[str, Any], split: str) -> List[Any]:
    """The parts of the corpus that are a split: those of an option that lists them, else the split itself."""
    value = chosen.get(split)
    return value if isinstance(value, list) else [split]


def _of_corpus(recipe: Recipe, language: str) -> str:
    """What the corpus calls a language; raises UserError where it does not have it."""
    for form in (canonical, family):
        found = next((own for code, own in recipe.languages.items() if form(code) == form(language)), None)
        if found:
            return found
    known = sorted(recipe.languages)
    raise UserError(
        f"{recipe.title} has no language '{language}'{nearest(language, known)}; data.language is one of {', '.join(known)}"
    )


def _known(config: SimpleNamespace) -> Dict[str, Any]:
    """The options of the corpus with their defaults; raises UserError where data.options.recipe names none."""
    recipe = config.options.get("recipe", "")
    if recipe not in RECIPES:
        raise UserError(
            f"data.options.recipe={recipe}: there is no such corpus{nearest(str(recipe), list(RECIPES))}; there are "
            + ", ".join(sorted(RECIPES))
        )
    return {"recipe": recipe, **RECIPES[recipe].options}


def _downloaded(recipe: Recipe, asked: Asked, downloads: Path) -> Path:
    if recipe.archives is None:
        raise UserError(
            f"{recipe.title} can't be downloaded by everyone: ask for it at {recipe.page}, then name {recipe.layout} by "
            "--set data.source=FOLDER"
        )
    return archives.get(recipe.archives(asked), downloads)


def _read(recipe: Recipe, asked: Asked, log: logging.Logger) -> List[Any]:
    """What the recipe yields, with an error of Lhotse's in words; what Lhotse logs is counted."""
    try:
        with _remarks(log), audio_backend(Headers()):
            return list(recipe.read(asked))
    except UserError:
        raise
    except OSError as error:
        if error.errno is not None and not isinstance(error, FileNotFoundError):
            raise
        raise UserError(_unread(recipe, asked, error)) from error
    except Exception as error:  # Lhotse's recipes assert, look up and parse
        raise UserError(_unread(recipe, asked, error)) from error


def _unread(recipe: Recipe, asked: Asked, error: Exception) -> str:
    said = printable(" ".join(f"{type(error).__name__}: {error}".split()))
    return (
        f"{asked.source}: Lhotse {lhotse.__version__} can't read it as {recipe.title} ({said}); give it as it is published: "
        f"data.source=FOLDER names {recipe.layout}, see {recipe.page}"
    )


@contextmanager
def _remarks(log: logging.Logger) -> Iterator[None]:
    """Keep Lhotse's progress bars off the screen, and say how often it warned of what."""

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.WARNING and not record.name.startswith("nuptse"):
                said.append(record.getMessage())

    said: List[str] = []
    keep, root = Keep(), logging.getLogger()
    root.addHandler(keep)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield
    finally:
        root.removeHandler(keep)
        if said:
            log.info("Lhotse warned of %d things, first: %s", len(said), printable(said[0]))


def _utterance(one: Spoken, language: str, asked: Asked) -> Utterance:
    recording, supervision = one.recording, one.supervision
    channel = supervision.channel if isinstance(supervision.channel, int) else supervision.channel[0]
    source = next((s for s in recording.sources if channel in s.channels), recording.sources[0])
    path = Path(source.source)
    path = path.resolve() if asked.work in path.parents else path
    whole = supervision.start == 0 and supervision.duration >= recording.duration - SHORTER
    text = (supervision.text or "").strip()
    custom = supervision.custom or {}
    return Utterance(
        supervision.id,
        one.split,
        text,
        supervision.speaker if supervision.speaker not in (None, "", "N/A") else recording.id,
        language,
        path,
        0.0 if whole else supervision.start,
        None if whole else supervision.end,
        source.channels.index(channel) if len(source.channels) > 1 else None,
        recording.id if len(recording.sources) == 1 else f"{recording.id}-{channel}",
        custom.get("raw_text") or custom.get("orig_text") or text,
    )


def _compare(recipe: Recipe, chosen: Dict[str, Any], found: Sequence[Union[Utterance, LeftOut]], log: logging.Logger) -> None:
    """Say which splits have other utterances than were published: the copy is a part of the corpus, or damaged."""
    for split in SPLITS:
        parts = _parts(chosen, split)
        published = sum(recipe.published.get(part, 0) for part in parts)
        n = sum(item.split == split for item in found)
        if published and n != published and all(part in recipe.published for part in parts):
            log.warning("%s: %s has %d utterances in this copy, %d as published", recipe.title, " and ".join(parts), n, published)


def _with_all_splits(utterances: List[Utterance], recipe: Recipe, chosen: Dict[str, Any], log: logging.Logger) -> List[Utterance]:
    """The same utterances; a dev or test that the corpus does not have is held out of train."""
    there = {u.split for u in utterances}
    missing = [split for split in ("test", "dev") if split not in there]
    if not missing or "held_out" not in recipe.options:
        return utterances
    check_share(chosen["held_out"])
    log.info("%s has no %s", recipe.title, " and no ".join(missing))
    return hold_out(utterances, missing, chosen["held_out"], log)
