"""Transcription conventions: what stands in transcripts without being said (tags, events, labels), and how it is left out.

`data.conventions` chooses rows of the table, and adds patterns of a corpus's own between slashes; what is left out is counted.
"""

import html
import re
from collections import Counter
from typing import Callable, Dict, List, NamedTuple, Optional, Pattern, Sequence, Tuple, Union

from utils.core.allowed import nearest
from utils.core.errors import UserError

USUAL = "usual"
_EVENTS = (  # between round brackets or stars these are no words of the speaker
    "applause|background noise|beep(?:s|ing)?|blank|breath(?:s|es|ing)?|chuckl(?:e|es|ing)|clears throat|cough(?:s|ing)?|"
    "cross-?talk|exhal(?:e|es|ing)|giggl(?:e|es|ing)|inaudible|indistinct|inhal(?:e|es|ing)|laugh(?:s|ing|ter)?|lip ?smack|"
    "music(?: playing)?|noises?|pause|sigh(?:s|ing)?|silence|sneez(?:e|es|ing)|sniff(?:s|ing)?|static|unclear|unintelligible|"
    "rires?|bruits?|musique|toux|risas?|ruidos?|música|aplausos|risate|rumori|musica|lachen|geräusch|musik|husten|"
    "смех|шум|музыка|аплодисменты|кашель|笑声?|笑い|噪音|音乐|掌声|צחוק|רעש|מוזיקה"
)


class Convention(NamedTuple):
    """A row of the table: patterns, and what each leaves in place of a match."""

    what: str
    rules: Sequence[Tuple[str, Union[str, Callable[["re.Match[str]"], str]]]]
    usual: bool = True


TABLE: Dict[str, Convention] = {
    "entities": Convention(
        "HTML entities become their characters: `&amp;` `&#39;`",
        [(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});", lambda match: html.unescape(match[0]))] * 2,
    ),
    "times": Convention(
        "times of subtitles, and pauses in seconds: `00:01:02,500 --> 00:01:04,000` `(00:12)` `(0.5)`",
        [
            (r"(?:\d+:)?\d{1,2}:\d\d(?:[.,]\d{1,3})?\s*-+>\s*(?:\d+:)?\d{1,2}:\d\d(?:[.,]\d{1,3})?", " "),
            (r"\b\d{1,2}:\d\d:\d\d[.,]\d{1,3}\b", " "),
            (r"\((?:\d+:)?\d{1,2}:\d\d(?:[.,]\d{1,3})?\)|\(\d*\.\d+\)", " "),
        ],
    ),
    "labels": Convention(
        "who speaks, at the beginning: `A:` `SPEAKER_01:` `Interviewer:`",
        [
            (
                r"^\s*(?:[A-ZА-ЯЁ]{1,2}\d{0,2}|(?i:agent|caller|client|customer|doctor|host|guest|interviewe[er]|moderator|operator|"
                r"patient|participant|speaker|spk|user|sprecher|locuteur|hablante|спикер|דובר|说话人)"
                r"(?:[ _-]?(?:\d{1,3}|[A-Za-z]))?)\s?(?::(?=\s)|：)\s*",
                "",
            )
        ],
    ),
    "tags": Convention(
        "tags, and their like in Kaldi and HTK: `<unk>` `<s>` `</i>` `<|en|>` `!SIL` `#0`",
        [
            (r"</s>\s*\([^()\s]+\)\s*$", " "),  # Sphinx: the id of the utterance
            (r"(?<!\w)[<＜][/!:#]?[^\W\d][^<>＜＞]{0,80}[>＞]|[<＜][/!:#]?[^\W\d][^<>＜＞\s]*[>＞]", " "),
            (r"<\|[^<>|]*\|>|<[\d:.,\s]+>", " "),
            (r"(?i:(?<!\S)!(?:sil|null|enter|exit|unk|sent_start|sent_end)(?!\w))", " "),
            (r"(?<!\S)#0(?!\S)", " "),
        ],
    ),
    "brackets": Convention(
        "square brackets with what is in them, but not a word said with laughter: `[noise]` `[inaudible]` `[laughter-yes]`",
        [(r"[\[［](?:laughter|laugh|laughing)-([^\[\]]+)\]", r" \1 "), (r"[\[［][^\[\]［］]*[\]］]", " ")],
    ),
    "braces": Convention(
        "braces with what is in them, but not marked words: `{laugh}` `{F uh}`",
        [(r"\{[A-Z] ([^{}]*)\}", r" \1 "), (r"\{[^{}]*\}", " ")],
    ),
    "events": Convention(
        "sounds between round brackets, stars or pluses: `(laughs)` `*coughs*` `++NOISE++`",
        [
            (rf"(?i:[(（]\s*(?:[^\W\d_]+ )?(?:{_EVENTS})(?: [^\W\d_]+)?\s*[)）])", " "),
            (rf"(?i:\*+\s*(?:[^\W\d_]+ )?(?:{_EVENTS})(?: [^\W\d_]+)?\s*\*+)", " "),
            (r"\+\+[A-Za-z_]+\+\+", " "),
        ],
    ),
    "marks": Convention(
        "marks before or after words, which stay: `%uh` `&-um` `&Paris` `read(2)`; of CHAT, `&=laughs` goes",
        [
            (r"&=\S+", " "),
            (r"(?<!\S)&(?:[-~+](?=\w)|(?=[A-Z][a-z]))", ""),
            (r"(^\s*|[^\d\s]\s+)%(?=[^\W\d_])", r"\1"),
            (r"(?<=\w)\(\d\)", ""),
        ],
    ),
    "escapes": Convention("ends of lines written as two characters: `\\n`", [(r"(?<!:)\\[nrtN]", " ")]),
    "parentheses": Convention("everything between round brackets: `(aside)`", [(r"\([^()]*\)", " ")], usual=False),
    "stars": Convention("everything between stars: `*aside*`", [(r"\*[^*]+\*", " ")], usual=False),
    "chat": Convention(
        "what CHAT writes for words that can't be made out: `xxx` `yyy` `www`", [(r"\b(?:xxx|yyy|www)\b", " ")], usual=False
    ),
}
_MAY_HAVE = re.compile(r"[<＜\[［{(（*&%!#:：+\\]")  # most texts have none of them, and so none of the usual rows
Rule = Tuple[str, Pattern[str], Union[str, Callable[["re.Match[str]"], str]]]


class Conventions:
    """The rows that a corpus chooses.

    Args:
      chosen: names of TABLE; `usual` for all the usual ones; `-name` without one; `/pattern/` for text that is left out besides.
    Raises:
      UserError: an unknown name, a pattern that is no regular expression.
    """

    def __init__(self, chosen: Sequence[str] = (USUAL,)) -> None:
        own = [item for item in chosen if len(item) > 2 and item[0] == item[-1] == "/"]
        names: List[str] = []
        for item in chosen:
            if item in own:
                continue
            name = item.lstrip("-")
            if name != USUAL and name not in TABLE:
                raise UserError(
                    f"data.conventions has '{item}'{nearest(name, [USUAL, *TABLE])}: there are {USUAL}, {', '.join(TABLE)}, each "
                    "with - before it to do without, and /PATTERN/"
                )
            group = [key for key, row in TABLE.items() if row.usual] if name == USUAL else [name]
            names = [key for key in names if key not in group] if item.startswith("-") else [*names, *group]
        rows = [(name, TABLE[name]) for name in TABLE if name in names]
        self.rules: List[Rule] = [(item, _own(item), " ") for item in own]  # tried on every text
        self.rules += [(name, re.compile(p), left) for name, row in rows if not row.usual for p, left in row.rules]
        self.usual: List[Rule] = [(name, re.compile(p), left) for name, row in rows if row.usual for p, left in row.rules]

    def apply(self, text: str, dropped: Optional[Counter] = None) -> str:
        """The text without what the conventions leave out; `dropped` counts (name of the convention, piece as written)."""
        for name, pattern, left in self.rules + self.usual if _MAY_HAVE.search(text) else self.rules:
            if dropped is not None:
                dropped.update((name, match[0].strip()) for match in pattern.finditer(text))
            text = pattern.sub(left, text)
        return text


def _own(item: str) -> Pattern[str]:
    try:
        return re.compile(item[1:-1])
    except re.error as error:
        raise UserError(f"data.conventions: {item} is not a regular expression: {error}") from None
