"""What a live feed missed, asked for afterwards: historical bars over REST, as Alpaca serves them and `tradewind play` does.

    GET /v2/stocks/bars?symbols=A,B&timeframe=1Min&start=...&end=...&limit=10000&adjustment=raw&feed=iex&page_token=...

answers {"bars": {"A": [{"t": ..., "o": ..., "h": ..., "l": ..., "c": ..., "v": ...}]}, "next_page_token": null}, page by page, sorted by symbol and
then by time. Key and secret go into headers, to this server and to nobody whom it names.
See https://docs.alpaca.markets/reference/stockbars.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any, Final, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from simulator.errors import SimulatorError
from simulator.feeds.live import instant
from simulator.loop.randomness import stream
from simulator.market.tape import DAY, SECOND

HERE: Final = ("127.0.0.1", "localhost", "::1")
PATH: Final = "/v2/stocks/bars"
AT_ONCE: Final = 10_000
ANSWER_SECONDS: Final = 10.0
MOST_BYTES: Final = 1 << 26
TRIES: Final = 6
DELAY_SECONDS: Final = 0.25
DELAY_MOST_SECONDS: Final = 8.0
PATIENCE_SECONDS: Final = 30.0
"""A server that asks for more patience than this is not waited for: the live bars would pile up meanwhile."""


class Login(NamedTuple):
    """A key and its secret. Neither is ever printed."""

    key: str
    secret: str

    def __repr__(self) -> str:
        return "Login(...)"


class UnfilledError(Exception):
    """What was missed is not to be had, and why: words that quote nothing that was sent."""


class Backfill:
    """Bars of *symbols* from the server at *url*, each *interval* nanoseconds long, of the feed of *exchange* ("iex", "sip"), so many *at_once*.

    A busy server is asked again after 0.25 s, doubling to 8 s, of which *seed* jitters a half, or after as long as it wishes.

    Raises SimulatorError for a URL that is none, and for one that would carry key and secret over a network in the clear.
    """

    def __init__(
        self, url: str, symbols: tuple[str, ...], given: Login, interval: int, *, exchange: str = "", at_once: int = AT_ONCE, seed: int = 0
    ) -> None:
        try:
            parts = urlsplit(url)
            known = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or True)
        except ValueError:
            known = False
        if not known:
            raise SimulatorError(f"--backfill must be like https://data.alpaca.markets, or none, was {shown(url)!r}")
        if parts.scheme == "http" and parts.hostname not in HERE:
            raise SimulatorError(f"--backfill must be https:// where it is not this machine, was {shown(url)!r}: it carries key and secret")
        self._url, self._symbols, self._login, self._interval = url.rstrip("/"), symbols, given, interval
        self._exchange, self._at_once = exchange, at_once
        self._chance = stream(seed, "backfill")
        # Whoever is named by a redirection gets neither key nor secret.
        handlers = [_Stay(), *([ProxyHandler({})] if parts.hostname in HERE else [])]
        self._opener = build_opener(*handlers)

    def __str__(self) -> str:
        return shown(self._url)

    def frames(self, since: int, now: int, wait: Callable[[float], bool]) -> list[list[dict[str, Any]]]:
        """The bars that opened at *since* or later and have closed *now*, both in UTC nanoseconds: those of an instant together, oldest first.

        *wait* sleeps so many seconds, and says whether to stop. Raises UnfilledError where they are not to be had.
        """
        frame = timeframe(self._interval)
        if frame is None:
            raise UnfilledError("bars of this interval cannot be asked for")
        asked = {"symbols": ",".join(self._symbols), "timeframe": frame, "start": stamp(since), "end": stamp(now - self._interval)}
        asked |= {"limit": str(self._at_once), "adjustment": "raw", "sort": "asc"} | ({"feed": self._exchange} if self._exchange else {})
        instants: dict[int, list[dict[str, Any]]] = {}
        kind, token, tokens = "d" if self._interval >= DAY else "b", None, set[str]()
        while True:
            page = self._page(asked | ({"page_token": token} if token else {}), wait)
            try:
                for symbol, bars in (page["bars"] or {}).items():
                    for bar in bars:
                        instants.setdefault(instant(bar["t"]), []).append({**bar, "T": kind, "S": symbol})
                token = page.get("next_page_token")
            except (AttributeError, KeyError, TypeError, ValueError):
                raise UnfilledError("its answer is no page of bars") from None
            if not token:
                return [instants[at] for at in sorted(instants)]
            if token in tokens:
                raise UnfilledError("its pages go round in a circle")
            tokens.add(token)

    def _page(self, asked: Mapping[str, str], wait: Callable[[float], bool]) -> Any:
        """One page, asked for again where the server is busy or the network fails."""
        request, patience = self._request(asked), PATIENCE_SECONDS
        for n in range(TRIES):
            wished = 0.0
            try:
                with self._opener.open(request, timeout=ANSWER_SECONDS) as answer:
                    body = answer.read(MOST_BYTES + 1)
                if len(body) > MOST_BYTES:
                    raise UnfilledError("its answer is too long")
                return json.loads(body)
            except HTTPError as error:
                why = f"{error.code} {error.reason}"
                error.close()
                if error.code != 429 and error.code < 500:
                    raise UnfilledError(f"it answers {why}") from None
                wished = _seconds(error.headers.get("Retry-After", ""))
            except (URLError, OSError, HTTPException) as error:
                # Only the kind of it: its words may quote what was sent.
                why = type(getattr(error, "reason", error)).__name__
            except (ValueError, RecursionError):
                raise UnfilledError("its answer is not JSON") from None
            delay = max(wished, min(DELAY_SECONDS * 2.0**n, DELAY_MOST_SECONDS) * (0.5 + 0.5 * float(self._chance.random())))
            patience -= delay
            if n + 1 == TRIES or patience < 0.0 or wait(delay):
                break
        raise UnfilledError(f"asked {n + 1} times: {why}")

    def _request(self, asked: Mapping[str, str]) -> Request:
        # In a frame of its own, so that no traceback that shows locals has them.
        headers = {"APCA-API-KEY-ID": self._login.key, "APCA-API-SECRET-KEY": self._login.secret, "Accept": "application/json"}
        return Request(f"{self._url}{PATH}?{urlencode(asked)}", headers=headers)


class _Stay(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Go nowhere else."""
        return


def backfill_of(feed: str, asked: str, symbols: tuple[str, ...], given: Login, interval: int, seed: int) -> Backfill | None:
    """Where the websocket feed at *feed* asks for what it missed: the URL *asked*, nowhere ("none"), or by itself ("").

    A stream of Alpaca's stocks by itself asks Alpaca's data host, and any other server of this machine, such as the player, that server.
    """
    parts = urlsplit(feed)
    host, exchange = parts.hostname or "", parts.path.rpartition("/")[2]
    if not asked and host in HERE:
        named = f"[{host}]" if ":" in host else host
        asked = f"http://{named}:{parts.port}" if parts.port else "none"
    elif not asked:
        stocks = host.startswith("stream.data.") and host.endswith(".alpaca.markets") and parts.path.startswith("/v2/")
        asked = f"https://{host.removeprefix('stream.')}" if stocks and exchange != "test" else "none"
    if asked == "none":
        return None
    return Backfill(asked, symbols, given, interval, exchange=exchange if parts.path.startswith("/v2/") else "", seed=seed)


def timeframe(interval: int) -> str | None:
    """What Alpaca calls bars of so many nanoseconds; None where it has none."""
    for name, length, most in (("Min", 60 * SECOND, 59), ("Hour", 3600 * SECOND, 23), ("Day", DAY, 1)):
        if interval % length == 0 and 1 <= interval // length <= most:
            return f"{interval // length}{name}"
    return None


def stamp(at: int) -> str:
    """UTC nanoseconds as RFC 3339."""
    whole = datetime.fromtimestamp(at // SECOND, UTC).isoformat().removesuffix("+00:00")
    return f"{whole}.{at % SECOND:09}Z"


def shown(url: str) -> str:
    """A URL without what may be secret in it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return f"{url.partition(':')[0]}://..."
    return f"{parts.scheme}://{parts.hostname or ''}{f':{port}' if port else ''}{parts.path}"


def _seconds(words: str) -> float:
    """The seconds of a Retry-After; 0 where it has a date, or nothing."""
    return float(words) if words.isdecimal() and words.isascii() else 0.0
