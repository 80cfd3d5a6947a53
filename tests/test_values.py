"""What options stand for: what is read is what was written, and nothing else is read."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from prunelimit import plugins, values
from prunelimit.errors import UsageError
from prunelimit.values import (
    SURVIVORS,
    EpsilonRule,
    KeepRule,
    Method,
    Pattern,
)

CRITERIA = plugins.names("criterion")
ALLOCATIONS = tuple(n for n in plugins.names("allocation") if n != "targets")  # needs a file
PATTERNS = st.integers(2, 64).flatmap(
    lambda group: st.integers(1, group - 1).map(lambda keep: Pattern.parse(f"{keep}:{group}"))
)
OWN = ("mine.py:scores", "package.module:scores", "a folder/my+file.py:scores", "/tmp/x/y.py:f")


class TestMethod:
    @given(
        st.sampled_from((*CRITERIA, *OWN)),
        st.none() | st.sampled_from(ALLOCATIONS),
        st.none() | PATTERNS,
        st.sampled_from(SURVIVORS),
    )
    def test_a_name_is_read_back(
        self, criterion: str, allocation: str | None, pattern: Pattern | None, survivors: str
    ) -> None:
        assume(allocation is None or pattern is None)
        method = Method(criterion, allocation, pattern, survivors)
        assert Method.parse(method.name) == method
        assert Method.parse(f" {method.name} ") == method

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "no criterion ''"),
            ("magnitud", "did you mean magnitude"),
            ("one-shot", "no criterion 'one-shot'"),
            ("refit", "no criterion 'refit'"),
            ("magnitude+stage", "did you mean staged"),
            ("magnitude+", "setting of survivors ''"),
            ("magnitude+staged+obs", "no criterion 'magnitude.staged'"),
            ("magnitude/unifrom", "did you mean uniform"),
            ("magnitude/4:2", "`pattern` is 4:2"),
            ("magnitude/2:4/erk", "leave out `allocation`"),
            ("magnitude/erk/2:4", "leave out `allocation`"),
            ("magnitude/erk/rd", "is not understood"),
            ("magnitude/2:4/1:4", "no allocation '2:4'"),
            ("mine.py", "mine.py:ATTR"),
        ],
    )
    def test_other_names_are_refused(self, text: str, said: str) -> None:
        with pytest.raises(UsageError, match=said):
            Method.parse(text)

    def test_only_the_smallest_of_all_layers_are_magnitudes(self) -> None:
        alike = [name for name in ("magnitude", "magnitude/global", "magnitude+staged")]
        assert all(Method.parse(name).is_magnitude for name in alike)
        for name in ("magnitude/erk", "magnitude/2:4", "snip", "obs+obs", "mine.py:magnitude"):
            assert not Method.parse(name).is_magnitude

    def test_several_are_each_once_in_their_order(self) -> None:
        found = values.methods("snip+staged,magnitude, snip+staged")
        assert [each.name for each in found] == ["snip+staged", "magnitude"]
        assert values.methods(found) == values.methods([each.name for each in found]) == found
        for text in ("", "snip,,obd", ","):
            with pytest.raises(UsageError, match="`methods`"):
                values.methods(text)


class TestPattern:
    @given(PATTERNS)
    def test_is_read_back(self, pattern: Pattern) -> None:
        assert Pattern.parse(str(pattern)) == pattern

    @pytest.mark.parametrize(
        "text", ["4:2", "0:4", "2:2", "2", "a:b", "-1:4", "2:4:8", "", "1:99999"]
    )
    def test_others_are_refused(self, text: str) -> None:
        with pytest.raises(UsageError, match=r"`pattern` .*N:M"):
            Pattern.parse(text)


class TestEpsilon:
    @given(st.floats(1e-9, 100))
    def test_is_read_back(self, number: float) -> None:
        for text, kind, value in (
            (f"{number!r}", "nats", number),
            (f" {number!r}%", "share", number / 100),
            (f"{number!r}pp ", "accuracy", number / 100),
        ):
            found = EpsilonRule.parse(text)
            assert (found.kind, found.value) == (kind, value)
            again = EpsilonRule.parse(str(found))
            assert again.kind == kind and again.value == pytest.approx(value, rel=1e-11)
        assert EpsilonRule.parse(number) == EpsilonRule("nats", number)

    def test_as_people_write_it(self) -> None:
        for text in ("batch-std", "0.01", "5%", "0.5pp", "100pp", "1e-05"):
            assert str(EpsilonRule.parse(text)) == text
        assert EpsilonRule.parse("batch-std") == EpsilonRule.parse(" batch-std ")

    @pytest.mark.parametrize(
        "text",
        [
            *("", "batch", "0", "-1", "nan", "inf", "-5%", "%", "0%", "1e999", "x pp"),
            *("pp", "0pp", "-1pp", "100.1pp", "nanpp", "1.5.pp"),
        ],
    )
    def test_others_are_refused(self, text: str) -> None:
        with pytest.raises(UsageError, match="`epsilon` "):
            EpsilonRule.parse(text)


SIZES = st.lists(st.integers(1, 5_000), min_size=1, max_size=40)


class TestKeep:
    @given(st.integers(0, 10**9))
    def test_a_count_is_read_back(self, count: int) -> None:
        rule = KeepRule.parse(count)
        assert rule == KeepRule.parse(str(rule)) == KeepRule("count", count)

    @given(st.floats(0, 100))
    def test_a_share_is_read_back(self, share: float) -> None:
        rule = KeepRule.parse(f"{share!r}%")
        assert rule.kind == "share" and rule.value == share / 100
        assert KeepRule.parse(str(rule)).value == pytest.approx(rule.value, rel=1e-9)

    @pytest.mark.parametrize("text", ["", "-1", "1.5", "some", "101%", "-1%", "nan%", "inf", "%"])
    def test_others_are_refused(self, text: str) -> None:
        with pytest.raises(UsageError, match="`min_keep` is"):
            KeepRule.parse(text)

    @given(SIZES, st.data())
    def test_auto_makes_no_amount_infeasible_and_leaves_no_layer_empty(
        self, sizes: list[int], data: st.DataObject
    ) -> None:
        remove = data.draw(st.integers(0, sum(sizes)))
        floors, kept = KeepRule("auto").counts(sizes, remove), sum(sizes) - remove
        assert sum(floors) <= kept
        assert all(0 <= low <= size for low, size in zip(floors, sizes, strict=True))
        if kept >= len(sizes):
            assert min(floors) >= 1
        assert all(
            low <= max(1, math.ceil(0.01 * size)) for low, size in zip(floors, sizes, strict=True)
        )

    def test_auto_is_a_tenth_of_the_average_and_at_most_a_hundredth(self) -> None:
        sizes = [10_000, 30_000]
        assert KeepRule("auto").counts(sizes, 20_000) == [100, 300]
        assert KeepRule("auto").counts(sizes, 39_200) == [20, 60]

    @given(SIZES, st.floats(0, 1), st.integers(0, 6_000))
    def test_counts_and_shares_are_what_they_say(
        self, sizes: list[int], share: float, count: int
    ) -> None:
        assert KeepRule("count", count).counts(sizes, 0) == [min(s, count) for s in sizes]
        for low, size in zip(KeepRule("share", share).counts(sizes, 0), sizes, strict=True):
            assert share * size - 1e-6 <= low < share * size + 1


class TestNumbers:
    @given(st.floats(0, 100))
    def test_points_are_fractions(self, number: float) -> None:
        assert values.points(f"{number!r}pp") == values.points(f" {number!r} pp") == number / 100
        assert values.points(number / 100) == pytest.approx(number / 100)

    @pytest.mark.parametrize(
        "given_",
        [
            "0.5",
            "pp",
            "",
            "-1pp",
            "-0pp",
            -0.0,
            "101pp",
            "1%",
            "nanpp",
            "x pp",
            1.01,
            -0.1,
            math.nan,
        ],
    )
    def test_other_points_are_refused(self, given_: str | float) -> None:
        with pytest.raises(UsageError, match=r"`within` .*0\.5pp"):
            values.points(given_, "within")

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("0.5", (0.5,)),
            ("0.9,0,0.5,0.9", (0.0, 0.5, 0.9)),
            ("0:0.3:0.1", (0.0, 0.1, 0.2, 0.3)),
            ("0.9:1:0.04", (0.9, 0.94, 0.98)),
            ("1:1:0.1", (1.0,)),
            ([0.5, 0.1], (0.1, 0.5)),
        ],
    )
    def test_sparsities(self, text: str | list[float], expected: tuple[float, ...]) -> None:
        assert values.sparsities(text) == pytest.approx(expected)
        assert values.sparsities(values.sparsities(text)) == values.sparsities(text)

    @pytest.mark.parametrize(
        "text",
        ["", "a", "1.1", "-0.1", "nan", "0,,1", "0:1", "0:1:0", "1:0:0.1", "0:2:1", "0:1:1e-9"],
    )
    def test_other_sparsities_are_refused(self, text: str) -> None:
        with pytest.raises(UsageError, match="`sparsities`"):
            values.sparsities(text)

    @given(st.floats(0, 1))
    def test_amounts(self, number: float) -> None:
        assert values.amount(number) == values.amount(repr(number)) == number
        for name in values.AMOUNTS:
            assert values.amount(name) == name

    @pytest.mark.parametrize("text", ["", "half", "-0.1", "-0", "1.1", "90%", "nan", 2.0, -1])
    def test_other_amounts_are_refused(self, text: str | float) -> None:
        with pytest.raises(UsageError, match="`amount` is"):
            values.amount(text)

    def test_stages(self) -> None:
        assert values.stages("auto") is None
        assert values.stages("3") == values.stages(3) == 3
        for text in ("", "0", "-1", "1.5", "some", "²"):
            with pytest.raises(UsageError, match="`stages` is"):
                values.stages(text)
