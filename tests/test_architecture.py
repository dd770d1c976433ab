"""Dependencies point one way, and the few rules that keep a run repeatable are kept: read from the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import simulator

ROOT = Path(simulator.__file__).parent.parent
SOURCES = sorted(path for folder in ("simulator", "strategies", "brokers") for path in (ROOT / folder).rglob("*.py"))

# Who may import whom inside the engine, from the bottom up. A room imports rooms before it; `simulator` itself is the public names.
ROOMS = {
    "errors": set(),
    "kernels": set(),
    "market": {"errors", "kernels", "book"},
    "book": {"errors", "kernels", "market"},
    "ports": {"book", "market"},
    "risk": {"errors", "kernels", "market", "book", "ports"},
    "loop": {"errors", "kernels", "market", "book", "ports", "risk"},
    "models": {"errors", "book", "loop", "risk"},
    "feeds": {"errors", "kernels", "market", "loop", "models"},
    "report": {"errors", "kernels", "market", "book", "risk", "loop"},
    "plugins": {"errors"},
    "scenarios": {"errors", "plugins", "book", "risk", "feeds"},
    "desks": {"errors", "book", "market", "loop", "report", "scenarios", "assembly"},
    "cluster": {"errors", "assembly", "desks"},
    "crews": {"errors", "assembly", "desks", "cluster"},
    "order_lists": {"errors", "market", "book", "risk", "feeds", "report", "plugins", "assembly"},
    "sweeps": {"errors", "loop", "report", "scenarios", "assembly", "desks", "crews"},
    "walking": {"errors", "book", "report", "scenarios", "desks", "crews", "sweeps"},
    "stresses": {"errors", "market", "feeds", "report", "risk", "scenarios", "assembly"},
    "terminal": set(),
    "scaffold": {"errors", "plugins"},
    "conformance": {"errors", "market", "book", "ports", "risk", "loop", "feeds", "report", "plugins", "assembly"},
    "assembly": {"errors", "kernels", "market", "book", "ports", "risk", "loop", "feeds", "report", "plugins", "scenarios"},
    "paper": {"errors", "market", "ports", "risk", "loop", "feeds", "report", "scenarios", "assembly"},
    "cli_live": {"errors", "terminal"},
    "described": {"errors", "market", "feeds", "report"},
    "cli_data": {"errors", "terminal"},
    "cli": {
        "errors",
        "kernels",
        "market",
        "book",
        "ports",
        "risk",
        "loop",
        "feeds",
        "report",
        "plugins",
        "scenarios",
        "assembly",
        "sweeps",
        "stresses",
        "terminal",
        "walking",
        "cli_live",
        "cli_data",
    },
}
# What one room alone may use.
ONLY_IN = {
    "numba": ("simulator/kernels/",),
    "simpy": ("brokers/",),
    "hmmlearn": ("simulator/models/",),
    "sklearn": ("simulator/models/",),
    "statsmodels": ("simulator/models/",),
    "skfolio": ("simulator/models/",),
    "cvxpy": (),
    "clarabel": ("simulator/risk/",),
    "scaler": ("simulator/cluster.py",),
    "plotly": ("simulator/report/",),
    "random": (),
    "secrets": (),
    "uuid": (),
}
# prove runs scenarios, so that this one import points up; it is made inside the function.
UPWARD = {("loop", "assembly"), ("loop", "report"), ("loop", "scenarios"), ("report", "scenarios"), ("ports", "kernels")}


def imports(path: Path) -> list[str]:
    """All modules that a file imports, those for type checkers too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found += [f"{node.module}.{name.name}" for name in node.names]
    return found


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def runs_when_imported(path: Path) -> list[str]:
    """The modules that a file imports when it is imported itself: not those for type checkers, nor those inside functions."""
    found = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{name.name}" for name in node.names]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_dependencies_point_one_way(path: Path) -> None:
    here = relative(path).split("/")
    for name in runs_when_imported(path):
        parts = name.split(".")
        if here[0] in ("strategies", "brokers"):
            if parts[0] == "simulator":
                assert name.split(".")[1] in simulator.__all__ or parts[1] == "kernels", f"{here} imports {name}, which is not public"
            assert parts[0] not in {"strategies", "brokers"} - {here[0]}, f"{here} imports {name}"
            continue
        assert parts[0] not in ("strategies", "brokers", "tests"), f"{here} imports {name}"
        if parts[0] == "simulator" and here[0] == "simulator" and len(parts) > 1 and len(here) > 1:
            room, there = here[1].removesuffix(".py"), parts[1]
            if room != "__init__" and there in ROOMS and room != there:
                assert there in ROOMS[room] or (room, there) in UPWARD, f"{'/'.join(here)} imports {name}: {room} may not know {there}"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_special_libraries_stay_in_their_rooms(path: Path) -> None:
    for name in imports(path):
        homes = ONLY_IN.get(name.split(".")[0])
        if homes is not None:
            assert relative(path).startswith(homes), f"{relative(path)} imports {name}"


def names_used(path: Path) -> set[str]:
    """Dotted names that a file reads, such as time.time or np.random."""
    return {ast.unparse(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute | ast.Name)}


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_nothing_reads_the_clock_the_environment_or_chance(path: Path) -> None:
    used, place = names_used(path), relative(path)
    wall = {"time.time", "time.monotonic", "time.perf_counter", "datetime.now", "datetime.utcnow", "date.today", "time.sleep"}
    # The command line tells its user how fast a run was; nothing of it reaches a result.
    assert not used & wall or place in ("simulator/loop/clocks.py", "simulator/cli.py")
    # Key and secret of a live feed are read in one place.
    assert not used & {"os.environ", "os.getenv"} or place in ("simulator/__init__.py", "simulator/feeds/live_websocket.py")
    assert "np.random" not in used or place == "simulator/loop/randomness.py"
    calls = {node.func.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert "hash" not in calls


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_every_file_and_public_thing_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text())
    if not path.read_text().strip():
        return
    assert ast.get_docstring(tree), f"{relative(path)} has no docstring"
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{relative(path)}: {node.name} has no docstring"


def test_the_public_names_are_those_that_type_checkers_see() -> None:
    tree = ast.parse((ROOT / "simulator" / "__init__.py").read_text())
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {name.asname for block in blocks for node in block.body if isinstance(node, ast.ImportFrom) for name in node.names}
    homes = {name.asname: node.module for block in blocks for node in block.body if isinstance(node, ast.ImportFrom) for name in node.names}
    assert seen == set(simulator.__all__)
    assert homes == simulator._HOME_OF
    for name in simulator.__all__:
        assert getattr(simulator, name) is not None


def test_the_step_stays_one_screen() -> None:
    tree = ast.parse((ROOT / "simulator" / "loop" / "session.py").read_text())
    step = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "step")
    assert step.end_lineno is not None
    assert step.end_lineno - step.lineno < 40


def test_each_kernel_has_one_signature_after_a_run() -> None:
    """Ints from TOML, read-only or sliced arrays would each make numba compile again: everything is coerced at the boundary."""
    from simulator.assembly import run
    from simulator.kernels import batches, folds, tapes

    for name in ("walks", "dotcom_trend"):
        assert len(run(simulator.load(name)).equity)
    kernels = [thing for module in (batches, folds, tapes) for thing in vars(module).values() if hasattr(thing, "signatures")]
    many = {kernel.__name__: len(kernel.signatures) for kernel in kernels if len(kernel.signatures) > 1}
    assert not many
