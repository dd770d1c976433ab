"""The same thing as text, as JSON and as Markdown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulator import terminal
from simulator.cli import app
from simulator.report.telling import Columns

TABLE = Columns("prices", ("name", "price"), [("a|b", "1.00"), ("c", "2.00")])


def test_markdown_has_lists_and_tables() -> None:
    shown = terminal.markdown([("scenario", "flat"), ("", "and more"), TABLE, ("end", "none")])
    assert shown == (
        "- **scenario**: flat\n  and more\n\n**prices**\n\n| name | price |\n| --- | ---: |\n| a\\|b | 1.00 |\n| c | 2.00 |\n\n- **end**: none\n"
    )


def test_json_has_values_and_rows() -> None:
    assert terminal.plain([("scenario", "flat"), TABLE]) == {
        "scenario": "flat",
        "prices": [{"name": "a|b", "price": "1.00"}, {"name": "c", "price": "2.00"}],
    }


def shown(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def flat(tmp_path: Path) -> str:
    (tmp_path / "mine.toml").write_text('[feed]\nkind = "flat"\nbars = 30\n[strategy]\nname = "buy_and_hold"\n')
    return str(tmp_path / "mine.toml")


def test_a_run_as_json_is_its_summary(flat: str, tmp_path: Path) -> None:
    """And nothing else is on standard output, so that it can be read by a machine."""
    facts = json.loads(shown("run", flat, "--out", str(tmp_path / "kept"), "--format", "json"))
    kept = json.loads((tmp_path / "kept" / "summary.json").read_text())
    assert {key: facts[key] for key in kept} == kept
    assert facts["trials"] == json.loads((tmp_path / "kept" / "trials.json").read_text())
    assert facts["uncertainty"] is None


def test_a_run_as_markdown_is_a_list(flat: str) -> None:
    lines = shown("run", flat, "--format", "md").splitlines()
    assert lines[0] == "- **scenario**: mine"
    assert any(line.startswith("- **final equity**: ") for line in lines)


def test_trials_are_counted_in_json(flat: str, tmp_path: Path) -> None:
    shown("run", flat)
    (row,) = next(value for value in json.loads(shown("trials", str(tmp_path), "--format", "json")).values() if isinstance(value, list))
    assert (row["family"], row["trials"]) == ("buy_and_hold", "1")
