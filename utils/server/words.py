"""GET, POST and DELETE /v1/words: the words that were added to the recogniser."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePath
from typing import Any, Callable, Dict, List, Tuple, TypeVar

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from utils.core.allowed import nearest
from utils.core.errors import UserError
from utils.server.files import bounded, copied, form_of
from utils.server.problems import Problem
from utils.server.shared import Shared

Found = TypeVar("Found")
BYTES = 4 * 1024 * 1024  # of a call
RECORDING_BYTES = 32 * 1024 * 1024
WAITING = 8  # calls at once
HEAVIEST = 20.0  # natural log
FIELDS = ("words", "weight", "dry_run")
FORM_FIELDS = ("word", "audio", "weight", "dry_run")


class Words:
    """Changes of the vocabulary, one after another; recognition goes on meanwhile."""

    def __init__(self, serving: Shared) -> None:
        self.serving = serving
        self._thread = ThreadPoolExecutor(1, "words")

    def close(self) -> None:
        """Take no more changes."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def listed(self, request: Request) -> Response:
        """GET /v1/words."""
        return JSONResponse({"words": self.serving.live.words()})

    async def add(self, request: Request) -> Response:
        """POST /v1/words."""
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            async with form_of(request, RECORDING_BYTES, self.serving.limits.idle_seconds) as form:
                word, audio, options = _of_form(form)

                def work() -> Tuple[List[str], List[str]]:
                    name = PurePath(audio.filename or "").name or "file"
                    with copied(audio.file, name) as path:
                        try:
                            return self._added([word], recordings={word: [path]}, **options)
                        except UserError as error:
                            raise UserError(str(error).replace(str(path), name)) from None

                added, remarks = await self._run(work)
        else:
            words, options = await self._of_json(request)
            added, remarks = await self._run(lambda: self._added(words, **options))
        if added and not options["dry_run"]:
            self.serving.tell({"type": "words", "added": added, "removed": []})
        return JSONResponse({"added": added, "remarks": remarks})

    async def remove(self, request: Request) -> Response:
        """DELETE /v1/words/{word}."""
        word = request.path_params["word"]
        if word not in self.serving.live.words():
            raise Problem(404, "unknown_word", f"'{word[:100]}' was not added; GET /v1/words lists the words that were")
        await self._run(lambda: self.serving.live.remove_words([word]))
        self.serving.tell({"type": "words", "added": [], "removed": [word]})
        return JSONResponse({"removed": [word]})

    def _added(self, words: List[str], **options: Any) -> Tuple[List[str], List[str]]:
        """The words that are new, and remarks; in the thread of words."""
        live = self.serving.live
        before = set(live.words())
        remarks = live.add_words(words, **options)
        return [word for word in live.words() if word not in before], remarks

    async def _run(self, work: Callable[[], Found]) -> Found:
        """A change, when those before it are done."""
        if self.serving.ending:
            raise Problem(503, "shutting_down", "the server is ending; try again later, or another one")
        if self.serving.changes >= WAITING:
            raise Problem(429, "too_many_changes", f"{WAITING} changes of the words wait already; send many words in one call")
        self.serving.changes += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except UserError as error:
            raise Problem(422, "cannot_add", str(error)) from None
        finally:
            self.serving.changes -= 1

    async def _of_json(self, request: Request) -> Tuple[List[str], Dict[str, Any]]:
        most = self.serving.limits.words
        content = await bounded(request, BYTES, self.serving.limits.idle_seconds).body()
        try:
            said = json.loads(content)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise Problem(400, "bad_request", 'the content must be JSON: {"words":["WORD","WORD UNIT UNIT"],"weight":0}')
        for name in said:
            if name not in FIELDS:
                raise _wrong(name, f"there is no field '{name[:60]}'{nearest(name, FIELDS)}: there are {', '.join(FIELDS)}")
        words = said.get("words")
        if not isinstance(words, list) or not words or not all(isinstance(one, str) and one.strip() for one in words):
            raise _wrong("words", 'words must be a list of texts, each "WORD" or "WORD UNIT UNIT"')
        if len(words) > most:
            raise _wrong("words", f"{len(words)} words are too many for one call, which takes {most}")
        return words, _options(said.get("weight", 0), said.get("dry_run", False))


def _of_form(form: FormData) -> Tuple[str, UploadFile, Dict[str, Any]]:
    for name in form:
        if name not in FORM_FIELDS:
            raise _wrong(name, f"there is no field '{name[:60]}'{nearest(name, FORM_FIELDS)}: there are {', '.join(FORM_FIELDS)}")
    word, audio = form.get("word"), form.get("audio")
    if not isinstance(word, str) or len(word.split()) != 1:
        raise _wrong("word", "the form needs one word, as the field word")
    if not isinstance(audio, UploadFile):
        raise _wrong("audio", "the form needs a recording of the word alone, as the field audio with a file name")
    dry_run = {"true": True, "1": True}.get(str(form.get("dry_run", "")).lower(), False)
    try:
        weight: Any = float(str(form.get("weight", "0")))
    except ValueError:
        weight = None
    return word.strip(), audio, _options(weight, dry_run)


def _options(weight: Any, dry_run: Any) -> Dict[str, Any]:
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not -HEAVIEST <= weight <= HEAVIEST:
        raise _wrong(
            "weight", f"weight must be a number from {-HEAVIEST:g} to {HEAVIEST:g} (natural log; 0: a word as any other)"
        )
    if not isinstance(dry_run, bool):
        raise _wrong("dry_run", "dry_run must be true or false")
    return {"weight": float(weight), "dry_run": dry_run}


def _wrong(param: str, message: str) -> Problem:
    return Problem(422, "bad_request", message, param)
