"""Where all randomness comes from: one stream of numbers for each (seed, component, instrument)."""

from __future__ import annotations

import hashlib
import json

import numpy as np


def stream(seed: int, component: str, instrument: str = "") -> np.random.Generator:
    """The random numbers of one component for one instrument, as a function of *seed*.

    Streams are keyed by a SHA-256 of all three names, not drawn one after another: adding an instrument or a component disturbs no other.
    """
    key = json.dumps([seed, component, instrument]).encode()
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(key).digest(), "big")))
