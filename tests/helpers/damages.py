"""Eight ways in which a file is damaged: by disks, by transfers that end, by tools that join or cut.

Each takes the whole file, a share of it that says where, and a generator for everything random.
"""

import numpy as np


def _truncated(whole: bytes, share: float, generator: np.random.Generator) -> bytes:
    return whole[: round(len(whole) * share)]


def _flipped(bits: int):
    def damage(whole: bytes, share: float, generator: np.random.Generator) -> bytes:
        content = bytearray(whole)
        for place in generator.integers(0, len(content), bits):
            content[place] ^= 1 << int(generator.integers(8))
        return bytes(content)

    return damage


def _zeroed(whole: bytes, share: float, generator: np.random.Generator) -> bytes:
    size = int(generator.integers(16, 2048))
    start = round(share * len(whole))
    return (whole[:start] + bytes(size) + whole[start + size :])[: len(whole)]


def _noisy_head(whole: bytes, share: float, generator: np.random.Generator) -> bytes:
    start, size = int(generator.integers(0, 64)), int(generator.integers(4, 256))
    return whole[:start] + generator.bytes(size) + whole[start + size :]


def _noisy_tail(whole: bytes, share: float, generator: np.random.Generator) -> bytes:
    size = int(generator.integers(4, 512))
    return whole[:-size] + generator.bytes(size)


def _swapped(whole: bytes, share: float, generator: np.random.Generator) -> bytes:
    """Two neighbouring blocks in the other order."""
    size = int(generator.integers(1, 512))
    start = round(share * len(whole))
    middle, end = start + size, start + 2 * size
    return whole[:start] + whole[middle:end] + whole[start:middle] + whole[end:]


def _repeated(whole: bytes, share: float, generator: np.random.Generator) -> bytes:
    """A block that comes twice."""
    end = round(share * len(whole)) + int(generator.integers(1, 512))
    return whole[:end] + whole[round(share * len(whole)) :]


DAMAGES = {
    "truncated": _truncated,
    "flipped": _flipped(1),
    "shot": _flipped(30),
    "zeroed": _zeroed,
    "head": _noisy_head,
    "tail": _noisy_tail,
    "swapped": _swapped,
    "repeated": _repeated,
}
