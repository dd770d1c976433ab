"""A websocket client for the Alpaca market-data dialect: authentication, subscriptions, frames of msgpack or JSON, and reconnecting.

One thread has one connection at a time. Key and secret are read from the environment, and here alone (APCA_API_KEY_ID, APCA_API_SECRET_KEY); they go
to the server and nowhere else. What was missed is asked for where the server says that it can tell ("backfill", which is ours: `tradewind play` can).
See https://docs.alpaca.markets/docs/streaming-market-data.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from threading import Event
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from simulator.errors import SimulatorError
from simulator.feeds.live import Put, Said, deliver
from simulator.loop.randomness import stream

KEY, SECRET = "APCA_API_KEY_ID", "APCA_API_SECRET_KEY"
LOOK_SECONDS: Final = 0.2
ANSWER_SECONDS: Final = 10.0
DELAY_SECONDS: Final = 0.25
DELAY_MOST_SECONDS: Final = 30.0
REFUSED: Final = (401, 402, 409)
"""Not authenticated, authentication failed, insufficient subscription: another try would not help."""


class Login(NamedTuple):
    """A key and its secret. Neither is ever printed."""

    key: str
    secret: str

    def __repr__(self) -> str:
        return "Login(...)"


def login() -> Login:
    """Key and secret from the environment, empty where they are not set."""
    return Login(os.environ.get(KEY, ""), os.environ.get(SECRET, ""))


class Websocket:
    """The bars of *symbols* from a server at *url*, or the *trades* that make them.

    After a connection is lost it waits 0.25 s, doubling to 30 s, of which *seed* jitters a half.

    Raises SimulatorError where the websockets and msgpack packages are missing, or key and secret are for a server that is not on this machine.
    """

    def __init__(self, url: str, symbols: tuple[str, ...], given: Login, *, daily: bool = False, trades: bool = False, seed: int = 0) -> None:
        try:
            import msgpack  # noqa: F401
            import websockets  # noqa: F401
        except ImportError as error:
            raise SimulatorError(f"a websocket feed needs the package {error.name}: pip install 'tradewind[paper]'") from None
        if not (given.key and given.secret) and urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1"):
            raise SimulatorError(f"set {KEY} and {SECRET} in the environment: {urlsplit(url).hostname} asks for them")
        self._url, self._symbols, self._login = url, symbols, given
        self._channels = ("trades",) if trades else ("dailyBars",) if daily else ("bars", "updatedBars")
        self._chance = stream(seed, "reconnect")

    def run(self, put: Put, since: Callable[[], int], stopping: Event) -> None:
        """Connect and listen until it is over. Raises SimulatorError where the server says no for good."""
        from websockets.exceptions import WebSocketException

        tries = 0
        while not stopping.is_set():
            try:
                heard, over = self._listen(put, since, stopping)
                if over:
                    put(Said("over"))
                    return
                tries = 0 if heard else tries
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
            (welcome, *_) = answers(socket, ANSWER_SECONDS)
            socket.send(msgpack.packb({"action": "auth", "key": self._login.key, "secret": self._login.secret}))
            answers(socket, ANSWER_SECONDS)
            backfills = bool(welcome.get("backfill"))
            wish: dict[str, Any] = {"action": "subscribe", **{channel: list(self._symbols) for channel in self._channels}}
            socket.send(msgpack.packb(wish | ({"since": since()} if backfills else {})))
            put(Said("connected", shown(self._url), backfilled=backfills))
            while not stopping.is_set():
                try:
                    frame = answers(socket, LOOK_SECONDS)
                except TimeoutError:
                    continue
                except ConnectionClosed as error:
                    put(Said("lost", type(error).__name__))
                    return heard, False
                heard = True
                if deliver(frame, put):
                    return heard, True
        return heard, False


def shown(url: str) -> str:
    """A URL without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
