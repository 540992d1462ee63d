"""How a language model's tokenizer splits words into tokens.

A word is tokenized as it is spelled after another word, because most tokenizers make a space part of the token that follows it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

from utils.core.errors import UserError
from utils.vectors.gguf_file import GgufFile

SPACES = ("▁", "Ġ")  # pieces that are a space alone
NEWLINES = ("\n", "Ċ", "<0x0A>")  # pieces that are the end of a line alone
BEFORE = "the"  # the word that the others are spelled after
Tokenize = Callable[[Sequence[str]], List[List[int]]]  # texts -> token ids, without special tokens


@dataclass(frozen=True)
class WordTokenizer:
    """Splits words into tokens."""

    size: int  # tokens that it has
    words: Tokenize  # words as they are spelled within a sentence; no tokens for a word with an unknown part
    newline: Optional[int]  # the token of the end of a line
    texts: Callable[[], List[str]]  # what each token spells by itself


def folder_tokenizer(folder: Path) -> WordTokenizer:
    """The tokenizer of a Hugging Face folder.

    Raises:
      UserError: there is none, or its file is damaged.
    """
    if (folder / "tokenizer.model").is_file():  # first, as ChatGLM2 has no other
        return _sentencepiece(folder / "tokenizer.model")
    from tokenizers import BertWordPieceTokenizer, ByteLevelBPETokenizer, Tokenizer

    if (folder / "tokenizer.json").is_file():
        try:
            return _of_library(Tokenizer.from_file(str(folder / "tokenizer.json")))
        except Exception as error:  # the library raises the bare class
            raise UserError(f"{folder / 'tokenizer.json'} is damaged: {error}") from None
    if (folder / "vocab.txt").is_file():
        return _of_library(BertWordPieceTokenizer(str(folder / "vocab.txt"))._tokenizer)
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return _of_library(ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))._tokenizer)
    raise UserError(f"{folder} has no tokenizer.json, tokenizer.model, vocab.txt or vocab.json with merges.txt")


def gguf_tokenizer(file: GgufFile) -> WordTokenizer:
    """The tokenizer in a GGUF file's metadata.

    Raises:
      UserError: it is of an unknown kind.
    """
    about = file.metadata
    pieces, kind = about.get("tokenizer.ggml.tokens"), about.get("tokenizer.ggml.model")
    if not pieces or kind not in ("llama", "gpt2"):
        raise UserError(f"{file.path}: its tokenizer is of the kind {kind}; llama (SentencePiece) and gpt2 (bytes) can be read")
    ids = {piece: n for n, piece in reversed(list(enumerate(pieces)))}  # of equal pieces the first
    if kind == "gpt2":
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers

        merges = [tuple(merge.split(" ", 1)) for merge in about.get("tokenizer.ggml.merges", [])]
        tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges))
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        return _of_library(tokenizer, len(pieces))
    scores = about["tokenizer.ggml.scores"]

    def words(wanted: Sequence[str]) -> List[List[int]]:
        return [_without_space(_merge("▁" + word, ids, scores), pieces.__getitem__) for word in wanted]

    newline = next((ids[newline] for newline in NEWLINES if newline in ids), None)
    return WordTokenizer(len(pieces), words, newline, lambda: pieces)


def _sentencepiece(path: Path) -> WordTokenizer:
    import sentencepiece

    try:
        model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise UserError(f"{path} is not a SentencePiece model: {error}") from None
    words = _after_a_word(lambda texts: [list(ids) for ids in model.encode(list(texts))], model.id_to_piece, {model.unk_id()})
    newline = next((number for number in map(model.piece_to_id, NEWLINES) if number != model.unk_id()), None)
    return WordTokenizer(model.vocab_size(), words, newline, lambda: model.id_to_piece(list(range(model.vocab_size()))))


def _of_library(tokenizer: Any, size: Optional[int] = None) -> WordTokenizer:
    """A tokenizer of the library `tokenizers`; size: its number of tokens, if equal pieces count twice."""
    unknown = {tokenizer.token_to_id(name) for name in ("[UNK]", "<unk>", getattr(tokenizer.model, "unk_token", None)) if name}

    def encode(texts: Sequence[str]) -> List[List[int]]:
        return [encoding.ids for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    newline = next((number for number in map(tokenizer.token_to_id, NEWLINES) if number is not None), None)
    size = size or tokenizer.get_vocab_size()
    words = _after_a_word(encode, tokenizer.id_to_token, unknown)
    return WordTokenizer(size, words, newline, lambda: tokenizer.decode_batch([[token] for token in range(size)], False))


def _after_a_word(encode: Tokenize, piece: Callable[[int], str], unknown: Set[Optional[int]]) -> Tokenize:
    """`encode` for words as they are spelled after another word; no tokens for a word with an unknown part."""
    (before,) = encode([BEFORE])

    def words(wanted: Sequence[str]) -> List[List[int]]:
        out = []
        for word, ids in zip(wanted, encode([f"{BEFORE} {word}" for word in wanted])):
            own = ids[len(before) :] if ids[: len(before)] == before else encode([word])[0]
            out.append([] if unknown.intersection(own) else _without_space(own, piece))
        return out

    return words


def _without_space(ids: List[int], piece: Callable[[int], str]) -> List[int]:
    """Without a first token that is the space alone: it does not depend on the word."""
    return ids[1:] if len(ids) > 1 and piece(ids[0]) in SPACES else ids


def _merge(text: str, ids: Dict[str, int], scores: Sequence[float]) -> List[int]:
    """Token ids by SentencePiece's BPE: join the two neighbours whose joint piece scores highest, until no two make a piece.

    What is no piece is spelled by the pieces of its bytes; where they are missing too, there are no tokens.
    """
    parts = list(text)
    while True:
        best: Optional[Tuple[float, int]] = None
        for n, (a, b) in enumerate(zip(parts, parts[1:])):
            joined = ids.get(a + b)
            if joined is not None and (best is None or scores[joined] > best[0]):
                best = (scores[joined], n)
        if best is None:
            break
        parts[best[1] : best[1] + 2] = ["".join(parts[best[1] : best[1] + 2])]
    out: List[int] = []
    for part in parts:
        spelled = [ids[part]] if part in ids else [ids.get(f"<0x{byte:02X}>", -1) for byte in part.encode()]
        if -1 in spelled:
            return []
        out += spelled
    return out
