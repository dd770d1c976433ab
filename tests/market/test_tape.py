"""The tape: filled at once or row by row, read-only, and never one that cannot be true."""

from __future__ import annotations

from math import nan
from typing import Any

import numpy as np
import pytest
from small_markets import QUIET, markets

from simulator import DAY, SECOND, DataError, Instrument, Tape, Truth
from simulator.market.tape import Replay

PRICES = np.array([[10.0, 20.0], [nan, 21.0], [11.0, nan], [12.0, 22.0]])
TIMES = np.arange(1, 5) * DAY
NAMES = [Instrument("X"), Instrument("Y")]


def full(**terms: Any) -> Tape:
    volume = np.where(np.isnan(PRICES), nan, 100.0)
    return Tape.of(NAMES, TIMES, PRICES, PRICES + 1, PRICES - 1, PRICES, volume, interval=DAY, **terms)


def one(ends: list[int], **terms: Any) -> Tape:
    prices = np.full(len(ends), 10.0)
    return Tape.of([Instrument("X")], ends, prices, prices, prices, prices, **{"interval": 10, **terms})


def test_marks_are_the_last_known_closes_and_ages_the_bars_since() -> None:
    tape = full()
    assert tape.marks.tolist() == [[10.0, 20.0], [10.0, 21.0], [11.0, 21.0], [12.0, 22.0]]
    assert tape.ages.tolist() == [[0, 0], [1, 0], [0, 1], [0, 0]]


def test_an_instrument_that_has_not_begun_has_no_mark_and_no_age() -> None:
    tape = markets(X=[None, None, QUIET], Y=[QUIET] * 3)
    assert np.isnan(tape.marks[:2, 0]).all()
    assert tape.ages[:, 0].tolist() == [-1, -1, 0]


def test_bars_open_an_interval_before_they_close_and_sessions_are_their_dates() -> None:
    tape = full()
    assert tape.opened_at.tolist() == [0, DAY, 2 * DAY, 3 * DAY]
    assert tape.sessions.tolist() == [0, 1, 2, 3]
    other = full(opened_at=TIMES - 5 * SECOND, sessions=[7, 7, 8, 9])
    assert other.opened_at.tolist() == (TIMES - 5 * SECOND).tolist()
    assert other.sessions.tolist() == [7, 7, 8, 9]


def test_a_source_without_volume_has_as_much_as_one_likes_where_there_is_a_bar() -> None:
    tape = Tape.of(NAMES, TIMES, PRICES, PRICES, PRICES, PRICES, interval=DAY)
    assert np.array_equal(np.isinf(tape.volume), ~np.isnan(PRICES))


def test_columns_are_copied_and_read_only() -> None:
    prices = np.full(2, 10.0)
    tape = Tape.of([Instrument("X")], [10, 20], prices, prices, prices, prices, interval=10)
    prices[:] = 99.0
    assert tape.close[:, 0].tolist() == [10.0, 10.0]
    for name in ("open", "high", "low", "close", "volume", "marks", "ages", "closed_at", "opened_at", "sessions"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(tape, name)[0] = 1


def test_a_tape_filled_row_by_row_is_the_one_filled_at_once() -> None:
    """It begins with room for one row and grows."""
    whole = full()
    grown = Tape(NAMES, DAY, capacity=1)
    for t, at in enumerate(TIMES.tolist()):
        grown.append(at, *(column[t] for column in (whole.open, whole.high, whole.low, whole.close, whole.volume)))
    assert len(grown) == 4
    assert grown.digest() == whole.digest()
    for name in ("closed_at", "opened_at", "sessions", "open", "high", "low", "close", "volume", "marks", "ages"):
        assert getattr(grown, name)[:4].tobytes() == getattr(whole, name)[:4].tobytes()
    assert grown.ats[:4].tolist() == TIMES.tolist()


def test_a_row_may_say_when_it_opened_and_to_which_session_it_belongs() -> None:
    tape = Tape([Instrument("X")], 10)
    tape.append(20, 1.0, 1.0, 1.0, 1.0, 1.0, opened_at=15, session=3)
    assert (tape.starts[0], tape.days[0]) == (15, 3)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ((20, 10, 1), "a bar from 10 to 20 in session 1 does not follow the one that closed at 20 in session 1"),
        ((30, 19, 1), "a bar from 19 to 30 in session 1 does not follow the one that closed at 20 in session 1"),
        ((30, 20, 0), "a bar from 20 to 30 in session 0 does not follow the one that closed at 20 in session 1"),
        ((30, 30, 1), "a bar that closes at 30 must open before that, not at 30"),
    ],
)
def test_a_row_that_cannot_follow_is_refused(row: tuple[int, int, int], words: str) -> None:
    tape = Tape([Instrument("X")], 10)
    tape.append(20, 1.0, 1.0, 1.0, 1.0, 1.0, session=1)
    closed_at, opened_at, session = row
    with pytest.raises(DataError) as refused:
        tape.append(closed_at, 1.0, 1.0, 1.0, 1.0, 1.0, opened_at, session)
    assert str(refused.value) == words
    assert len(tape) == 1


def test_a_cut_tape_has_nothing_behind_it() -> None:
    cut = full().cut(2)
    assert (len(cut), cut.close.shape, cut.truth) == (2, (2, 2), full().truth)
    assert cut.digest() != full().digest()
    assert np.array_equal(cut.marks, full().marks[:2])


def test_a_tape_like_another_has_its_times_and_other_bars() -> None:
    tape = full(opened_at=TIMES - 5, sessions=[4, 5, 6, 7], truth=Truth("a test"), notes=["noted"])
    doubled = tape.like(tape.open * 2, tape.high * 2, tape.low * 2, tape.close * 2, tape.volume)
    assert doubled.marks[3].tolist() == [24.0, 44.0]
    assert (doubled.opened_at.tolist(), doubled.sessions.tolist()) == (tape.opened_at.tolist(), tape.sessions.tolist())
    assert (doubled.truth, doubled.notes) == (tape.truth, tape.notes)


def test_a_digest_changes_with_anything_that_a_run_can_see() -> None:
    digests = {
        full().digest(),
        full(truth=Truth("other")).digest(),
        full(sessions=[0, 1, 2, 9]).digest(),
        full(opened_at=TIMES - 1).digest(),
        full().like(full().close, full().high, full().low, full().close, full().volume * 2).digest(),
    }
    assert len(digests) == 5
    assert full().digest() == full().digest()


def test_a_replay_moves_one_cursor_over_all_rows() -> None:
    feed = Replay(full())
    seen = [(bars.row, bars.closed_at, bars.opened_at, bars.session, id(bars)) for bars in feed]
    assert seen == [(t, TIMES[t], t * DAY, t, id(feed.bars)) for t in range(4)]


@pytest.mark.parametrize(
    ("ends", "terms", "words"),
    [
        ([10, 20], {"interval": 0}, "interval must be above 0 nanoseconds, was 0"),
        ([10, 20, 20], {}, r"bar 2 closes at 20, not after the bar before it \(20\): times must increase"),
        ([10, 15], {}, r"bar 1 opens at 5, before the bar before it closed \(10\)"),
        ([10, 20], {"opened_at": [0, 20]}, "bar 1 closes at 20, which is not after its open at 20"),
        ([10, 20], {"opened_at": [0]}, r"opened_at must have 2 values, one a bar, had \(1,\)"),
        ([10, 20], {"sessions": [1, 0]}, "bar 1 belongs to an earlier session than the bar before it"),
        ([10, 20], {"sessions": [1]}, r"sessions must have 2 values, one a bar, had \(1,\)"),
    ],
)
def test_times_that_cannot_be_are_refused(ends: list[int], terms: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        one(ends, **terms)


def test_instruments_have_different_symbols() -> None:
    for instruments in ([], [Instrument("X"), Instrument("X")]):
        with pytest.raises(DataError, match="a tape needs instruments of different symbols, had"):
            Tape(instruments, DAY)


@pytest.mark.parametrize("shape", [(3,), (8,), (2, 4), (4, 3)])
def test_columns_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    """Two instruments by four bars have as many numbers as four bars of two, and are not the same."""
    wrong = np.ones(shape)
    with pytest.raises(DataError, match="low must be 4 bars x 2 instruments, was"):
        Tape.of(NAMES, TIMES, PRICES, PRICES, wrong, PRICES, interval=DAY)


def test_one_instrument_needs_no_second_dimension() -> None:
    prices = np.full((2, 1), 10.0)
    assert Tape.of([Instrument("X")], [10, 20], prices, prices[:, 0], prices, prices, interval=10).high.shape == (2, 1)
