"""What every bundled scenario did when it was last looked at: its orders one by one, and its metrics.

A change here is a change of what users get, and its commit must say why. `python tests/test_pins.py` writes the pins anew.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from simulator import Result, load, run
from simulator.report import metrics
from simulator.scenarios import bundled

PINS = Path(__file__).parent / "golden" / "pins.json"
# The last digits of a fit depend on the machine's linear algebra, and so do those of what follows from it.
NEARLY = 1e-6


def pin(result: Result) -> dict[str, Any]:
    """A run's orders, as a count and a digest, its final equity and its metrics; one that is undefined by the reason."""
    orders = [f"{x.symbol} {x.bar} {x.quantity!r} {x.kind} {x.limit!r} {x.stop!r} {x.tif} {x.state} {x.filled!r}\n" for x in result.orders]
    measured = {name: found.reason or float(found.value) for name, found in metrics.measures(result).items()}
    digest = sha256("".join(orders).encode()).hexdigest()
    return {"orders": len(orders), "digest": digest, "fills": len(result.fills), "equity": float(result.equity[-1]), "metrics": measured}


@pytest.mark.parametrize("name", sorted(bundled()))
def test_a_scenario_does_what_it_did(name: str) -> None:
    pinned, now = json.loads(PINS.read_text()), pin(run(load(name)))
    assert name in pinned, f"{name} is new: run python tests/test_pins.py"
    was = pinned[name]
    assert (now["orders"], now["fills"], now["digest"]) == (was["orders"], was["fills"], was["digest"])
    assert now["equity"] == pytest.approx(was["equity"], rel=NEARLY)
    assert now["metrics"].keys() == was["metrics"].keys()
    for metric, value in was["metrics"].items():
        if isinstance(value, str):
            assert now["metrics"][metric] == value
        else:
            assert now["metrics"][metric] == pytest.approx(value, rel=NEARLY, abs=1e-9), metric


def test_what_is_pinned_is_bundled() -> None:
    assert set(json.loads(PINS.read_text())) == set(bundled())


if __name__ == "__main__":
    PINS.write_text(json.dumps({name: pin(run(load(name))) for name in sorted(bundled())}, indent=1, sort_keys=True) + "\n")
