"""A websocket client for the Alpaca market-data dialect: authentication, subscriptions, frames of msgpack or JSON, and reconnecting.

One thread has one connection at a time. Key and secret are read from the environment, and here alone (APCA_API_KEY_ID, APCA_API_SECRET_KEY); they go
to the servers and nowhere else. What was missed while no connection was there is asked for over REST (feeds.live_backfill).
See https://docs.alpaca.markets/docs/streaming-market-data.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import Any, Final
from urllib.parse import urlsplit

from simulator.errors import SimulatorError
from simulator.feeds.live import KINDS, Put, Said, deliver, instant
from simulator.feeds.live_backfill import HERE, Backfill, Login, UnfilledError, shown
from simulator.loop.clocks import WallClock
from simulator.loop.randomness import stream

KEY, SECRET = "APCA_API_KEY_ID", "APCA_API_SECRET_KEY"
LOOK_SECONDS: Final = 0.2
ANSWER_SECONDS: Final = 10.0
DELAY_SECONDS: Final = 0.25
DELAY_MOST_SECONDS: Final = 30.0
PASSING: Final = (408, 425, 429)
"""Answers to a client that is too slow, too early or too quick: another try may help, as with 500 and above."""
REFUSED: Final = (401, 402, 409)
"""Not authenticated, authentication failed, insufficient subscription: another try would not help."""


def login() -> Login:
    """Key and secret from the environment, empty where they are not set."""
    return Login(os.environ.get(KEY, ""), os.environ.get(SECRET, ""))


class Websocket:
    """The bars of *symbols* from a server at *url*, or the *trades* that make them. What was missed is asked of *backfill*, where there is one.

    After a connection is lost it waits 0.25 s, doubling to 30 s, of which *seed* jitters a half.

    Raises SimulatorError where the websockets and msgpack packages are missing, or key and secret are for a server that is not on this machine.
    """

    def __init__(
        self,
        url: str,
        symbols: tuple[str, ...],
        given: Login,
        *,
        daily: bool = False,
        trades: bool = False,
        backfill: Backfill | None = None,
        seed: int = 0,
    ) -> None:
        try:
            import msgpack  # noqa: F401
            import websockets  # noqa: F401
        except ImportError as error:
            raise SimulatorError(f"a websocket feed needs the package {error.name}: pip install 'tradewind[paper]'") from None
        if not (given.key and given.secret) and urlsplit(url).hostname not in HERE:
            raise SimulatorError(f"set {KEY} and {SECRET} in the environment: {urlsplit(url).hostname} asks for them")
        self._url, self._symbols, self._login, self._backfill = url, symbols, given, backfill
        self._channels = ("trades",) if trades else ("dailyBars",) if daily else ("bars", "updatedBars")
        self._chance = stream(seed, "reconnect")
        # When the first bar that was heard opened: from there on nothing is to be missed, though nobody has taken it yet.
        self._began = 0

    def run(self, put: Put, since: Callable[[], int], stopping: Event) -> None:
        """Connect and listen until it is over. Raises SimulatorError where the server says no for good."""
        from websockets.exceptions import InvalidStatus, WebSocketException

        tries = 0
        while not stopping.is_set():
            try:
                heard, over = self._listen(put, since, stopping)
                if over:
                    put(Said("over"))
                    return
                tries = 0 if heard else tries
            except InvalidStatus as error:
                status = error.response.status_code
                if 400 <= status < 500 and status not in PASSING:
                    raise SimulatorError(f"{shown(self._url)} is no such feed: it answers {status} {error.response.reason_phrase}") from None
                put(Said("lost", f"it answers {status}"))
            except (OSError, WebSocketException, ValueError) as error:
                # Only the kind of it: its words may quote what was sent.
                put(Said("lost", type(error).__name__))
            delay = min(DELAY_SECONDS * 2.0**tries, DELAY_MOST_SECONDS)
            tries += 1
            stopping.wait(delay * (0.5 + 0.5 * float(self._chance.random())))

    def _listen(self, put: Put, since: Callable[[], int], stopping: Event) -> tuple[bool, bool]:
        """One connection from its beginning to its end: whether anything was heard, and whether that was the last of it."""
        import msgpack
        from websockets.exceptions import ConnectionClosed
        from websockets.sync.client import ClientConnection, connect

        def answers(socket: ClientConnection, timeout: float) -> list[Mapping[str, Any]]:
            frame = socket.recv(timeout)
            found = msgpack.unpackb(frame) if isinstance(frame, bytes) else json.loads(frame)
            several = found if isinstance(found, list) else [found]
            for answer in several:
                if isinstance(answer, Mapping) and answer.get("T") == "error":
                    if answer.get("code") in REFUSED:
                        raise SimulatorError(f"{shown(self._url)} refuses: {answer.get('code')} {answer.get('msg')}")
                    raise OSError(f"error {answer.get('code')}")
            return several

        heard = False
        headers = {"Content-Type": "application/msgpack"}
        with connect(self._url, additional_headers=headers, open_timeout=ANSWER_SECONDS, close_timeout=1.0, max_size=1 << 24) as socket:
            answers(socket, ANSWER_SECONDS)
            socket.send(msgpack.packb({"action": "auth", "key": self._login.key, "secret": self._login.secret}))
            answers(socket, ANSWER_SECONDS)
            socket.send(msgpack.packb({"action": "subscribe", **{channel: list(self._symbols) for channel in self._channels}}))
            first = answers(socket, ANSWER_SECONDS)
            # Asked for when what comes from now on is on its way already: between the two nothing is lost, and what is in both is dropped.
            self._fill(put, since() or self._began, stopping)
            deliver(first, put)
            while not stopping.is_set():
                try:
                    frame = answers(socket, LOOK_SECONDS)
                except TimeoutError:
                    continue
                except ConnectionClosed as error:
                    put(Said("lost", type(error).__name__))
                    return heard, False
                heard = True
                self._began = self._began or _opened(frame)
                if deliver(frame, put):
                    return heard, True
        return heard, False

    def _fill(self, put: Put, since: int, stopping: Event) -> None:
        """Say that the connection is there, and put what was missed. A session begins at its first live bar: before it nothing was."""
        where = shown(self._url)
        if not since or self._backfill is None:
            put(Said("connected", where))
            return
        try:
            frames = self._backfill.frames(since, WallClock.wall(), stopping.wait)
        except UnfilledError as error:
            put(Said("connected", f"{where}; {self._backfill} does not tell what was missed: {error}"))
            return
        put(Said("connected", f"{where}; {sum(map(len, frames)):,} bars from {self._backfill}", backfilled=True))
        for frame in frames:
            put(frame)


def _opened(frame: Sequence[Mapping[str, Any]]) -> int:
    """When the first bar of a frame opened, in UTC nanoseconds; 0 where there is none."""
    for message in frame:
        try:
            if message["T"] in KINDS:
                return instant(message["t"])
        except (KeyError, TypeError, ValueError):
            continue
    return 0
