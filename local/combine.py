"""Several corpora as one, each with its own splits: `data.options.parts` names modules of local/ and recipes of lhotse_recipe,
with options of theirs.

    parts: [speechocean762, fsdd task=isolated digits=[2,4], timit]

data.source, if set, is a folder; what it has of a folder with a part's name is the data.source of that part. The others are
downloaded. Ids and speakers begin with the part's name.
"""

import hashlib
import logging
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List

import yaml

from local.lhotse_corpora.table import RECIPES
from utils.core import download
from utils.core.allowed import nearest
from utils.core.errors import UserError
from utils.corpus.manifests import Corpus, LeftOut, Utterance, options
from utils.corpus.naming import checked

OPTIONS: Dict[str, Any] = {"name": "", "parts": []}
HERE = Path(__file__).parent


def name(config: SimpleNamespace) -> str:
    """The name of the corpus in results: data.options.name, else the names of its parts."""
    parts = _parts(config)
    chosen = options(config, OPTIONS)["name"]
    return checked(
        chosen or "+".join(import_module(f"local.{own.module}").name(own) for own in parts.values()), "data.options.name"
    )


def place(config: SimpleNamespace) -> str:
    """What tells corpora of one name apart: a digest of the parts and their options."""
    return hashlib.sha256("\n".join(sorted(map(str, options(config, OPTIONS)["parts"]))).encode()).hexdigest()[:8]


def tables(source: Path) -> List[Path]:
    """The files that identify local copies of the parts."""
    folders = [folder for folder in sorted(source.iterdir()) if folder.name in _modules()]
    known = [(import_module(f"local.{folder.name}"), folder) for folder in folders]
    return [path for module, folder in known if hasattr(module, "tables") for path in module.tables(folder)]


def prepare(config: SimpleNamespace, downloads: Path, out: Path, nj: int, log: logging.Logger) -> Corpus:
    """The utterances of all parts."""
    utterances: List[Utterance] = []
    left_out: List[LeftOut] = []
    inputs: List[Path] = []
    for module, own in _parts(config).items():
        found = import_module(f"local.{own.module}").prepare(own, download.folder(module), out / module, nj, log)
        log.info("%s: %d utterances, %d left out", module, len(found.utterances), len(found.left_out))
        for u in found.utterances:
            recording = u.recording and f"{module}-{u.recording}"
            utterances.append(replace(u, id=f"{module}-{u.id}", speaker=f"{module}-{u.speaker}", recording=recording))
        left_out += [replace(item, id=f"{module}-{item.id}") for item in found.left_out]
        inputs += found.inputs
    return Corpus(utterances, left_out, inputs)


def _parts(config: SimpleNamespace) -> Dict[str, SimpleNamespace]:
    """Module -> its keys below `data`. Raises UserError where data.options.parts names none, or a module that is not there."""
    parts, known, out = options(config, OPTIONS)["parts"], sorted({*_modules(), *RECIPES}), {}
    for part in parts:
        module, *given = str(part).split() or [""]
        if module not in known:
            raise UserError(
                f"data.options.parts: there is no corpus '{module}'{nearest(module, known)}; there are {', '.join(known)}"
            )
        if module in out:
            raise UserError(f"data.options.parts names {module} twice")
        wrong = [pair for pair in given if "=" not in pair]
        if wrong:
            raise UserError(
                f"data.options.parts: '{part}' has '{wrong[0]}', and must be a corpus and its options, as fsdd task=isolated"
            )
        own = {key: yaml.safe_load(value) for key, _, value in (pair.partition("=") for pair in given)}
        folder = Path(config.source) / module
        source = str(folder) if config.source and folder.is_dir() else ""
        reader = module if (HERE / f"{module}.py").is_file() else "lhotse_recipe"
        own = own if reader == module else {"recipe": module, **own}
        out[module] = SimpleNamespace(**{**vars(config), "module": reader, "source": source, "options": own})
    if not out:
        raise UserError("combine joins corpora: name them by --set 'data.options.parts=[speechocean762, asterisk]'")
    return out


def _modules() -> List[str]:
    """The modules of corpora that can be parts."""
    return sorted(path.stem for path in HERE.glob("*.py") if path.stem not in ("__init__", "combine", "lhotse_recipe"))
