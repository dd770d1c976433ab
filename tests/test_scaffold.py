"""A package that `tradewind new` makes: it runs, is proved causal by its own test, and is clean. All of it without a network."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from simulator import SimulatorError, plugins, scaffold
from simulator.conformance import RULES

LONG = "a_name_of_forty_letters_which_is_the_end"


def installed(package: Path) -> dict[str, str]:
    """An environment in which the package is installed, as far as its own pyproject.toml says what that means: on the path, with its entry points."""
    said = tomllib.loads((package / "pyproject.toml").read_text())
    name, version = said["project"]["name"], said["project"]["version"]
    info = package.parent / "site" / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    points = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in some.items()) for group, some in said["project"]["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(points))
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(info.parent), str(package / said["tool"]["setuptools"]["package-dir"][""]), str(plugins.ROOT))),
    }


def done(package: Path, env: dict[str, str], *arguments: str, here: bool = True) -> subprocess.CompletedProcess[str]:
    """A module of Python's run in the package's folder, or in the one that it is in."""
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=package if here else package.parent, env=env, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = scaffold.write("my_ideas", tmp_path_factory.mktemp("mine"))
    return folder, installed(folder)


def test_it_holds_what_its_readme_says(package: tuple[Path, dict[str, str]]) -> None:
    folder, _ = package
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        "README.md",
        "pyproject.toml",
        "scenario.toml",
        "src/my_ideas/__init__.py",
        "src/my_ideas/py.typed",
        "src/my_ideas/strategy.py",
        "tests/test_my_ideas.py",
    ]
    for path in folder.rglob("*.*"):
        assert not any(word in path.read_text() for word in ("my_strategy", "MyStrategy")), path
    assert "class MyIdeas:" in (folder / "src" / "my_ideas" / "strategy.py").read_text()


def test_its_scenario_runs_by_the_name_of_its_entry_point(package: tuple[Path, dict[str, str]]) -> None:
    folder, env = package
    ran = done(folder, env, "simulator.cli", "run", "my_ideas/scenario.toml", here=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "my_ideas (window 100, fallen 40.0, recovered 60.0, weight 1.0)" in " ".join(ran.stdout.split())
    assert "my_ideas" in done(folder, env, "simulator.cli", "list", here=False).stdout


def test_its_own_tests_pass_and_prove_it_causal(package: tuple[Path, dict[str, str]]) -> None:
    folder, env = package
    assert "prove(" in (folder / "tests" / "test_my_ideas.py").read_text()
    ran = done(folder, env, "pytest", "-q", "-W", "error", "-p", "no:cacheprovider")
    assert ran.returncode == 0, ran.stdout
    assert f"{7 + len(RULES)} passed" in ran.stdout


def test_a_strategy_that_looks_ahead_fails_them(tmp_path: Path) -> None:
    """What the scaffold's test is for."""
    folder = scaffold.write("my_ideas", tmp_path)
    strategy = folder / "src" / "my_ideas" / "strategy.py"
    text = strategy.read_text()
    assert 'view["trend"] > 0.0' in text
    tomorrow = "view.bars.tape.close[min(view.row + 1, len(view.bars.tape) - 1)]"
    strategy.write_text(text.replace('view["trend"] > 0.0', f'{tomorrow} > view["close"]'))
    ran = done(folder, installed(folder), "pytest", "-q", "-p", "no:cacheprovider", "-k", "look_ahead")
    assert ran.returncode == 1
    assert "LOOKS AHEAD" in ran.stdout


def test_it_is_typed(package: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    folder, env = package
    ran = done(folder, env, "mypy", "--strict", "--cache-dir", str(tmp_path))
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("name", ["x", "my_ideas", LONG])
def test_it_is_clean_whatever_it_is_called(name: str, tmp_path: Path) -> None:
    folder = scaffold.write(name, tmp_path)
    for check in (("check",), ("format", "--check")):
        ran = done(folder, dict(os.environ), "ruff", *check, "--no-cache", ".")
        assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a-b", "a package's name is 1 to 40 ASCII letters, digits and _, a letter first and no _ last, and no keyword; was 'a-b'"),
        ("2x", "was '2x'"),
        ("", "was ''"),
        (LONG + "x", "was 'a_name"),
        ("../x", "was '../x'"),
        ("größe", "was 'größe'"),
        ("_mine", "was '_mine'"),
        ("class", "was 'class'"),
        ("numpy", "there is a package 'numpy' already, which this one would hide"),
        ("json", "there is a package 'json' already"),
        ("scikit_learn", "there is a package 'scikit_learn' already"),
        ("tradewind", "there is a package 'tradewind' already"),
        ("momentum", "there is a strategy 'momentum' already"),
        ("view", "the strategy's class would be called View, which is something else already"),
        ("none", "the strategy's class would be called None"),
    ],
)
def test_a_name_that_cannot_be_is_refused_and_nothing_is_made(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match=said):
        scaffold.write(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("folder", "file", "link"):
        with pytest.raises(SimulatorError, match=f"{name} is there already: choose another name, or delete it"):
            scaffold.write(name, tmp_path)
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["file", "folder", "link"]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match=r"cannot write .*mine: No such file or directory"):
        scaffold.write("mine", tmp_path / "nowhere")
