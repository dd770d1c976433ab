"""All that can go wrong with a feed at once, over a real connection: drops, flaps, and bars that are doubled, late and other than before."""

from __future__ import annotations

import os
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_feeds import assert_replays

from simulator import SECOND, Tape, load
from simulator.assembly import run
from simulator.feeds.live import messages_of
from simulator.feeds.live_backfill import Login, backfill_of
from simulator.feeds.live_websocket import Websocket
from simulator.feeds.player import Player
from simulator.loop import recording
from simulator.loop.clocks import PacedClock
from simulator.paper import paper

NIGHTLY = os.environ.get("TRADEWIND_HYPOTHESIS") == "nightly"
DROPS, FLAPS = (200, 1_000) if NIGHTLY else (2, 4)
APART = 60


class Troubled(Player):
    """Plays as fast as it can. Each sixty bars it loses its client and plays 1 to 30 bars to nobody; at other bars it hangs up, and loses nothing.

    Of its bars a tenth come twice, a hundredth come again when their instant is over and was known otherwise, and as many when it is not known.
    """

    def __init__(self, tape: Tape, *, backfills: bool) -> None:
        super().__init__(tape, PacedClock(inf, tape.interval), backfills=backfills)
        self.rng = np.random.default_rng(11)
        self.drops = {row: int(self.rng.integers(1, 31)) for row in range(APART, APART * (DROPS + 1), APART)}
        quiet = [row for row in range(2, len(tape)) if row % APART > 31]
        self.flaps = set(self.rng.choice(quiet, FLAPS, replace=False).tolist())
        self.doubled = self.late = self.conflicts = 0

    def _serve(self, client: Any, pack: Callable[[Any], Any], unpack: Callable[[Any], Any]) -> None:
        for answer in ("authenticated", "subscription"):
            unpack(client.recv(10.0))
            client.send(pack([{"T": "success", "msg": answer}]))
        tape = self._tape
        while self.played < len(tape):
            row = self.played
            missed = self.drops.pop(row, 0)
            if missed:
                self.played += missed
                return
            frame = messages_of(tape, row)
            bars = [frame]
            if self.rng.uniform() < 0.1:
                self.doubled += 1
                bars.append(frame[:1])
            if self.rng.uniform() < 0.01:
                self.conflicts += 1
                bars.append([{**frame[0], "v": frame[0]["v"] + 1.0}])
            if self.rng.uniform() < 0.01:
                self.late += 1
                bars.append([{**frame[0], "t": frame[0]["t"] - 1, "e": frame[0]["e"] - 1}])
            self.played += 1
            for each in bars:
                client.send(pack(each))
            if row in self.flaps:
                return
        client.send(pack([{"T": "over"}]))


@pytest.mark.parametrize("backfills", [True, False])
def test_the_ledger_is_that_of_the_clean_run_where_what_was_missed_is_told_and_else_each_drop_is_one_gap(backfills: bool, tmp_path: Path) -> None:
    scenario = load("walks", [f"feed.bars={APART * (DROPS + 2)}", "feed.interval=1m", "strategy.lookback=20", "strategy.every=5"])
    whole, path = run(scenario), tmp_path / "j"
    with Troubled(whole.tape, backfills=backfills) as player:
        url, symbols, login = f"ws://127.0.0.1:{player.port}", tuple(whole.tape.index), Login("k", "s")
        missed = backfill_of(url, "", symbols, login, 60 * SECOND, 0)
        traded, status = paper(scenario, Websocket(url, symbols, login, backfill=missed), path, past=whole.tape.cut(0))
    said = [x.kind for x in recording.read(path).said]
    assert (player.most, status.counts["lost"]) == (1, DROPS + FLAPS)
    assert (said.count("conflict"), said.count("late")) == (player.conflicts, player.late)
    assert player.doubled > 0
    if backfills:
        assert (traded.hash, said.count("gap")) == (whole.hash, 0)
    else:
        assert said.count("gap") == DROPS
    assert_replays(path, tmp_path / "out")
