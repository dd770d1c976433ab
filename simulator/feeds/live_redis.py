"""Bars from a Redis stream: redis://host:port/0?stream=bars, of which each entry has a field "data" with one message, or a list of them, in JSON.

The stream is read from its beginning, and its ids are kept: what was missed while the connection was down is there still. What was seen before is
dropped by whoever takes it, so that a session that is resumed reads what came meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from threading import Event
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit, urlunsplit

from simulator.errors import SimulatorError
from simulator.feeds.live import Put, Said, deliver
from simulator.loop.randomness import stream

LOOK_MILLISECONDS: Final = 200
DELAY_SECONDS: Final = 0.25
DELAY_MOST_SECONDS: Final = 30.0
AT_ONCE: Final = 500


class RedisStream:
    """The messages of one stream. Raises SimulatorError where the redis package is missing, or the URL names no stream."""

    def __init__(self, url: str, *, seed: int = 0) -> None:
        try:
            import redis  # noqa: F401
        except ImportError as error:
            raise SimulatorError(f"a Redis feed needs the package {error.name}: pip install 'tradewind[redis]'") from None
        parts = urlsplit(url)
        named = parse_qs(parts.query).get("stream", [])
        if len(named) != 1:
            raise SimulatorError("a Redis feed is redis://host:port/0?stream=NAME: it has to name one stream")
        self._url, self._stream, self._chance = urlunsplit(parts._replace(query="")), named[0], stream(seed, "reconnect")

    def run(self, put: Put, since: Callable[[], int], stopping: Event) -> None:
        """Read on, and connect anew after whatever breaks."""
        import redis

        last, tries = "0", 0
        while not stopping.is_set():
            client: Any = redis.Redis.from_url(self._url, socket_timeout=5.0, socket_connect_timeout=5.0)
            try:
                client.ping()
                put(Said("connected", f"stream {self._stream}", backfilled=True))
                tries = 0
                while not stopping.is_set():
                    for _, entries in client.xread({self._stream: last}, count=AT_ONCE, block=LOOK_MILLISECONDS) or ():
                        for id, fields in entries:
                            last = id
                            if deliver(_message(fields), put):
                                put(Said("over"))
                                return
            except redis.AuthenticationError:
                raise SimulatorError("the Redis server refuses the user or the password of the URL") from None
            except redis.RedisError as error:
                # Only the kind of it: its words may quote the URL.
                put(Said("lost", type(error).__name__))
            finally:
                client.close()
            delay = min(DELAY_SECONDS * 2.0**tries, DELAY_MOST_SECONDS)
            tries += 1
            stopping.wait(delay * (0.5 + 0.5 * float(self._chance.random())))


def _message(fields: dict[bytes, bytes]) -> Any:
    try:
        return json.loads(fields[b"data"])
    except (KeyError, ValueError, RecursionError):
        return {"T": "bad", "words": "an entry of the stream has no field data with JSON"}
