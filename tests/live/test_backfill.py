"""What was missed, asked for over REST: from servers that do as they are told, and from the player."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import inf
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from live_feeds import assert_replays
from websockets.sync.client import connect

from simulator import DAY, SECOND, DataError, SimulatorError, Tape, load
from simulator.assembly import run
from simulator.feeds.live import Said, instant, messages_of, parse
from simulator.feeds.live_backfill import Backfill, Login, UnfilledError, backfill_of, stamp, timeframe
from simulator.feeds.live_websocket import Websocket
from simulator.feeds.player import Player
from simulator.loop import recording
from simulator.loop.clocks import PacedClock
from simulator.paper import LiveSession, paper

WALKS = load("walks", ["feed.bars=60", "strategy.lookback=20", "strategy.every=5"])
CANARY = "canary-2b9c-of-a-secret"
BAR = {"t": "2024-01-02T14:30:00Z", "o": 1.0, "h": 2.0, "l": 0.5, "c": 1.5, "v": 100}
Answer = tuple[int, dict[str, str], Any]


class Server(ThreadingHTTPServer):
    """Gives these *answers*, one after another, and keeps what it was *asked*: path, query and headers."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked = list(answers), list[tuple[str, dict[str, str], dict[str, str]]]()
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        parts = urlsplit(self.path)
        server.asked.append((parts.path, {key: values[0] for key, values in parse_qs(parts.query).items()}, dict(self.headers)))
        status, headers, said = server.answers.pop(0)
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing."""


@contextmanager
def serving(*answers: Answer) -> Iterator[Server]:
    with Server(answers) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class Waits:
    """Waits for nothing, and knows how long it would have waited."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        return False


def asked_of(server: Server, waits: Waits | None = None, **terms: Any) -> list[list[dict[str, Any]]]:
    source = Backfill(server.url, ("A", "B"), Login("key", CANARY), 60 * SECOND, **terms)
    return source.frames(instant("2024-01-02T14:30:00Z"), instant("2024-01-02T15:00:00Z"), waits or Waits())


def test_pages_are_put_together_by_their_instants() -> None:
    """Alpaca's are sorted by symbol first, so that bars of one instant may come pages apart."""
    later = {**BAR, "t": "2024-01-02T14:31:00Z"}
    with serving(
        (200, {}, {"bars": {"A": [BAR, later]}, "next_page_token": "x"}), (200, {}, {"bars": {"B": [BAR]}, "next_page_token": None})
    ) as server:
        frames = asked_of(server, exchange="iex")
    assert [[(m["S"], m["T"], m["t"][11:16]) for m in frame] for frame in frames] == [
        [("A", "b", "14:30"), ("B", "b", "14:30")],
        [("A", "b", "14:31")],
    ]
    path, query, headers = server.asked[0]
    assert path == "/v2/stocks/bars"
    assert query == {
        **{"symbols": "A,B", "timeframe": "1Min", "limit": "10000", "adjustment": "raw", "sort": "asc", "feed": "iex"},
        **{"start": "2024-01-02T14:30:00.000000000Z", "end": "2024-01-02T14:59:00.000000000Z"},
    }
    assert {name.lower(): value for name, value in headers.items()}["apca-api-secret-key"] == CANARY
    assert server.asked[1][1] == {**query, "page_token": "x"}


def test_a_busy_server_is_asked_again_after_as_long_as_it_wishes() -> None:
    waits = Waits()
    with serving((429, {"Retry-After": "3"}, {}), (503, {}, {}), (200, {}, {"bars": {"A": [BAR]}, "next_page_token": None})) as server:
        assert len(asked_of(server, waits)) == 1
    assert waits.seconds[0] == 3.0
    assert 0.25 <= waits.seconds[1] <= 0.5


def test_a_server_that_stays_busy_is_given_up() -> None:
    waits = Waits()
    with serving(*[(500, {}, {})] * 6) as server, pytest.raises(UnfilledError, match="asked 6 times: 500 Internal Server Error"):
        asked_of(server, waits)
    assert len(waits.seconds) == 5
    assert all(0.5 * most <= waited <= most for waited, most in zip(waits.seconds, (0.25, 0.5, 1.0, 2.0, 4.0), strict=True))
    with serving((429, {"Retry-After": "3600"}, {})) as server, pytest.raises(UnfilledError, match="asked 1 times: 429 Too Many Requests"):
        asked_of(server)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((403, {}, {"message": "forbidden"}), "it answers 403 Forbidden"),
        ((302, {"Location": "http://127.0.0.1:1/"}, {}), "it answers 302 Found"),
        ((200, {}, b"<html>"), "its answer is not JSON"),
        ((200, {}, {"message": "?"}), "its answer is no page of bars"),
        ((200, {}, {"bars": {"A": [{"t": "soon"}]}}), "its answer is no page of bars"),
    ],
)
def test_an_answer_that_is_none_is_told_and_not_asked_for_again(answer: Answer, words: str) -> None:
    """Nobody to whom it redirects gets the secret."""
    with serving(answer) as server, pytest.raises(UnfilledError, match=words) as told:
        asked_of(server)
    assert len(server.asked) == 1
    assert CANARY not in repr(told.getrepr(showlocals=True, chain=True))


def test_pages_that_go_round_in_a_circle_are_left() -> None:
    page = (200, {}, {"bars": None, "next_page_token": "x"})
    with serving(page, page) as server, pytest.raises(UnfilledError, match="round in a circle"):
        asked_of(server)


def test_nobody_is_there() -> None:
    with serving() as server:
        url = server.url
    with pytest.raises(UnfilledError, match="asked 6 times: ConnectionRefusedError"):
        Backfill(url, ("A",), Login("", ""), DAY).frames(0, DAY, Waits())


@pytest.mark.parametrize(
    ("feed", "asked", "whom"),
    [
        ("wss://stream.data.alpaca.markets/v2/iex", "", "https://data.alpaca.markets"),
        ("wss://stream.data.sandbox.alpaca.markets/v2/sip", "", "https://data.sandbox.alpaca.markets"),
        ("wss://stream.data.alpaca.markets/v2/test", "", "None"),
        ("wss://stream.data.alpaca.markets/v1beta3/crypto/us", "", "None"),
        ("wss://stream.data.alpaca.markets/v2/iex", "none", "None"),
        ("wss://other.example.com/bars", "", "None"),
        ("wss://other.example.com/bars", "https://u:p@bars.example.com/?k=s", "https://bars.example.com/"),
        ("ws://127.0.0.1:8765", "", "http://127.0.0.1:8765"),
        ("ws://[::1]:8765", "none", "None"),
    ],
)
def test_whom_a_feed_asks(feed: str, asked: str, whom: str) -> None:
    assert str(backfill_of(feed, asked, ("A",), Login("k", "s"), DAY, 0)) == whom


@pytest.mark.parametrize(
    ("url", "words"), [("ftp://x/y", "must be like https"), ("http://data.example.com", "must be https:// where it is not this")]
)
def test_a_url_that_cannot_be_meant_is_refused(url: str, words: str) -> None:
    with pytest.raises(SimulatorError, match=words):
        Backfill(url, ("A",), Login("k", "s"), DAY)


def test_intervals_have_the_names_that_alpaca_gives_them() -> None:
    minutes = {1: "1Min", 5: "5Min", 60: "1Hour", 240: "4Hour", 1440: "1Day", 90: None, 2880: None}
    assert {m: timeframe(m * 60 * SECOND) for m in minutes} == minutes
    assert timeframe(SECOND) is None
    assert instant(stamp(1_700_000_000_123_456_789)) == 1_700_000_000_123_456_789


def test_the_player_tells_what_it_has_played_page_by_page_and_exactly() -> None:
    tape = run(WALKS).tape
    with Player(tape, PacedClock(inf, tape.interval), key="k", secret="s") as player:
        url = f"http://127.0.0.1:{player.port}"
        with connect(url.replace("http", "ws"), close_timeout=0.1) as client:
            client.recv()
            for wish in ({"action": "auth", "key": "k", "secret": "s"}, {"action": "subscribe", "dailyBars": ["*"]}):
                client.send(json.dumps(wish))
                client.recv()
            while not player.over:
                Event().wait(0.01)
        frames = Backfill(url, tuple(tape.index), Login("k", "s"), DAY, at_once=7).frames(tape.starts[20], 2**62, Waits())
        assert [[parse(m, tape) for m in frame] for frame in frames] == [[parse(m, tape) for m in messages_of(tape, k)] for k in range(20, 60)]
        with pytest.raises(UnfilledError, match="403 Forbidden"):
            Backfill(url, ("W1",), Login("k", CANARY), DAY).frames(1, 2**62, Waits())
        with pytest.raises(UnfilledError, match="400 Bad Request"):
            Backfill(url, ("W1",), Login("k", "s"), 60 * SECOND).frames(1, 2**62, Waits())


def test_a_place_where_there_is_no_stream_is_told_at_once_and_one_that_is_busy_is_tried_again() -> None:
    said: list[Any] = []
    with serving((503, {}, {}), (404, {}, {})) as server:
        source = Websocket(server.url.replace("http", "ws") + "/none", ("A",), Login("k", CANARY))
        with pytest.raises(SimulatorError, match="/none is no such feed: it answers 404 Not Found"):
            source.run(said.append, lambda: 0, Event())
    assert said == [Said("lost", "it answers 503")]


@pytest.mark.parametrize(("status", "gaps"), [(200, 0), (403, 1)])
def test_a_gap_is_filled_by_another_server_or_is_a_gap_that_says_why(status: int, gaps: int, tmp_path: Path) -> None:
    """The stream breaks after ten bars. The other server has what followed, and tells the last before that otherwise, which is a conflict."""
    whole, path, lost = run(WALKS), tmp_path / "j", Event()
    tape = whole.tape
    wrong = [{**bar, "v": 1.0} for bar in messages_of(tape, 9)]
    bars: dict[str, list[Any]] = {symbol: [] for symbol in tape.index}
    for bar in [*(bar for row in range(10, 60) for bar in messages_of(tape, row)), *wrong]:
        bars[bar["S"]].append({**bar, "t": stamp(bar["t"])})
    good = (200, {}, {"bars": bars, "next_page_token": None})
    with serving((429, {}, {}), good if status == 200 else (status, {}, {})) as other, Player(tape, Stepping(tape, lost, other)) as player:
        url, symbols, login = f"ws://127.0.0.1:{player.port}", tuple(tape.index), Login("key", CANARY)

        def watch(live: LiveSession) -> None:
            if live.tape.rows >= 10 and not lost.is_set():
                player.drop()
                # From here on the player plays on: to nobody.
                lost.set()

        with (tmp_path / "log").open("w") as log:
            missed = backfill_of(url, other.url, symbols, login, DAY, 0)
            traded, status_of = paper(WALKS, Websocket(url, symbols, login, daily=True, backfill=missed), path, watch=watch, log=log)
    said = recording.read(path).said
    assert len([x for x in said if x.kind == "gap"]) == gaps
    assert player.most == 1
    if gaps:
        assert any("does not tell what was missed: it answers 403 Forbidden" in x.words for x in said)
    else:
        assert traded.hash == whole.hash
        assert status_of.counts["conflict"] == tape.width
    assert_replays(path, tmp_path / "out")
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


class Stepping(PacedClock):
    """Plays ten bars, and when the stream was *lost* forty more before anybody can be back; the last ten to who is back, and has asked the *other*
    server, busy at first, for what was missed.
    """

    def __init__(self, tape: Tape, lost: Event, other: Server) -> None:
        super().__init__(inf, tape.interval)
        self._ats, self._lost, self._other = tape.ats, lost, other

    def wait_until(self, at: int) -> None:
        """As it says."""
        if at == self._ats[10]:
            self._lost.wait(10.0)
        while at == self._ats[50] and not self.stopping and len(self._other.asked) < 2:
            Event().wait(0.01)
        super().wait_until(at)


def test_a_bar_that_cannot_be_true_is_no_better_for_being_told_later() -> None:
    with pytest.raises(DataError, match="must span"):
        parse({**BAR, "T": "b", "S": "W1", "h": 0.6}, run(WALKS).tape)
