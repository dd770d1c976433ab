"""The same scenario, data and code give the same bytes, whatever the process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from simulator import load
from simulator.assembly import run

SCRIPT = """
from simulator import load
from simulator.assembly import run
for name in ("walks", "dotcom_trend", "dotcom_bust"):
    result = run(load(name))
    print(result.hash, result.run_id, repr(float(result.equity[-1])), len(result.fills))
"""


def in_a_process(hash_seed: str, zone: str, *flags: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "TZ": zone}
    done = subprocess.run([sys.executable, *flags, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_hash_seed_and_time_zone_change_no_byte() -> None:
    assert in_a_process("1", "America/New_York") == in_a_process("4242", "Asia/Kolkata")


def test_a_run_in_this_process_twice_gives_the_same_journal() -> None:
    scenario = load("walks")
    assert run(scenario).hash == run(scenario).hash


@pytest.mark.parametrize("override", ["seed=8", "strategy.top=2", "broker.slippage.bps=6.0"])
def test_what_decides_the_result_is_in_the_run_id(override: str) -> None:
    assert run(load("walks")).run_id != run(load("walks", [override])).run_id
