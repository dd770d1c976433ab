"""A Redis stream as a feed, from a real server where there is one."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from live_feeds import frames_of
from redis import Redis
from redis.exceptions import RedisError

from simulator import SimulatorError, load
from simulator.assembly import run
from simulator.feeds.live_redis import RedisStream
from simulator.paper import paper

WALKS = load("walks", ["feed.bars=120", "strategy.lookback=20", "strategy.every=5"])


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """The port of a server of our own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = int(free.getsockname()[1])
    command = ["redis-server", "--port", str(number), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        client: Any = Redis(port=number)
        for _ in range(200):
            try:
                client.ping()
                break
            except RedisError:
                time.sleep(0.05)
        client.close()
        try:
            yield number
        finally:
            server.terminate()


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="not run: there is no redis-server here")
def test_a_stream_is_traded_and_a_session_that_was_stopped_reads_on(port: int, tmp_path: Path) -> None:
    whole = run(WALKS)
    client: Any = Redis(port=port)
    frames = frames_of(whole.tape)
    for frame in frames[:60]:
        client.xadd("bars", {"data": json.dumps(frame)})
    client.xadd("bars", {"other": "words"})
    stop, source = Event(), RedisStream(f"redis://127.0.0.1:{port}/0?stream=bars")
    _, status = paper(WALKS, source, tmp_path / "j", stopping=stop, watch=lambda live: stop.set() if live.status.counts["bad"] else None)
    assert (status.bars, status.counts["bad"]) == (60, 1)
    for frame in frames[60:]:
        client.xadd("bars", {"data": json.dumps(frame)})
    client.xadd("bars", {"data": '{"T": "over"}'})
    client.close()
    traded, _ = paper(WALKS, source, tmp_path / "j", resume=True)
    assert traded.hash == whole.hash


def test_a_url_without_a_stream_is_refused() -> None:
    with pytest.raises(SimulatorError, match="it has to name one stream"):
        RedisStream("redis://127.0.0.1:6379/0")
