"""Words of no vocabulary, and those with the nearest vectors."""

import torch

from utils.mending import PLACES, mended, nearest


def test_the_nearest_known_words_are_found_whatever_the_vectors_lengths():
    angles = torch.tensor([0.0, 0.4, 1.0, 2.0, 0.3, 1.1, 0.0])
    vectors = torch.stack((angles.cos(), angles.sin()), 1) * torch.tensor([1.0, 9.0, 1.0, 1.0, 0.5, 3.0, 0.0])[:, None]
    assert nearest(vectors, 4, 2) == {5: [2, 1], 6: [3, 2], 7: []}  # the last has no vector
    assert nearest(vectors, 4, 9)[5] == [2, 1, 3]  # the fourth points elsewhere
    many = torch.randn(700, 8, generator=torch.Generator().manual_seed(0))
    found = nearest(many, 100, 3)
    assert sorted(found) == list(range(101, 701))
    for word in (101, 356, 357, 612, 700):
        cosines = torch.cosine_similarity(many[word - 1], many[:100], dim=-1)
        assert found[word] == [n + 1 for n in cosines.argsort(descending=True)[:3].tolist()]


def test_unknown_words_give_way_to_known_ones_the_nearest_first():
    near = {8: [1, 2, 3], 9: [4, 5, 6], 7: []}
    assert mended([(1, 2)], near, 3) == []
    assert mended([(1, 8)], near, 3) == [(1, 1), (1, 2), (1, 3)] and mended([(1, 8)], near, 1) == [(1, 1)]
    assert mended([(8, 1, 9)], near, 2) == [(1, 1, 4), (1, 1, 5), (2, 1, 4)]
    assert mended([(8,), (8,), (1, 7)], near, 1) == [(1,)]  # each once; 7 is near nothing
    assert mended([(8,) * PLACES], near, 1) == [(1,) * PLACES] and mended([(8,) * (PLACES + 1)], near, 1) == []
