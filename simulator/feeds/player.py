"""A tape played as a live feed: a websocket server in the Alpaca market-data dialect.

Time begins when the first client has subscribed, and then goes on whoever listens. One client is served at a time, as there; a second one is told
"connection limit exceeded". What has been played is told over REST at the same place (feeds.live_backfill), unless the player is not to back-fill.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from http import HTTPStatus
from socket import SHUT_RDWR
from threading import Condition, Lock, Thread
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from simulator.errors import SimulatorError
from simulator.feeds.live import instant, messages_of, trades_of
from simulator.feeds.live_backfill import AT_ONCE, stamp, timeframe
from simulator.feeds.live_backfill import PATH as BARS
from simulator.loop.clocks import PacedClock
from simulator.market.tape import DAY, Tape

LOOK_SECONDS: Final = 0.1


class Player:
    """Plays *tape* by *clock*; use it in a `with`, which serves on *host* and *port* (0: any that is free, then see `port`).

    A client has to say *key* and *secret*, if they are given. *most* is how many clients were listened to at once, ever.
    """

    def __init__(
        self, tape: Tape, clock: PacedClock, *, host: str = "127.0.0.1", port: int = 0, backfills: bool = True, key: str = "", secret: str = ""
    ) -> None:
        self._tape, self._clock, self._host, self.port, self._backfills = tape, clock, host, port, backfills
        self._login = (key, secret)
        self.played, self.over, self.most = 0, False, 0
        self._clients: list[Any] = []
        self._moved, self._lock, self._begun = Condition(), Lock(), False

    def __enter__(self) -> Player:
        try:
            from websockets.sync.server import serve
        except ImportError as error:
            raise SimulatorError(f"playing needs the package {error.name}: pip install 'tradewind[paper]'") from None
        try:
            self._server = serve(self._attend, self._host, self.port, process_request=self._answer, compression=None, close_timeout=1.0)
        except OSError as error:
            raise SimulatorError(f"cannot serve on {self._host}:{self.port}: {error.strerror or error}") from error
        self.port = self._server.socket.getsockname()[1]
        self._serving = Thread(target=self._server.serve_forever, daemon=True)
        self._serving.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._clock.stop()
        with self._moved:
            self._moved.notify_all()
        self.drop()
        self._server.shutdown()
        self._serving.join(5.0)

    def drop(self) -> None:
        """Close the connection of whoever listens, as a network would."""
        for client in list(self._clients):
            with suppress(OSError):
                client.socket.shutdown(SHUT_RDWR)

    def _begin(self) -> None:
        with self._lock:
            if not self._begun:
                self._begun = True
                Thread(target=self._play, daemon=True).start()

    def _play(self) -> None:
        try:
            for row in range(len(self._tape)):
                self._clock.wait_until(self._tape.ats[row])
                with self._moved:
                    self.played = row + 1
                    self._moved.notify_all()
        except KeyboardInterrupt:
            return
        with self._moved:
            self.over = True
            self._moved.notify_all()

    def _answer(self, client: Any, request: Any) -> Any:
        """What a request over HTTP gets that is none for a websocket: None for those."""
        parts = urlsplit(request.path)
        if parts.path != BARS or not self._backfills:
            return None if request.headers.get("Upgrade") else _page(404, {"message": "endpoint not found"})
        login = request.headers.get("APCA-API-KEY-ID", ""), request.headers.get("APCA-API-SECRET-KEY", "")
        if self._login != ("", "") and login != self._login:
            return _page(403, {"message": "forbidden"})
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        try:
            symbols, start = sorted(self._symbols(asked["symbols"].split(","))), instant(asked["start"])
            limit, first = min(int(asked.get("limit", "1000")), AT_ONCE), int(asked.get("page_token", "0"))
            if asked["timeframe"] != timeframe(self._tape.interval) or limit < 1 or first < 0:
                raise ValueError(asked["timeframe"])
        except (KeyError, ValueError):
            return _page(400, {"message": "invalid query"})
        # Of history itself only what has been played is there, whatever the end that is asked for.
        begin, end = bisect_left(self._tape.starts, start, 0, self.played), self.played
        told = [message for row in range(begin, end) for message in messages_of(self._tape, row)]
        bars = [(symbol, bar) for symbol in symbols for bar in told if bar["S"] == symbol]
        page: dict[str, list[Any]] = {}
        for symbol, bar in bars[first : first + limit]:
            page.setdefault(symbol, []).append({**{key: bar[key] for key in bar if key not in ("T", "S")}, "t": stamp(bar["t"])})
        return _page(200, {"bars": page, "next_page_token": str(first + limit) if len(bars) > first + limit else None})

    def _attend(self, client: Any) -> None:
        """One client, in a thread of its own."""
        from websockets.exceptions import WebSocketException

        pack, unpack = _wire(client.request.headers.get("Content-Type", ""))
        try:
            with self._lock:
                taken = bool(self._clients)
                if not taken:
                    self._clients.append(client)
                    self.most = max(self.most, len(self._clients))
            if taken:
                client.send(pack([{"T": "error", "code": 406, "msg": "connection limit exceeded"}]))
                return
            try:
                client.send(pack([{"T": "success", "msg": "connected"}]))
                self._serve(client, pack, unpack)
            finally:
                with self._lock:
                    self._clients.remove(client)
        except (WebSocketException, OSError, EOFError):
            return

    def _serve(self, client: Any, pack: Callable[[Any], Any], unpack: Callable[[Any], Any]) -> None:
        known, wanted, at, told = False, set[str](), 0, messages_of
        while not wanted:
            asked = unpack(client.recv(10.0))
            action = asked.get("action") if isinstance(asked, dict) else None
            if action == "auth":
                known = self._login == ("", "") or (asked.get("key"), asked.get("secret")) == self._login
                client.send(pack([{"T": "success", "msg": "authenticated"} if known else {"T": "error", "code": 402, "msg": "auth failed"}]))
            elif not known:
                client.send(pack([{"T": "error", "code": 401, "msg": "not authenticated"}]))
            elif action == "subscribe":
                kind = "trades" if asked.get("trades") else "dailyBars" if self._tape.interval >= DAY else "bars"
                wanted, told = self._symbols(asked.get(kind) or ()), trades_of if kind == "trades" else messages_of
                at = self.played
                client.send(pack([{"T": "subscription", "trades": [], "quotes": [], "bars": [], "dailyBars": [], kind: sorted(wanted)}]))
            else:
                client.send(pack([{"T": "error", "code": 400, "msg": "invalid syntax"}]))
        self._begin()
        while True:
            with self._moved:
                if at == self.played and not self.over:
                    self._moved.wait(LOOK_SECONDS)
                until, over = self.played, self.over
            while at < until:
                frame = [message for message in told(self._tape, at) if message["S"] in wanted]
                at += 1
                if frame:
                    client.send(pack(frame))
            if over and at >= len(self._tape):
                client.send(pack([{"T": "over"}]))
                return
            if self._clock.stopping or client.close_code is not None:
                return

    def _symbols(self, asked: Iterable[str]) -> set[str]:
        return set(self._tape.index) if "*" in asked else set(asked) & set(self._tape.index)


def _wire(content_type: str) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """How frames are written and read: msgpack, with its own timestamps, for whoever asks for it, else JSON."""
    if content_type != "application/msgpack":
        return lambda frame: json.dumps(_stamped(frame, stamp)), json.loads
    import msgpack

    return lambda frame: msgpack.packb(_stamped(frame, msgpack.Timestamp.from_unix_nano)), msgpack.unpackb


def _stamped(frame: Any, stamp: Callable[[int], Any]) -> Any:
    """A frame whose times are as its encoding has them."""
    return [{**message, "t": stamp(message["t"])} if "t" in message else message for message in frame] if isinstance(frame, list) else frame


def _page(status: int, said: Mapping[str, Any]) -> Any:
    """An answer over HTTP, in JSON."""
    from websockets.datastructures import Headers
    from websockets.http11 import Response

    body = json.dumps(said).encode()
    headers = Headers({"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"})
    return Response(status, HTTPStatus(status).phrase, headers, body)
