"""Whether a dataset is what its manifest says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from simulator.errors import DataError
from simulator.feeds.datasets import INSTANTS, MANIFEST, Manifest, digest_of, read_manifest, streamed
from simulator.market.calendars import instant_text

Progress = Callable[[int, int], None]


def check(folder: Path, progress: Progress | None = None) -> Manifest:
    """Read a whole dataset: its files are those of the manifest, byte for byte, their bars can be true and are in order, and each instant has some.

    Raises DataError with file, row and value at the first thing that is wrong.
    """
    manifest = read_manifest(folder)
    known = {MANIFEST, INSTANTS, *(part.path for part in manifest.parts)}
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if there - known:
        raise DataError(f"{folder / min(there - known)}: the manifest names no such file; take it away, or convert the source again")
    files = (manifest.instants, *manifest.parts)
    for done, part in enumerate(files):
        if progress:
            progress(done, len(files) + 1)
        path = folder / part.path
        if not path.is_file():
            raise DataError(f"{path}: the file is not there, and the manifest names it; convert the source again")
        if digest_of(path) != part.sha256:
            raise DataError(f"{path}: its SHA-256 must be {part.sha256[:16]}... as the manifest says, and is not: it was changed since")
    tape = streamed(folder)
    for first, end in tape.spans(0, len(tape)):
        empty = np.flatnonzero(np.isnan(tape.close[first:end]).all(axis=1))
        if len(empty):
            row = first + int(empty[0])
            raise DataError(f"{folder / INSTANTS}, row {row + 1}: {instant_text(tape.ats[row])} must have at least one bar, and has none")
    if progress:
        progress(len(files) + 1, len(files) + 1)
    return manifest
