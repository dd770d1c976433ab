"""Where all randomness comes from: one stream of numbers for each (seed, component, instrument)."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import numpy.typing as npt

Generator = np.random.Generator


def stream(seed: int, component: str, instrument: str = "") -> Generator:
    """The random numbers of one component for one instrument, as a function of *seed*.

    Streams are keyed by a SHA-256 of all three names, not drawn one after another: adding an instrument or a component disturbs no other.
    """
    key = json.dumps([seed, component, instrument]).encode()
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(key).digest(), "big")))


def blocks(random: Generator, shape: tuple[int, int], block: float) -> npt.NDArray[np.int64]:
    """Places in so many histories of so many values: each is the one after the place before (after the last comes the first), or, once in *block*
    times, any. This is the stationary bootstrap of Politis and Romano (1994).
    """
    places = np.arange(shape[1])
    fresh = random.random(shape) < 1.0 / block
    fresh[:, 0] = True
    began = np.maximum.accumulate(np.where(fresh, places, 0), axis=1)
    drawn = np.take_along_axis(random.integers(0, shape[1], shape), began, axis=1)
    return np.asarray((drawn + places - began) % shape[1], np.int64)
