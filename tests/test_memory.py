"""Where memory does not suffice, work is done in parts, and comes to the same."""

import gc
import logging
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from support.training import trainer
from utils.core.errors import UserError
from utils.core.files import ROOT, read_json
from utils.core.memory import in_parts, out_of_memory
from utils.decode.first_pass import FirstPassDecoder
from utils.decode.pieces import unfinished
from utils.train.dataset import Batch, collate
from utils.vectors.wordvec import WordTable

LOG = logging.getLogger("test")
IDS = list("abcdefg")


def too_much():
    return torch.empty(2**50, dtype=torch.uint8)


@contextmanager
def at_most(megabytes: float):
    """Let this process have so much more memory than it has."""
    gc.collect()  # or what earlier tests left is freed on the way
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + int(megabytes * 2**20), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_what_torch_python_and_k2_raise_is_known():
    for raising in (too_much, lambda: bytearray(2**60)):
        with pytest.raises((RuntimeError, MemoryError)) as caught:
            raising()
        assert out_of_memory(caught.value)
    assert out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert not out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))


def test_parts_get_smaller_until_they_fit(caplog):
    tried = []

    def work(parts):
        tried.append(parts)
        return [too_much() if last - first > 2 else IDS[first:last] for first, last in parts]

    with caplog.at_level(logging.WARNING):
        done = in_parts(work, IDS, "piece 7", "buy memory", LOG)
    assert [len(parts) for parts in tried] == [1, 2, 4] and [item for part in done for item in part] == IDS
    assert "piece 7: out of memory; its 7 utterances again, in 4 parts" in caplog.text


def test_an_item_that_never_fits_is_an_error_with_a_remedy():
    with pytest.raises(UserError, match="piece 7: out of memory with one utterance at a time too .*a, b, c.*buy memory"):
        in_parts(lambda parts: too_much(), IDS, "piece 7", "buy memory", LOG)
    with pytest.raises(RuntimeError, match="something else"):
        in_parts(lambda parts: exec("raise RuntimeError('something else')"), IDS, "piece 7", "buy memory", LOG)


@pytest.mark.slow
def test_a_training_step_in_parts_has_the_gradients_of_the_whole(prepared, tmp_path, caplog, monkeypatch):
    """Too much is asked of torch with most of a step done: under a limit of the system libraries below torch may just crash."""
    made = trainer(prepared, tmp_path / "step")
    made.model.eval()  # no dropout, no sampling
    cuts = sorted(made.train_cuts, key=lambda cut: cut.id)[:8]
    few = collate(cuts, made.features, made.lexicon, made.augment)
    rows = [n for _ in range(12) for n in range(len(cuts))]
    ids, subwords, words = ([kept[n] for n in rows] for kept in (few.ids, few.subwords, few.words))
    batch = Batch(ids, few.x[rows], few.lengths[rows], subwords, words)

    def gradients():
        return {name: p.grad.clone() for name, p in made.model.named_parameters() if p.grad is not None}

    whole = made.backward([batch], "a batch")
    expected = gradients()
    assert "out of memory" not in caplog.text
    losses = made.losses

    def within(part, tokens):
        found = losses(part, tokens)
        return too_much() if len(part.ids) > len(batch.ids) // 3 else found

    monkeypatch.setattr(made, "losses", within)
    with caplog.at_level(logging.WARNING):
        in_halves = made.backward([batch], "a batch")
    assert f"a batch: out of memory; its {len(batch.ids)} utterances again, in 4 parts" in caplog.text
    assert in_halves == pytest.approx(whole, rel=1e-4)
    found = gradients()
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.slow
def test_decoding_in_parts_gives_the_same_words(prepared, tmp_path, caplog):
    made = trainer(prepared, tmp_path / "model")
    made.model.eval()
    generator = torch.Generator().manual_seed(0)
    words = 300_000
    lexicon = SimpleNamespace(ids_to_words=lambda ids: [str(i) for i in ids])
    settings = SimpleNamespace(beam=20.0, output_beam=8.0, max_active=7000)
    table = WordTable(torch.randn(words, 16, generator=generator), torch.zeros(words))
    decoder = FirstPassDecoder(made.model, made.features, lexicon, {}, table, settings, "cpu")
    cuts = sorted(made.train_cuts, key=lambda cut: cut.duration)[11::-1]
    decoder.decode(cuts, tmp_path / "whole")
    with at_most(250), caplog.at_level(logging.WARNING):
        decoder.decode(cuts, tmp_path / "parts")
    assert "decode, piece parts: out of memory; its 12 utterances again, in" in caplog.text
    pieces = [read_json(path) for path in sorted(tmp_path.glob("parts*.json"))]
    assert len(pieces) > 1 and (tmp_path / "parts-1-scores.safetensors").exists()
    said = {i: hyp for piece in pieces for i, hyp in zip(piece["ids"], piece["hyps"]["greedy"])}
    whole = read_json(tmp_path / "whole.json")
    assert said == dict(zip(whole["ids"], whole["hyps"]["greedy"])) and len(said) == 12


def test_parts_that_an_interrupted_run_left_are_gone_before_the_next(tmp_path):
    done, half = ("00000.json", "00000-1.json", "00000-1-lattice.pt"), ("00001-1.json", "00001-2-scores.safetensors")
    for name in (*done, *half, "00001-lattice.pt"):
        (tmp_path / name).touch()
    assert unfinished(["a", "b", "c"], tmp_path) == [("b", tmp_path / "00001"), ("c", tmp_path / "00002")]
    assert {path.name for path in tmp_path.iterdir()} == {*done, "00001-lattice.pt"}  # which is written anew


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts the page faults of Linux")
def test_freed_memory_is_kept_for_reuse():
    program = """
import ctypes, resource, sys
from utils.core.memory import M_MMAP_THRESHOLD, keep_freed
libc, size = ctypes.CDLL(None), 48 << 20
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        place = libc.malloc(size)
        ctypes.memset(place, 1, size)
        libc.free(place)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
first = faults()
keep_freed()
faults()
print(first, faults(), libc.mallopt(M_MMAP_THRESHOLD, 2**30))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    before, after, whole = map(int, done.stdout.split())
    if not whole:
        pytest.skip("this glibc keeps no blocks as large as these")
    assert before > 4 * (48 << 20) / resource.getpagesize() * 0.9 and after < before / 100
