"""The plain market, loaded from the file beside this one: the folders of tests are no packages."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def plain_simulate() -> Callable[..., dict[str, Any]]:
    """The second implementation of the market rules."""
    spec = importlib.util.spec_from_file_location("plain_market", Path(__file__).with_name("plain_market.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    simulate: Callable[..., dict[str, Any]] = module.simulate
    return simulate
