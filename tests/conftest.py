"""Hypothesis profiles: `ci` is short, `nightly` long. Examples come from the property's name, not from chance, so that CI is repeatable."""

import os
import signal
from collections.abc import Iterator
from contextlib import chdir

import pytest
from hypothesis import HealthCheck, settings

# Where tests run in the background of a shell, Ctrl-C is ignored by them and by all that they start: here it is asked for.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
settings.register_profile("ci", max_examples=60, deadline=None, derandomize=True, suppress_health_check=_SLOW)
# For coverage, where all is plain Python and slow: examples enough to go everywhere, and none to search.
settings.register_profile("cover", max_examples=12, deadline=None, derandomize=True, suppress_health_check=_SLOW)
settings.register_profile("nightly", max_examples=5_000, deadline=None, suppress_health_check=_SLOW)
settings.load_profile(os.environ.get("TRADEWIND_HYPOTHESIS", "ci"))


@pytest.fixture(scope="session", autouse=True)
def somewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The current folder of all tests: runs of bundled scenarios leave their trials there."""
    with chdir(tmp_path_factory.mktemp("somewhere")):
        yield
