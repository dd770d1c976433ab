"""Code that runs both as Python and compiled keeps to what has the same bits in both."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import simulator.kernels

FOLDER = Path(simulator.kernels.__file__).parent

STATEMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.If, ast.For, ast.Return, ast.Expr)
EXPRESSIONS = (
    ast.BinOp,
    ast.UnaryOp,
    ast.BoolOp,
    ast.Compare,
    ast.IfExp,
    ast.Call,
    ast.Constant,
    ast.Name,
    ast.Subscript,
    ast.Tuple,
    ast.List,
)
OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.USub, ast.Not, ast.And, ast.Or, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)
FUNCTIONS = {"sqrt", "floor", "int", "float", "abs", "range"}
IMPORTS = {"annotations", "floor", "inf", "nan", "sqrt", "Any", "Final"}


def offences(source: str) -> list[str]:
    """What in *source* could differ between Python and compiled code."""
    tree = ast.parse(source)
    own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    found = []
    for node in tree.body:
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not {name.name for name in node.names} <= IMPORTS):
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
        if not isinstance(node, ast.FunctionDef):
            continue
        for inner in (x for statement in node.body for x in ast.walk(statement)):
            if isinstance(inner, ast.stmt):
                fine = isinstance(inner, STATEMENTS)
            elif isinstance(inner, ast.Call):
                fine = isinstance(inner.func, ast.Name) and inner.func.id in FUNCTIONS | own
            elif isinstance(inner, ast.expr):
                fine = isinstance(inner, EXPRESSIONS)
            elif isinstance(inner, ast.operator | ast.unaryop | ast.boolop | ast.cmpop):
                fine = isinstance(inner, OPERATORS)
            else:
                fine = True
            if isinstance(inner, ast.For):
                fine = isinstance(inner.iter, ast.Call) and ast.unparse(inner.iter.func) == "range"
            if not fine:
                found.append(f"line {getattr(inner, 'lineno', node.lineno)}: {ast.unparse(inner) or type(inner).__name__}")
    return found


@pytest.mark.parametrize("name", ["rules.py", "steps.py"])
def test_rules_and_steps_keep_to_exact_operations(name: str) -> None:
    assert offences((FOLDER / name).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "return x ** 2.0",
        "return x % 2.0",
        "return x // 2.0",
        "return max(x, 1.0)",
        "return sum([x, x])",
        "return np.sqrt(x)",
        "return exp(x)",
        "return x.real",
        "return [y for y in range(3)]",
        "while x < 3.0: x = x + 1.0",
        "for y in (1.0, 2.0): x = y",
        "import math",
    ],
)
def test_other_operations_are_noticed(line: str) -> None:
    assert offences(f"def f(x):\n    {line}\n")


def test_imports_of_other_functions_are_noticed() -> None:
    assert offences("import numpy as np")
    assert offences("from math import exp")
