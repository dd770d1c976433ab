"""Arrays that lie in a file: as many rows as the disk has room for, of which only those that were looked at lately are in memory.

What leaves memory is read again from the file when somebody looks at it, so that a look back is never wrong, however far it goes, and only slower.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from simulator.errors import DataError

RESIDENT: Final = 64 << 20


class Room:
    """Arrays of equally many rows, each in a nameless file in *folder* (None: where the system has its temporary files), gone with the last
    array; *resident* is how many bytes of all of them to take through memory at a time.
    """

    def __init__(self, folder: Path | None = None, resident: int = RESIDENT) -> None:
        self._resident = resident
        self.folder = Path(tempfile.gettempdir()) if folder is None else folder
        self._kept: list[tuple[mmap.mmap, int, int]] = []
        self._row = 0

    @property
    def rows(self) -> int:
        """How many rows to take at once."""
        return max(1, self._resident // max(self._row, 1))

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike = np.float64, axis: int = 0) -> npt.NDArray[Any]:
        """An array of zeros whose rows are counted by *axis*, the first one or, for several columns beside each other, the second.

        Raises DataError where the disk has no room for it.
        """
        item = np.dtype(dtype).itemsize
        size = max(1, prod(shape) * item)
        try:
            with tempfile.TemporaryFile(dir=self.folder) as file:
                # A file that turned out too large for its disk while it is written to would end the program without a word.
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
                elif shutil.disk_usage(self.folder).free > size:
                    file.truncate(size)
                else:
                    raise OSError("no space left on device")
                memory = mmap.mmap(file.fileno(), size)
        except OSError as error:
            words = (error.strerror or str(error)).lower()
            raise DataError(
                f"{self.folder}: bars that stream need a file of {size / 2**30:.2f} GiB there ({words}); name another folder as feed.spool"
            ) from None
        row = prod(shape[axis + 1 :]) * item
        self._kept.append((memory, row * shape[axis], row))
        self._row += row * prod(shape[:axis])
        made: npt.NDArray[Any] = np.frombuffer(memory, dtype, prod(shape)).reshape(shape)
        return made

    def release(self, rows: int) -> None:
        """Let the first *rows* rows of all arrays leave memory. Where the system has no word for that, it decides by itself."""
        if not hasattr(mmap, "MADV_DONTNEED"):
            return
        for memory, column, row in self._kept:
            for start in range(0, len(memory) if column else 0, max(column, 1)):
                first, last = -(-start // mmap.PAGESIZE), min(start + rows * row, len(memory)) // mmap.PAGESIZE
                if last > first:
                    memory.madvise(mmap.MADV_DONTNEED, first * mmap.PAGESIZE, (last - first) * mmap.PAGESIZE)
