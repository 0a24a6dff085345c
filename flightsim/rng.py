"""Randomness by name and key, so that nothing depends on the order of draws.

Two ways, both functions of the scenario's seed and of what the number belongs to:

- ``stream(seed, name)``: a NumPy generator for arrays drawn once per component.
- ``uniform_at(seed, name, *keys)``: one uniform number per key, vectorised. The number of tile 7 is
  the same whether tiles are asked in order, in a batch or alone.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

# splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014).
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@lru_cache(maxsize=4096)
def _words(name: str) -> tuple[int, ...]:
    digest = hashlib.sha256(name.encode()).digest()
    return tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 32, 4))


def stream(seed: int, name: str) -> np.random.Generator:
    """Generator that belongs to a component, whatever else is drawn before it."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=_words(name)))


def key_of(text: str) -> int:
    """64-bit integer that stands for a name in ``uniform_at``."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def keys_of(texts: list[str]) -> NDArray[np.uint64]:
    """64-bit integers that stand for many names, shape (n,). [-]"""
    return np.array([key_of(text) for text in texts], dtype=np.uint64)


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * _MIX_1
    state = (state ^ (state >> np.uint64(27))) * _MIX_2
    return state ^ (state >> np.uint64(31))


def hash_at(seed: int, name: str, *keys: ArrayLike) -> NDArray[np.uint64]:
    """64 random-looking bits per key, in the broadcast shape of the keys. [-]"""
    with np.errstate(over="ignore"):
        state = np.array(key_of(f"{seed}/{name}"), dtype=np.uint64)
        for key in keys:
            array = np.asarray(key)
            bits = array if array.dtype == np.uint64 else array.astype(np.int64).astype(np.uint64)
            state = _mix(state + _GAMMA + _mix(bits + _GAMMA))
        return np.asarray(_mix(state + _GAMMA))


def uniform_at(seed: int, name: str, *keys: ArrayLike) -> NDArray[np.float64]:
    """Uniform number in [0, 1) per key, in the broadcast shape of the integer keys. [-]"""
    return (hash_at(seed, name, *keys) >> np.uint64(11)).astype(np.float64) * 2.0**-53
