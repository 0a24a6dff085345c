"""CFDP class 2 in bytes, and what frame loss does to files of either class.

Closed forms for one file or many, no time in it: ``transaction`` has the exchange, ``downlink`` the radio's side of it.

References
----------
CCSDS 727.0-B-5 (CFDP), sections 4.6 (acknowledged mode) and 5.2 (PDUs).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import frames, rng
from .frames import LARGE_FILE_BYTES, PACKET_HEADER_BYTES, Class1Transfer
from .scenario.models import Cfdp

#: Largest data field of a PDU: its length field has 16 bits. [B] CCSDS 727.0-B-5, 5.1.
PDU_DATA_LIMIT_BYTES = 65535


@dataclass(frozen=True, slots=True)
class Directives:
    """Sizes of the PDUs that class 2 adds; in bytes."""

    ack_pdu_bytes: int
    finished_pdu_bytes: int
    nak_fixed_bytes: int
    nak_request_bytes: int
    nak_requests_limit: int
    """Requests that one NAK can hold. [-]"""

    @property
    def closing_bytes(self) -> int:
        """The ACK of Finished as a Space Packet: what each file costs beyond class 1. [B]"""
        return self.ack_pdu_bytes + PACKET_HEADER_BYTES

    def nak_pdu_bytes(self, requests: int) -> int:
        """NAK PDUs that ask for so many gaps, 0 for none. [B]"""
        return self.nak_pdus(requests) * self.nak_fixed_bytes + requests * self.nak_request_bytes

    def nak_pdus(self, requests: int) -> int:
        """How many NAK PDUs so many gaps need. [-]"""
        return -(-requests // self.nak_requests_limit)


def directives(file_bytes: int, cfdp: Cfdp) -> Directives:
    """Sizes of ACK, NAK and Finished for a file."""
    size_field = 8 if file_bytes > LARGE_FILE_BYTES else 4
    header, crc = frames.header_bytes(cfdp), 2 if cfdp.crc else 0
    fixed = 1 + 2 * size_field + crc
    return Directives(
        ack_pdu_bytes=header + 3 + crc,
        finished_pdu_bytes=header + 2 + crc,
        nak_fixed_bytes=header + fixed,
        nak_request_bytes=2 * size_field,
        nak_requests_limit=(PDU_DATA_LIMIT_BYTES - fixed) // (2 * size_field),
    )


@dataclass(frozen=True, slots=True)
class Class2Transfer:
    """Counts of one acknowledged file transfer with one round of retransmission at most; sizes in bytes."""

    first: Class1Transfer
    directives: Directives
    nak_requests: int
    retransmitted_pdus: int
    retransmitted_pdu_bytes: int

    @property
    def forward_pdu_bytes(self) -> int:
        """Metadata, file data, EOF, retransmissions, ACK of Finished. [B]"""
        return self.first.pdu_bytes + self.retransmitted_pdu_bytes + self.directives.ack_pdu_bytes

    @property
    def return_pdu_bytes(self) -> int:
        """ACK of EOF, NAK where something is missing, Finished. [B]"""
        sizes = self.directives
        return sizes.ack_pdu_bytes + sizes.nak_pdu_bytes(self.nak_requests) + sizes.finished_pdu_bytes

    @property
    def forward_packets(self) -> int:
        """Space Packets to the ground."""
        return self.first.packets + self.retransmitted_pdus + 1

    @property
    def return_packets(self) -> int:
        """Space Packets to the spacecraft."""
        return 2 + self.directives.nak_pdus(self.nak_requests)

    @property
    def forward_space_packet_bytes(self) -> int:
        """All packets to the ground: what the frames carry. [B]"""
        return self.forward_pdu_bytes + self.forward_packets * PACKET_HEADER_BYTES

    @property
    def return_space_packet_bytes(self) -> int:
        """All packets to the spacecraft. [B]"""
        return self.return_pdu_bytes + self.return_packets * PACKET_HEADER_BYTES


def class2(
    file_bytes: int, cfdp: Cfdp, source_name: str, destination_name: str, lost_segments: Sequence[int] = ()
) -> Class2Transfer:
    """What one file costs with CFDP class 2 when some segments are lost once.

    Parameters
    ----------
    lost_segments
        Numbers of the lost file data PDUs, from 0.

    Raises
    ------
    ValueError
        A name or a segment does not fit its field, or a lost segment is none of the file's.
    """
    first = frames.class1(file_bytes, cfdp, source_name, destination_name)
    lost = np.unique(np.asarray(lost_segments, dtype=np.int64))
    if len(lost) and not 0 <= lost[0] <= lost[-1] < first.file_data_pdus:
        raise ValueError(f"the file has {first.file_data_pdus} segments, none numbered {lost[0]} or {lost[-1]}")
    short = bool(len(lost)) and lost[-1] == first.file_data_pdus - 1
    again = len(lost) * first.full_data_pdu_bytes
    again += (first.last_data_pdu_bytes - first.full_data_pdu_bytes) if short else 0
    return Class2Transfer(first, directives(file_bytes, cfdp), gaps(lost), len(lost), again)


def gaps(lost: NDArray[np.int64]) -> int:
    """Requests of a NAK for some rising segment numbers: neighbours share one. [-]"""
    return int(len(lost) and 1 + np.count_nonzero(np.diff(lost) != 1))


def forward_bytes(file_bytes: ArrayLike, cfdp: Cfdp, name_bytes: int) -> NDArray[np.int64]:
    """Space-packet bytes of loss-free transfers of either class, in the shape of ``file_bytes``. [B]"""
    sizes = frames.wire_bytes(file_bytes, cfdp, name_bytes)
    # The ACK has no size field, so it is as long for every file.
    return sizes + closing_bytes(cfdp)


def closing_bytes(cfdp: Cfdp) -> int:
    """What a file's wire bytes hold beyond its first transmission: the ACK of Finished in class 2, else 0. [B]"""
    return directives(0, cfdp).closing_bytes if cfdp.class_ == 2 else 0


def loss_of(packet_bytes: ArrayLike, frame_loss: ArrayLike, zone_bytes: int) -> NDArray[np.float64]:
    """Probability that a run of packet bytes meets a lost frame, in the broadcast shape. [-]

    Notes
    -----
    The run begins anywhere in a frame with the same probability, and frames are lost independently of each other.
    """
    inside = np.asarray(packet_bytes, dtype=np.int64) - 1
    loss = np.asarray(frame_loss, dtype=np.float64)
    whole, rest = inside // zone_bytes + 1, inside % zone_bytes / zone_bytes
    # 1 - (1-f)^whole (1 - rest f), without cancellation; log(0) is a certain loss.
    with np.errstate(divide="ignore"):
        return np.asarray(-np.expm1(whole * np.log1p(-loss) + np.log1p(-rest * loss)))


@dataclass(frozen=True, slots=True)
class Losses:
    """What is lost, as a function of seed and file and not of the order in which files are sent."""

    seed: int
    cfdp: Cfdp
    zone_bytes: int

    def file_is_lost(self, keys: ArrayLike, wire_bytes: ArrayLike, frame_loss: ArrayLike) -> NDArray[np.bool_]:
        """Whether each file ends as lost, in the broadcast shape.

        Notes
        -----
        Class 1: a frame of it is lost. Class 2, for references that do not fly the exchange: one of its PDUs is lost
        at each of ``attempts`` + 1 transmissions; all PDUs are taken as long as a full one.
        """
        if self.cfdp.class_ == 1:
            chance = loss_of(wire_bytes, frame_loss, self.zone_bytes)
        else:
            pdus = np.ceil(np.asarray(wire_bytes) / self._packet_bytes)
            again = self._packet_loss(frame_loss) ** (self.cfdp.attempts + 1)
            with np.errstate(divide="ignore"):
                chance = -np.expm1(pdus * np.log1p(-again))
        return np.asarray(rng.uniform_at(self.seed, "cfdp/file", keys) < chance)

    @property
    def _packet_bytes(self) -> int:
        full = frames.class1(self.cfdp.segment_bytes, self.cfdp, "", "").last_data_pdu_bytes
        return full + PACKET_HEADER_BYTES

    def _packet_loss(self, frame_loss: ArrayLike) -> NDArray[np.float64]:
        return loss_of(self._packet_bytes, frame_loss, self.zone_bytes)

    def pdus_lost(
        self, key: int, burst: int, pdus: NDArray[np.int64], packet_bytes: NDArray[np.int64], frame_loss: float
    ) -> NDArray[np.bool_]:
        """Class 2: which PDUs of a file are lost when sent for the n-th time, shape (n,).

        Notes
        -----
        Each PDU has its own draw, so their number is binomial. PDUs that share a lost frame are taken as independent:
        the mean is right, the spread too small.
        """
        chance = loss_of(packet_bytes, frame_loss, self.zone_bytes)
        return np.asarray(rng.uniform_at(self.seed, "cfdp/pdu", np.uint64(key), burst, pdus) < chance)

    def answer_lost(self, key: int, number: int) -> bool:
        """Class 2: whether the n-th answer of the ground about a file is lost."""
        return bool(rng.uniform_at(self.seed, "cfdp/return", np.uint64(key), number) < self.cfdp.return_loss)

    def expected_bytes(self, wire_bytes: NDArray[np.int64], frame_loss: float) -> NDArray[np.int64]:
        """Wire bytes with the retransmissions to be expected, rounded up, shape (n,). [B]

        Notes
        -----
        In class 2 each PDU is sent 1 + p + p^2 + ... times on average, ``attempts`` + 1 times at most; all are taken
        as long as a full one.
        """
        if self.cfdp.class_ == 1 or frame_loss == 0.0:
            return wire_bytes
        times = float(np.sum(self._packet_loss(frame_loss) ** np.arange(self.cfdp.attempts + 1)))
        return np.asarray(np.ceil(wire_bytes * times), dtype=np.int64)


__all__ = [
    "PDU_DATA_LIMIT_BYTES", "Class2Transfer", "Directives", "Losses", "class2", "closing_bytes", "directives",
    "forward_bytes", "gaps", "loss_of",
]  # fmt: skip
