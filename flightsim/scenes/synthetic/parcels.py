"""Lines that people draw on the land: fields, lots and streets, as irregular lattices in turned coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ... import rng
from .ground import Block, Plane

Index = NDArray[np.int32]


def draw_number(parcel: NDArray[np.int32]) -> NDArray[np.int64]:
    """Which of 4096 draws a parcel has, in the shape of its number. [-]"""
    # Knuth's multiplicative hash; the number's high half (the column) reaches the low half of the product's top bits.
    mixed = (parcel ^ (parcel >> 13)).view(np.uint32) * np.uint32(2654435761)
    return (mixed >> np.uint32(20)).astype(np.int64)


@dataclass(frozen=True)
class Division:
    """A line cut at irregular places, tabulated per pixel of the line."""

    number: Index  # which piece
    edge_px: Plane  # distance to the nearer end of the piece
    share: Plane  # how far along the piece, 0 to 1

    @classmethod
    def cut(cls, length_px: int, mean_px: float, irregularity: float, seed: int, name: str, key: int) -> Division:
        """Pieces of ``mean_px`` (1 +- irregularity) laid along a line of ``length_px``."""
        count = int(length_px / (mean_px * (1.0 - irregularity))) + 2
        draw = rng.uniform_at(seed, name, np.uint64(key), np.arange(count))
        ends = np.cumsum(mean_px * (1.0 + irregularity * (2.0 * draw - 1.0)))
        at = np.arange(length_px) + 0.5
        number = np.searchsorted(ends, at)
        end = ends[number]
        begin = np.concatenate([[0.0], ends])[number]
        return cls(
            number.astype(np.int32),
            np.minimum(at - begin, end - at).astype(np.float32),
            ((at - begin) / (end - begin)).astype(np.float32),
        )


@dataclass(frozen=True)
class Parcels:
    """Numbers of fields over a window, and where their borders run."""

    number: NDArray[np.int32]
    border_px: Plane  # distance to the border of the farm unit (its road or hedge)
    pivot: NDArray[np.bool_]  # inside the circle of a centre-pivot sprinkler
    corner: NDArray[np.bool_]  # outside it, in a unit that has one
    yard: NDArray[np.bool_]  # farm buildings, in a corner of some units
    furrow: Plane  # texture along the lines of ploughing, unit deviation [-]


class ParcelSystem:
    """A way of dividing the land: an angle, sizes, strips; one per block and orientation."""

    def __init__(
        self,
        block: Block,
        name: str,
        angle_rad: float,
        unit_px: tuple[float, float],
        irregularity: float,
        most_strips: int,
        pivot_share: float,
    ) -> None:
        self.half = 2 * block.side_px + 64
        seed, key = block.seed, block.key
        length = 2 * self.half
        label = f"synthetic/parcels/{name}"
        self.cos, self.sin = np.float32(np.cos(angle_rad)), np.float32(np.sin(angle_rad))
        self.across = Division.cut(length, unit_px[0], irregularity, seed, label + "/u", key)
        self.along = Division.cut(length, unit_px[1], irregularity, seed, label + "/v", key)
        draw = rng.uniform_at(seed, label + "/units", np.uint64(key), np.arange(3 * 1024)).reshape(3, 1024)
        # Neighbouring columns of units are not in step, as they rarely are.
        self.shift = (draw[0] * unit_px[1] * min(1.0, irregularity * 4.0)).astype(np.float32)
        self.strips = (1 + np.floor(draw[1] ** 1.5 * most_strips)).astype(np.float32)
        lines = rng.uniform_at(seed, label + "/furrows", np.uint64(key), np.arange(length)) - 0.5
        # Tramlines and seams of ploughing stand some 20 to 30 m apart.
        self.furrows = (np.convolve(lines, (0.6, 1.0, 0.6), "same") * np.sqrt(12.0 / 1.72)).astype(np.float32)
        self.turned = draw[2] < 0.5
        self.pivot = draw[2] < pivot_share

    def turn(self, x: Plane, y: Plane) -> tuple[Plane, Plane]:
        """Coordinates along the lattice, shape of the arguments. [px]"""
        return x * self.cos + y * self.sin, y * self.cos - x * self.sin

    def at(self, u: Plane, v: Plane) -> Parcels:
        """The parcels of places in the lattice's coordinates."""
        last = len(self.across.number) - 1
        iu = np.clip((u + self.half).astype(np.int32), 0, last)
        column = self.across.number.take(iu)
        iv = np.clip((v + self.half + self.shift.take(column & 1023)).astype(np.int32), 0, last)
        row = self.along.number.take(iv)
        unit = (column * 389 + row * 83 + ((column * row) >> 2)) & 1023
        strips = self.strips.take(unit)
        share_u, share_v = self.across.share.take(iu), self.along.share.take(iv)
        turned = self.turned.take(unit)
        strip = (np.where(turned, share_u, share_v) * strips).astype(np.int32)
        furrow = self.furrows.take(np.where(turned, iu, iv))
        edge_u, edge_v = self.across.edge_px.take(iu), self.along.edge_px.take(iv)
        border = np.minimum(edge_u, edge_v)
        yard = (edge_u < 4.0) & (edge_v < 5.0) & (share_u + share_v < 0.7) & ((unit & 7) == 3)
        number = ((column & 4095) * 4096 + (row & 4095)) * 16 + strip + 1
        has_pivot = self.pivot.take(unit)
        if not self.pivot.any():
            return Parcels(number, border, has_pivot, has_pivot, yard, furrow)
        inside = (share_u - 0.5) ** 2 + (share_v - 0.5) ** 2 < 0.225
        number = np.where(has_pivot, number - strip, number)
        return Parcels(number, border, has_pivot & inside, has_pivot & ~inside, yard, furrow)
