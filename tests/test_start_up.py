"""The command line answers at once, because nothing slow is imported before it is needed."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

HEAVY = {"numpy", "pandas", "numba", "pyarrow", "plotly", "scipy", "pydantic", "simpy", "arch", "skfolio", "sklearn"}

HELP = """
from simulator.cli import app
try:
    app(["--help"])
except SystemExit as end:
    assert end.code == 0, end.code
"""


@pytest.mark.parametrize(
    "code", ["import simulator", "import simulator.cli", "import simulator.errors", HELP], ids=["package", "cli", "errors", "help"]
)
def test_nothing_heavy_is_imported(code: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint('LOADED', *sys.modules)"], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = {name.partition(".")[0] for name in shown.stdout.partition("LOADED")[2].split()}
    assert "simulator" in loaded
    assert not loaded & HEAVY


def test_help_takes_less_than_a_fifth_of_a_second_of_cpu() -> None:
    """The best of five, since the first may compile and a busy machine may stall any."""

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "simulator.cli", "--help"], capture_output=True, check=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(5)) < 0.2
