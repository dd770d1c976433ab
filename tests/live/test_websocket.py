"""Player, websocket and paper session on one machine: drops, flaps, kills, and what nobody may read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from math import inf
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from live_feeds import assert_replays
from typer.testing import CliRunner
from websockets.sync.client import connect

from simulator import SimulatorError, load
from simulator.assembly import run
from simulator.cli import app
from simulator.feeds.live import messages_of, parse
from simulator.feeds.live_backfill import Login, backfill_of, shown
from simulator.feeds.live_websocket import Websocket
from simulator.feeds.player import Player
from simulator.loop import recording
from simulator.loop.clocks import PacedClock
from simulator.loop.store import recorded
from simulator.market.tape import Tape
from simulator.paper import paper, replay
from simulator.report import records

NIGHTLY = os.environ.get("TRADEWIND_HYPOTHESIS") == "nightly"
SETTINGS = ["feed.bars=200", "strategy.lookback=20", "strategy.every=5"]
WALKS = load("walks", SETTINGS)
CANARY = "canary-7f3e-of-a-secret"

# A process that is warm and forks a paper session for each line that it reads: a journal, and the player's port.
FORKS = """
import os, sys
from pathlib import Path
from simulator import load
from simulator.assembly import run
from simulator.cli import app
from simulator.feeds.live_backfill import Login, backfill_of
from simulator.feeds.live_websocket import Websocket
from simulator.market.tape import DAY
from simulator.paper import paper

scenario, login = load("walks", {settings}), Login("", "")
symbols = tuple(run(scenario).tape.index)
for line in sys.stdin:
    place, port = line.split()
    child = os.fork()
    if not child:
        try:
            url = "ws://127.0.0.1:" + port
            source = Websocket(url, symbols, login, daily=True, backfill=backfill_of(url, "", symbols, login, DAY, 0))
            paper(scenario, source, Path(place), resume=Path(place).exists())
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    print(child, flush=True)
    sys.stdin.readline()  # until then its pid is nobody else's
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def fast(tape: Tape, **given: Any) -> Player:
    return Player(tape, PacedClock(inf, tape.interval), **given)


def to(player: Player, tape: Tape, seed: int = 0) -> Websocket:
    url, symbols, login = f"ws://127.0.0.1:{player.port}", tuple(tape.index), Login("k", "s")
    return Websocket(url, symbols, login, daily=True, backfill=backfill_of(url, "", symbols, login, tape.interval, seed), seed=seed)


def soon(what: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


def has_begun(path: Path) -> bool:
    return recording.has_bars(path) and bool(recording.read(path).bars)


@pytest.mark.parametrize("name", ["walks", *(["pairs", "two_regimes", "one_model", "leveraged_basket"] if NIGHTLY else [])])
def test_what_is_played_and_traded_on_paper_is_the_replay_of_its_scenario(name: str, tmp_path: Path) -> None:
    scenario, path = load(name), tmp_path / "j"
    whole = run(scenario)
    with fast(whole.tape) as player:
        traded, _ = paper(scenario, to(player, whole.tape), path)
    assert (traded.hash, player.most) == (whole.hash, 1)
    assert replay(path).hash == whole.hash


def test_bars_made_from_trades_trade_as_the_bars_do(tmp_path: Path) -> None:
    whole = run(WALKS)
    with fast(whole.tape) as player:
        source = Websocket(f"ws://127.0.0.1:{player.port}", tuple(whole.tape.index), Login("k", "s"), trades=True)
        traded, _ = paper(WALKS, source, tmp_path / "j")
    assert traded.hash == whole.hash


def test_messages_are_exact_in_json_and_in_msgpack() -> None:
    tape = run(WALKS, bars=1).tape
    with fast(tape) as player, connect(f"ws://127.0.0.1:{player.port}", close_timeout=0.1) as client:
        assert json.loads(client.recv())[0]["msg"] == "connected"
        client.send(json.dumps({"action": "subscribe", "dailyBars": ["*"]}))
        assert json.loads(client.recv())[0]["code"] == 401
        client.send(json.dumps({"action": "auth", "key": "k", "secret": "s"}))
        assert json.loads(client.recv())[0]["msg"] == "authenticated"
        client.send(json.dumps({"action": "subscribe", "dailyBars": ["W2", "W3"]}))
        assert json.loads(client.recv())[0]["dailyBars"] == ["W2", "W3"]
        frame = json.loads(client.recv())
    assert [message["t"] for message in frame] == ["2020-01-01T00:00:00.000000000Z"] * 2
    assert [parse(message, tape) for message in frame] == [parse(message, tape) for message in messages_of(tape, 0)[1:3]]


@pytest.mark.parametrize("backfills", [True, False])
def test_drops_are_filled_where_the_source_can_and_are_one_gap_each_where_it_cannot(backfills: bool, tmp_path: Path) -> None:
    """The connection breaks again and again while the feed goes on."""
    whole, path = run(WALKS), tmp_path / "j"
    with Player(whole.tape, PacedClock(20_000_000.0, whole.tape.interval), backfills=backfills) as player:
        ended = Event()

        def flap() -> None:
            rng = np.random.default_rng(3)
            while not ended.wait(float(rng.uniform(0.02, 0.15))):
                player.drop()

        thread = Thread(target=flap)
        thread.start()
        try:
            traded, status = paper(WALKS, to(player, whole.tape), path)
        finally:
            ended.set()
            thread.join()
    assert status.counts["lost"] > 2
    assert player.most == 1
    gaps = [x for x in recording.read(path).said if x.kind == "gap"]
    if backfills:
        assert (traded.hash, gaps) == (whole.hash, [])
    else:
        jumps = np.diff(np.searchsorted(whole.tape.closed_at, traded.tape.closed_at[: traded.rows]))
        assert len(gaps) >= int((jumps > 1).sum()) > 0
    assert_replays(path, tmp_path / "out")


@pytest.mark.parametrize(
    ("more", "times"),
    [
        ([], 3),
        (["broker.latency_seconds=30000", "broker.slicing.slices=4", "broker.slicing.seconds=20000"], 1),
    ],
)
def test_a_session_that_is_killed_again_and_again_ends_with_the_journal_of_one_that_was_not(more: list[str], times: int, tmp_path: Path) -> None:
    """Meanwhile the feed goes on, and what was missed comes after: to orders that were under way, and half sent, too."""
    whole, rng, kills = run(load("walks", [*SETTINGS, *more])), np.random.default_rng(), 0
    command = [sys.executable, "-c", FORKS.format(settings=[*SETTINGS, *more])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None
        for n in range(100 if NIGHTLY else times):
            path, status = tmp_path / str(n), -signal.SIGKILL
            with Player(whole.tape, PacedClock(20_000_000.0, whole.tape.interval)) as player:
                while status:
                    stdin.write(f"{path} {player.port}\n")
                    stdin.flush()
                    child = int(stdout.readline())
                    if not player.over:
                        # A session begins at its first bar.
                        soon(partial(has_begun, path))
                        time.sleep(float(rng.uniform(0.05, 0.5)))
                        os.kill(child, signal.SIGKILL)
                    stdin.write("\n")
                    stdin.flush()
                    status = int(stdout.readline())
                    assert status in (0, -signal.SIGKILL)
                    kills += status != 0
                    if recorded(path).closing:
                        # It was killed on its way out.
                        break
            assert player.most == 1
            assert records.read(path).journal.read() == whole.journal.read()
            assert records.read(path).digest == whole.tape.digest()
        stdin.close()
    assert kills


def test_a_second_client_is_told_that_there_is_one() -> None:
    tape = run(WALKS, bars=1).tape
    with Player(tape, PacedClock(1.0, tape.interval)) as player:
        url = f"ws://127.0.0.1:{player.port}"
        with connect(url) as first, connect(url) as second:
            first.recv()
            assert json.loads(second.recv())[0]["code"] == 406
    assert player.most == 1


def test_a_wrong_secret_is_refused_for_good_and_told_nobody(tmp_path: Path) -> None:
    tape = run(WALKS, bars=1).tape
    with fast(tape, key="k", secret="another") as player:
        wrong = Websocket(f"ws://user:{CANARY}@127.0.0.1:{player.port}/", tuple(tape.index), Login("k", CANARY), daily=True)
        with pytest.raises(SimulatorError, match="refuses: 402 auth failed") as told, (tmp_path / "log").open("w") as log:
            paper(WALKS, wrong, tmp_path / "j", log=log)
    assert CANARY not in repr(told.getrepr(showlocals=True)) + str(wrong) + shown(f"wss://u:{CANARY}@host/v2?key={CANARY}")
    assert not [path for path in tmp_path.iterdir() if CANARY.encode() in path.read_bytes()]


def test_a_server_elsewhere_needs_key_and_secret() -> None:
    with pytest.raises(SimulatorError, match="set APCA_API_KEY_ID and APCA_API_SECRET_KEY"):
        Websocket("wss://stream.example.com/v2/iex", ("A",), Login("", ""))


def test_the_commands_play_trade_stop_go_on_replay_and_compare(tmp_path: Path) -> None:
    """As a person would, with a secret that is in nothing that comes of it."""
    environment = {**os.environ, "APCA_API_KEY_ID": "key", "APCA_API_SECRET_KEY": CANARY}

    def tradewind(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "simulator.cli", *arguments]
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    out = ""
    player = tradewind("play", "trend", "--serve=ws://127.0.0.1:0", "--speed=5000000", "--set=feed.bars=100")
    try:
        assert player.stdout is not None
        url = player.stdout.readline().split(" at ")[1].strip()
        given = ("paper", "trend", f"--feed={url}", "--journal=j")
        first = tradewind(*given)
        soon(lambda: recording.has_bars(tmp_path / "j") and len(recording.read(tmp_path / "j").bars) > 5)
        began = time.monotonic()
        first.send_signal(signal.SIGTERM)
        out = first.communicate(timeout=20)[0]
        assert (first.returncode, time.monotonic() - began < 5.0) == (128 + signal.SIGTERM, True), out
        assert f"to go on: tradewind paper trend --feed={url} --journal=j --resume" in out
        replayed = CliRunner().invoke(app, ["replay", str(tmp_path / "j"), f"--out={tmp_path / 'first'}"]).output
        same = CliRunner().invoke(app, ["diff", str(tmp_path / "j"), str(tmp_path / "first")]).output
        assert "all 2 events, and how far both were run" in same, same
        second = tradewind(*given, "--resume")
        out += second.communicate(timeout=60)[0] + replayed + same
        assert second.returncode == 0, out
    finally:
        player.terminate()
        out += player.communicate(timeout=20)[0]
    assert records.read(tmp_path / "j").journal.read() == run(load("trend")).journal.read()
    assert CANARY not in out
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
