"""The weights of the first pass: found where errors are fewest, kept where they are given, and without effect at 0 and 1."""

from types import SimpleNamespace

import pytest

from utils.decode.dev_search import SECONDS, sample
from utils.decode.search_weights import AUTO, TIE, USUAL, SearchWeights, find, read_weights, write_weights


def decode(penalty=AUTO, scale=AUTO):
    """The group `decode` with the same values for both heads."""
    both = (dict.fromkeys(("subword", "word"), value) for value in (penalty, scale))
    return SimpleNamespace(**{key: SimpleNamespace(**value) for key, value in zip(("blank_penalty", "first_lm_scale"), both)})


def bowl(penalty, scale, depth=40.0, floor=300):
    """Errors that are fewest at a penalty and a scale."""

    def errors(wanted):
        away = [(w.blank_penalty - penalty) ** 2 + 8 * (w.lm_scale - scale) ** 2 for w in wanted]
        return [round(floor + depth * each) for each in away]

    return errors


@pytest.mark.parametrize("graph", USUAL)
@pytest.mark.parametrize("penalty, scale", [(0.0, 1.0), (3.0, 1.0), (2.0, 0.3), (1.0, 1.4)])
def test_the_fewest_errors_are_found_in_few_searches(graph, penalty, scale):
    tried = find(graph, decode(), bowl(penalty, scale))
    found = next(iter(tried))
    assert abs(found.blank_penalty - penalty) <= 0.5 and abs(found.lm_scale - scale) <= 0.13
    assert tried[found] <= 1.02 * 300 and len(tried) <= 30


def test_given_numbers_are_kept():
    for penalty, scale in ((0.0, AUTO), (AUTO, 1.0)):
        tried = find("lattice", decode(penalty, scale), bowl(3.0, 0.5))
        assert all(penalty in (AUTO, w.blank_penalty) and scale in (AUTO, w.lm_scale) for w in tried)
        assert len(tried) > 3


def test_a_dev_set_that_says_nothing_leaves_the_usual_weights():
    for errors in (lambda wanted: [7] * len(wanted), lambda wanted: [7 - (w.blank_penalty > 2) * TIE / 10 for w in wanted]):
        assert next(iter(find("word_lattice", decode(), errors))) == USUAL["word_lattice"]


def test_weights_are_read_back_and_an_older_decoding_has_those_of_its_configuration(tmp_path):
    chosen = SearchWeights(1.5, 0.875)
    write_weights(tmp_path, {"lattice": chosen, "word_lattice": SearchWeights()}, {"lattice": {chosen: 12}})
    assert read_weights(tmp_path) == {"lattice": chosen, "word_lattice": SearchWeights(0.0, 1.0)}
    (tmp_path / "older").mkdir()
    (tmp_path / "older" / "config.yaml").write_text("decode: {first_lm_scale: 0.5}\n")
    assert read_weights(tmp_path / "older") == dict.fromkeys(USUAL, SearchWeights(0.0, 0.5))


def test_a_large_dev_set_is_searched_in_part_of_every_length():
    batches = [[SimpleNamespace(duration=60.0)] for _ in range(50)]
    numbers = sample(batches)
    assert numbers[0] == 0 and sum(60.0 for _ in numbers) <= SECONDS + 60 and max(numbers) >= 40
    assert sample(batches[:3]) == [0, 1, 2]
