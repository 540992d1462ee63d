"""Which language tags exist, by IANA's registry of subtags (that of langcodes), and what a wrong one may mean."""

import difflib
import re
from functools import lru_cache
from typing import Dict

from utils.core.errors import UserError
from utils.core.languages import canonical

# In ISO 639-3 since the registry that langcodes 3.5.1 has (2021).
_NEWER = frozenset(
    "ajs bpc cls cnq cxh dsk dsz dyr egm eud gov hnm ikh imt isv izm lgo lgs lqr lsc lsw luh lvl nww nzr oak oie phj pze pzh "
    "rib rnb rrm rsk rsn rsw sjc tok tvi ugh uly uon vjk vsn wdt wtb wyn xdq xhm ycr ykh ynb zcd zem zlu".split()
)
_LOCAL = re.compile("q[a-t][a-z]")  # qaa to qtz, which ISO 639-2 leaves for local use
_NO_LANGUAGE = ("mis", "mul", "und", "zxx")


def checked(language: str, key: str = "data.language") -> None:
    """Nothing for a tag whose language, script and region exist.

    Raises:
      UserError: there is no such code; with near codes, or the code of a language of that name.
    """
    why = unknown(language)
    if why:
        raise UserError(f"{key}={language}: {why}")


@lru_cache(maxsize=None)
def unknown(language: str) -> str:
    """What is wrong with a language tag; empty for one that exists."""
    code, *rest = canonical(language).replace("_", "-").split("-")
    wanted = "give a code of ISO 639 (de, yue), with a script or region where one is meant (sr-Latn, pt-BR)"
    if code in _NO_LANGUAGE:
        return f"{code} names no single language; {wanted}"
    if code not in _registered("language") and not _LOCAL.fullmatch(code):
        near = _near(language, code)
        return f"there is no language {code or 'without a code'}{near}; {wanted}"
    for part in rest:
        kind = "script" if len(part) == 4 and part.isalpha() else "region" if len(part) in (2, 3) else ""
        if kind and part not in _registered(kind):
            return f"there is no {kind} {part}; {wanted}"
    return ""


def _near(language: str, code: str) -> str:
    """The languages that a wrong code may mean: of this name, of the country with this code, or with a code that is close."""
    import langcodes

    listed = sorted(_registered("language").items(), key=lambda item: -len(item[0]))  # codes of two letters win
    names = {word: one for one, name in listed for word in name.lower().split() if len(word) > 3}
    names.update((name.lower(), one) for one, name in listed)
    found = [names[name] for name in difflib.get_close_matches(language.lower(), names, 2, 0.8) if len(language) > 3]
    found = found[:1] if language.lower() in names else found
    if not found and code.upper() in _registered("region"):
        found = [langcodes.Language.get(f"und-{code}").maximize().language or ""]
    if not found:
        size = min(max(len(code), 2), 3)
        found = difflib.get_close_matches(code.lower(), [c for c in _registered("language") if len(c) == size], 3, 0.5)
    shown = [f"{one} ({_registered('language')[one]})" for one in found]
    return f" (did you mean {' or '.join(shown)}?)" if shown else ""


@lru_cache(maxsize=None)
def _registered(kind: str) -> Dict[str, str]:
    """Subtag -> name of the languages, scripts or regions of IANA's registry, without those for private use."""
    from langcodes.registry_parser import parse_registry

    entries = (e for e in parse_registry() if e["Type"] in (kind, "extlang" * (kind == "language")) and "Subtag" in e)
    found = {e["Subtag"]: e["Description"][0] for e in entries if e["Description"] != ["Private use"]}
    return {**found, **(dict.fromkeys(_NEWER, "since 2021") if kind == "language" else {})}
