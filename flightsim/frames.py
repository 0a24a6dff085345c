"""Bytes on the wire: CFDP class 1 files, Space Packets, transfer frames, code.

Byte counts only, no octets: what a file of some size costs on each layer. Each PDU travels in a Space Packet of its
own, packets are concatenated and may cross frames, and the last frame is filled.

References
----------
CCSDS 727.0-B-5 (CFDP), section 5; CCSDS 133.0-B-2 (Space Packet), section 4.1; CCSDS 132.0-B-3 (TM transfer frame),
section 4.1; CCSDS 732.0-B-4 (AOS), section 4.1; CCSDS 131.0-B-5 (codes and synchronisation), sections 4 and 9.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .domain import Action
from .scenario.models import Cfdp

#: Space Packet primary header. [B] CCSDS 133.0-B-2, 4.1.3.
PACKET_HEADER_BYTES = 6
#: Largest data field of a Space Packet. [B]
PACKET_DATA_LIMIT_BYTES = 65536
#: Files above this need 64-bit sizes and offsets. [B] CCSDS 727.0-B-5, 5.1.
LARGE_FILE_BYTES = 2**32 - 1


@dataclass(frozen=True, slots=True)
class FrameFormat:
    """A transfer frame and its code; sizes in bytes."""

    title: str
    frame_bytes: int
    header_bytes: int
    trailer_bytes: int
    parity_bytes: int
    marker_bytes: int
    inner_rate: float = 1.0

    @property
    def zone_bytes(self) -> int:
        """Packet bytes in a frame. [B]"""
        return self.frame_bytes - self.header_bytes - self.trailer_bytes

    @property
    def cadu_bytes(self) -> int:
        """Frame with parity and attached sync marker. [B]"""
        return self.frame_bytes + self.parity_bytes + self.marker_bytes


#: Formats by the name that scenarios use. RS(255,223): 32 parity bytes a codeword, interleaving depth I = 4 or 5.
FORMATS = {
    "TM_1115_RS5": FrameFormat("TM 1115 B, RS(255,223) I=5", 1115, 6, 0, 160, 4),
    "TM_1115_OCF_RS5": FrameFormat("TM 1115 B with OCF, RS(255,223) I=5", 1115, 6, 4, 160, 4),
    "AOS_1115_MPDU_RS5": FrameFormat("AOS 1115 B with M_PDU, RS(255,223) I=5", 1115, 8, 0, 160, 4),
    "AOS_892_MPDU_RS4": FrameFormat("AOS 892 B with M_PDU, RS(255,223) I=4", 892, 8, 0, 128, 4),
    "TM_223_FECF_CONV": FrameFormat("TM 223 B with FECF, convolutional 1/2", 223, 6, 2, 0, 4, 0.5),
    "TM_1115_RS5_CONV": FrameFormat("TM 1115 B, RS(255,223) I=5, convolutional 1/2", 1115, 6, 0, 160, 4, 0.5),
}


@dataclass(frozen=True, slots=True)
class Class1Transfer:
    """Counts of one unacknowledged file transfer; sizes in bytes."""

    file_data_pdus: int
    metadata_pdu_bytes: int
    full_data_pdu_bytes: int
    last_data_pdu_bytes: int
    eof_pdu_bytes: int

    @property
    def packets(self) -> int:
        """Space Packets: metadata, file data, EOF."""
        return self.file_data_pdus + 2

    @property
    def pdu_bytes(self) -> int:
        """All PDUs. [B]"""
        data = max(0, self.file_data_pdus - 1) * self.full_data_pdu_bytes
        return self.metadata_pdu_bytes + data + self.last_data_pdu_bytes + self.eof_pdu_bytes

    @property
    def space_packet_bytes(self) -> int:
        """All packets: what the frames carry. [B]"""
        return self.pdu_bytes + self.packets * PACKET_HEADER_BYTES


def header_bytes(cfdp: Cfdp) -> int:
    """Fixed header of every PDU. [B]"""
    return 4 + 2 * cfdp.entity_id_bytes + cfdp.sequence_bytes


def class1(file_bytes: int, cfdp: Cfdp, source_name: str, destination_name: str) -> Class1Transfer:
    """What one file costs with CFDP class 1, closure not requested.

    Raises
    ------
    ValueError
        A name or a segment does not fit its field.
    """
    names = [len(name.encode()) for name in (source_name, destination_name)]
    if max(names) > 255:
        raise ValueError(f"a CFDP file name has {max(names)} bytes; at most 255 fit")
    size_field = 8 if file_bytes > LARGE_FILE_BYTES else 4
    header, crc = header_bytes(cfdp), 2 if cfdp.crc else 0
    overhead = header + size_field + crc
    if overhead + cfdp.segment_bytes > PACKET_DATA_LIMIT_BYTES:
        raise ValueError(f"radio.cfdp.segment_bytes is {cfdp.segment_bytes}; with headers it exceeds a Space Packet")
    segments = -(-file_bytes // cfdp.segment_bytes)
    last = file_bytes - (segments - 1) * cfdp.segment_bytes if segments else 0
    return Class1Transfer(
        file_data_pdus=segments,
        metadata_pdu_bytes=header + 2 + size_field + sum(1 + n for n in names) + crc,
        full_data_pdu_bytes=overhead + cfdp.segment_bytes if segments > 1 else overhead + last,
        last_data_pdu_bytes=overhead + last if segments else 0,
        eof_pdu_bytes=header + 2 + 4 + size_field + crc,
    )


def wire_bytes(file_bytes: ArrayLike, cfdp: Cfdp, name_bytes: int) -> NDArray[np.int64]:
    """Space-packet bytes of files with names of one length, in the shape of ``file_bytes``. [B]"""
    size = np.asarray(file_bytes, dtype=np.int64)
    size_field = np.where(size > LARGE_FILE_BYTES, 8, 4)
    header, crc = header_bytes(cfdp), 2 if cfdp.crc else 0
    segments = -(-size // cfdp.segment_bytes)
    metadata = header + 2 + size_field + 2 * (1 + name_bytes) + crc
    data = size + segments * (header + size_field + crc)
    eof = header + 6 + size_field + crc
    return np.asarray(metadata + data + eof + (segments + 2) * PACKET_HEADER_BYTES, dtype=np.int64)


def frames_for(packet_bytes: int, frame: FrameFormat) -> int:
    """Transfer frames that carry so many packet bytes, the last one filled."""
    return -(-packet_bytes // frame.zone_bytes)


def fill_bytes(packet_bytes: int, frame: FrameFormat) -> int:
    """Fill in the last frame. [B]"""
    return frames_for(packet_bytes, frame) * frame.zone_bytes - packet_bytes


def air_bytes(packet_bytes: int, frame: FrameFormat) -> int:
    """Transfer-frame bytes before coding: what METRICS counts as radiated. [B]"""
    return frames_for(packet_bytes, frame) * frame.frame_bytes


def channel_symbols(packet_bytes: int, frame: FrameFormat) -> int:
    """Symbols on the channel, code and sync marker included, tail bits ignored. [-]"""
    return round(frames_for(packet_bytes, frame) * frame.cadu_bytes * 8 / frame.inner_rate)


_LETTER = {
    Action.VERDICT: "v",
    Action.THUMBNAIL: "t",
    Action.CROP: "c",
    Action.MASK: "m",
    Action.TILE: "f",
}


def file_name(kind: Action, serial: int) -> str:
    """Name of the n-th file of a spacecraft, of the same length for all of a kind below ten million."""
    return f"{_LETTER[kind]}/{serial:07d}"
