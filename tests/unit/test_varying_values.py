"""Values of several runs: what they have in common is compared, and what differs is named."""

from __future__ import annotations

from perdure.crashtest.varying_values import ANY, common, difference, differing, fits


def test_a_part_that_differs_hides_no_other() -> None:
    """Each part of dicts and lists is compared by itself; types and lengths count."""
    pattern = common([{"id": 1, "parts": [1, "a"], "n": 1}, {"id": 2, "parts": [1, "b"], "n": 1}])
    assert list(differing(pattern)) == [".id", ".parts[1]"]
    assert fits(pattern, {"id": None, "parts": [1, 5], "n": 1})
    assert not fits(pattern, {"id": 1, "parts": [2, "a"], "n": 1})
    assert difference(pattern, {"id": 1, "parts": [2, "a"], "n": 1}) == (".parts[0]", 1, 2)
    assert difference(pattern, {"id": 1}) == ("", pattern, {"id": 1})
    assert not fits(pattern, {"id": 1, "parts": [1, "a"], "n": True})
    assert not fits(pattern, {"id": 1, "parts": [1, "a"]})
    assert not fits(pattern, {"id": 1, "parts": [1, "a", 3], "n": 1})


def test_what_has_nothing_in_common_fits_to_all() -> None:
    """Lists of other lengths, dicts of other keys, and values of other types."""
    for one, other in ([1], [1, 2]), ({"a": 1}, {"b": 1}), (1, "1"):
        assert common([one, other]) is ANY
        assert list(differing(common([one, other]))) == [""]
        assert fits(common([one, other]), object())
    assert common([[], []]) == []
