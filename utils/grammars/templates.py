"""Grammars in the form of Home Assistant's sentence templates (YAML), parsed by the library hassil."""

from itertools import permutations, product
from typing import Any, List, Mapping, Optional, Sequence, Set

from utils.core.allowed import nearest
from utils.core.errors import UserError
from utils.grammars.expression import MOST_IN_ANY_ORDER, NOTHING, AnyOrder, Choice, Expression, Rule, Series, Text, Value, Written


def read(name: str, content: Mapping[str, Any], extra: Mapping[str, Sequence[str]]) -> Written:
    """The rules of a file with the keys `intents`, `lists`, `expansion_rules`, `skip_words`.

    A block of sentences whose `requires_context` no value can meet here is left out with a remark: nobody would know the context.

    Args:
      name: of the file, for messages.
      extra: list -> values given beside the file, in place of the file's: those of {name} and {area} differ from home to home.
    Raises:
      UserError: no hassil; a template that it can't parse; a list or rule that is not there; a rule that leads to itself; a
        wildcard, which is any words.
    """
    try:
        from hassil.errors import HassilError
        from hassil.intents import Intents
        from hassil.parser import ParseError
    except ImportError as error:
        raise UserError(
            f"{name} has sentence templates of Home Assistant, which need the package hassil ({error}); install it "
            "(pip install hassil), or write the grammar with the key 'context'"
        ) from None
    lists = {**dict(content.get("lists") or {}), **{key: {"values": list(values)} for key, values in extra.items()}}
    try:
        intents = Intents.from_dict({"language": "en", **content, "lists": lists})
    except (ParseError, HassilError, AssertionError) as error:
        raise UserError(_unreadable(name, error)) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{name} doesn't have the form of sentence templates ({type(error).__name__}: {error}): below intents, each intent "
            "has 'data', a list of mappings with 'sentences'"
        ) from None
    rules: List[Rule] = []
    remarks: List[str] = []
    skipped = Choice((*(Text(f" {word} ") for word in intents.skip_words), NOTHING))
    for intent in intents.intents.values():
        count = 0
        for block in intent.data:
            reader = _Reader(
                name, {**intents.slot_lists, **block.slot_lists}, {**intents.expansion_rules, **block.expansion_rules}
            )
            reader.requires, reader.excludes = block.requires_context, block.excludes_context
            try:
                sentences = block.sentences
            except (ParseError, HassilError, AssertionError) as error:
                raise UserError(_unreadable(f"{name}: intent {intent.name}", error)) from None
            texts = {id(sentence): n for n, sentence in enumerate(sentences, count + 1)}
            for sentence in sentences:
                place = f'intent {intent.name}, sentence {texts[id(sentence)]} ("{sentence.text}")'
                reader.place, reader.provided = f"{name}: {place}", set()
                body = reader.expression(sentence.expression)
                lacking = sorted(key for key in block.requires_context if key not in reader.provided)
                if lacking:
                    remarks.append(
                        f"{place} is left out: it requires the context '{lacking[0]}', which no value of its lists gives"
                    )
                    continue
                whole = Series((skipped, body, skipped)) if intents.skip_words else body
                rules.append(Rule(intent.name, place, whole, dict(block.slots)))
            count += len(sentences)
    return Written(name, rules, content.get("language"), remarks)


class _Reader:
    """hassil's expressions of one block as ours."""

    def __init__(self, name: str, lists: Mapping[str, Any], expansions: Mapping[str, Any]) -> None:
        self.name, self.lists, self.expansions = name, lists, expansions
        self.open: List[str] = []  # rules that are being read
        self.place = name
        self.requires: Mapping[str, Any] = {}
        self.excludes: Mapping[str, Any] = {}
        self.provided: Set[str] = set()  # keys of context that values give

    def expression(self, found: Any) -> Expression:
        from hassil import expression as of

        if isinstance(found, of.TextChunk):
            return Text(found.original_text)
        if isinstance(found, of.ListReference):
            return self._list(found)
        if isinstance(found, of.RuleReference):
            return self._rule(found.rule_name)
        items = tuple(self.expression(item) for item in found.items)
        if isinstance(found, of.Alternative):
            return Choice(tuple(NOTHING if item == Text("") else item for item in items))
        if isinstance(found, of.Permutation):
            if len(items) > MOST_IN_ANY_ORDER:
                raise UserError(
                    f"{self.place}: {len(items)} parts in any order are too many (at most {MOST_IN_ANY_ORDER}); split it"
                )
            return AnyOrder(items)
        return Series(items)

    def _rule(self, name: str) -> Expression:
        if name not in self.expansions:
            raise UserError(
                f"{self.place}: there is no rule <{name}>{nearest(name, self.expansions)}; add it below expansion_rules"
            )
        if name in self.open:
            way = " -> ".join([*self.open[self.open.index(name) :], name])
            raise UserError(
                f"{self.name}: rule <{name}> leads to itself ({way}), so its sentences have no end; take the loop out"
            )
        self.open.append(name)
        made = self.expression(self.expansions[name].expression)
        self.open.pop()
        return made

    def _list(self, reference: Any) -> Expression:
        from hassil.intents import RangeSlotList, TextSlotList

        span = reference.get_inline_range() if reference.is_inline_range else None
        found = None if span is None else RangeSlotList(name=None, start=span[0], stop=span[1], step=span[2])
        found = found or self.lists.get(reference.list_name)
        if found is None:
            name = reference.list_name
            raise UserError(
                f"{self.place}: there is no list {{{name}}}{nearest(name, self.lists)}; add it below lists, or give its values "
                f"(--slot {name}=VALUE,VALUE)"
            )
        slot = reference.slot_name
        if isinstance(found, RangeSlotList):
            numbers = [(n, n if found.multiplier is None else n * found.multiplier) for n in found.get_numbers()]
            return Choice(tuple(Value(slot, value, Text(str(n))) for n, value in numbers))
        if not isinstance(found, TextSlotList):
            raise UserError(
                f"{self.place}: {{{reference.list_name}}} is a wildcard, any words at all, which no graph holds; give its values "
                f"(--slot {reference.list_name}=VALUE,VALUE)"
            )
        values = [self._value(slot, value) for value in found.values if self._fits(value.context or {})]
        if not any(values):
            raise UserError(f"{self.place}: no value of list {{{reference.list_name}}} may be said here; add one")
        return Choice(tuple(value for value in values if value is not None))

    def _value(self, slot: str, value: Any) -> Optional[Expression]:
        body = self.expression(value.text_in)
        if value.value_out is not None:
            return Value(slot, value.value_out, body)
        # Its value is what is said, so each way to say it is a value of its own.
        return Choice(tuple(Value(slot, text, Text(text)) for text in _texts(body)))

    def _fits(self, context: Mapping[str, Any]) -> bool:
        """Whether a value with this context may be said; its keys count as provided."""
        for key, wanted in self.requires.items():
            if key in context and not _meets(context[key], wanted):
                return False
        for key, unwanted in self.excludes.items():
            if key in context and _meets(context[key], unwanted):
                return False
        self.provided.update(context)
        return True


def _meets(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        wanted = wanted.get("value", value)
    return value in wanted if isinstance(wanted, (list, tuple, set)) else value == wanted


def _texts(body: Expression) -> List[str]:
    """All ways to say a value."""
    return list(dict.fromkeys(" ".join(text.split()) for text in _written(body)))


def _written(body: Expression) -> List[str]:
    if isinstance(body, Text):
        return [body.text]
    if isinstance(body, Value):
        return _written(body.body)
    if isinstance(body, Choice):
        return [text for item in body.items for text in _written(item)]
    orders = permutations(body.items) if isinstance(body, AnyOrder) else [body.items]
    return ["".join(parts) for items in orders for parts in product(*map(_written, items))]


def _unreadable(place: str, error: BaseException) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    return f"{place}: a sentence can't be parsed: {said}; compare its brackets with hassil's syntax"
