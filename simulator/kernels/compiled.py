"""How our plain functions become compiled ones.

numba's disk cache looks only at the file of the compiled function: a rule that changed in another file would be served stale. So the cache
lies in a folder named after a digest of all sources of this package.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import config as numba_config
from numba.extending import register_jitable

from simulator.kernels import rules

Function = TypeVar("Function", bound=Callable[..., Any])

HERE = Path(__file__).parent
config: Any = numba_config  # its settings are made at run time


def source_digest(folder: Path = HERE) -> str:
    """A digest of every source file of the kernels, and of the numba and Python that compile them."""
    digest = hashlib.sha256(f"{numba.__version__} {sys.version_info[:3]}".encode())
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def cache_folder() -> str:
    """Where compiled code is kept: beside the sources if we may write there, else in the user's cache, else for this boot only."""
    name = f"kernels-{source_digest()}"
    chosen = config.CACHE_DIR
    tries = [Path(chosen)] if chosen else [HERE / "__pycache__", Path.home() / ".cache" / "tradewind"]
    for parent in tries:
        try:
            (parent / name).mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(parent / name, os.W_OK):
            return str(parent / name)
    return tempfile.mkdtemp(prefix="tradewind-")


def is_cold() -> bool:
    """Whether nothing is compiled yet on this machine, so that first calls take seconds."""
    return not any(Path(CACHE).rglob("*.nbi"))


def rule(function: Function) -> Function:
    """Let compiled code call *function*; Python goes on with the plain one."""
    register_jitable(no_cfunc_wrapper=True, no_cpython_wrapper=True)(function)
    return function


def compiled(function: Function) -> Function:
    """*function* compiled, kept on disk under the digest of all kernel sources. Dividing by zero raises, as in Python."""
    return _made(function)


def released(function: Function) -> Function:
    """As `compiled`, for calls that take long: other threads run meanwhile. They must not share the arrays that it writes to."""
    return _made(function, nogil=True)


@cache
def direct(function: Function, types: str) -> Function:
    """The way into a compiled *function* for arguments of these *types*, one signature of numba's, past the look at the types of each call.

    That look takes longer than most of what one order needs. Nothing else is checked of what is passed, so: for calls from one place, with arrays
    that are always made alike.
    """
    compile: Any = getattr(function, "compile", None)
    # Without numba's compiler the function is the plain one.
    return cast(Function, compile(f"({types})")) if compile else function


def _made(function: Function, nogil: bool = False) -> Function:
    before = config.CACHE_DIR
    config.CACHE_DIR = CACHE
    try:
        # Nothing in C calls us, and a way in from there costs a tenth of the compiler's time.
        compiler: Any = numba.njit
        made = compiler(cache=True, nogil=nogil, no_cfunc_wrapper=True)(function)
    finally:
        config.CACHE_DIR = before
    return cast(Function, made)


CACHE = cache_folder()

for _rule in (
    rules.units,
    rules.size_of,
    rules.whole_lots,
    rules.on_grid,
    rules.reach,
    rules.place,
    rules.meet,
    rules.match,
    rules.budget,
    rules.idle,
    rules.ends_now,
    rules.slip,
    rules.fee,
    rules.after,
    rules.reduces,
    rules.afford,
    rules.permit,
    rules.lending,
    rules.interest,
    rules.margin_of_lot,
):
    rule(_rule)
