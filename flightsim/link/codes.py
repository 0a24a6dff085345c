"""Modulation and coding: what a symbol carries and which Es/N0 it needs. A source for each table and row."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

_DVB_S2 = "ETSI EN 302 307-1 V1.4.1 (2014), tables 5a (K_bch) and 13 (ideal Es/N0)"
_BLUE = "CCSDS 131.0-B"
_ESTIMATE = "engineering value, not verified"

#: Bits of a normal FECFRAME, of the baseband header in front of the data field, symbols of the physical-layer
#: header, of a slot and of a pilot block, and slots between two pilot blocks.
#: (ETSI EN 302 307-1 V1.4.1, sections 5.3, 5.1.6, 5.5.2, 5.5, 5.5.3)
FECFRAME_BITS = 64800
BASEBAND_HEADER_BITS = 80
HEADER_SYMBOLS = 90
SLOT_SYMBOLS = 90
PILOT_SYMBOLS = 36
SLOTS_BETWEEN_PILOTS = 16


@dataclass(frozen=True, slots=True)
class Modcod:
    """One modulation with one code."""

    name: str
    """As in a scenario, such as ``8PSK 3/5``."""
    bits_per_symbol: int
    """Channel bits of a symbol. [bit]"""
    efficiency: float
    """Information bits of transfer frames in a symbol. [bit]"""
    es_n0_db: float
    """Es/N0 required of an ideal demodulator. [dB]"""
    source: str
    """Where the row is from."""

    @property
    def eb_n0_db(self) -> float:
        """The same requirement for an information bit. [dB]"""
        return self.es_n0_db - 10.0 * math.log10(self.efficiency)


@dataclass(frozen=True, slots=True)
class Code:
    """A code of CCSDS 131.0."""

    name: str
    information_bits: int
    codeword_bits: int
    """The rate is information_bits / codeword_bits. [bit]"""
    eb_n0_db: float
    """Required Eb/N0 of an information bit. [dB]"""
    source: str

    @property
    def rate(self) -> float:
        """Information bits in a channel bit. [-]"""
        return self.information_bits / self.codeword_bits


#: Bits per symbol of each constellation (ETSI EN 302 307-1 V1.4.1, section 5.4).
_BITS = {"QPSK": 2, "8PSK": 3, "16APSK": 4, "32APSK": 5}
#: Uncoded BCH block of a normal frame by LDPC code rate. [bit] (ETSI EN 302 307-1 V1.4.1, table 5a)
_K_BCH = {
    "1/4": 16008, "1/3": 21408, "2/5": 25728, "1/2": 32208, "3/5": 38688, "2/3": 43040,
    "3/4": 48408, "4/5": 51648, "5/6": 53840, "8/9": 57472, "9/10": 58192,
}  # fmt: skip
#: Ideal Es/N0 for a quasi-error-free link (packet error rate 1e-7), normal frames. [dB]
#: (ETSI EN 302 307-1 V1.4.1, table 13). These are Es/N0; several public tables call them Eb/N0.
_ES_N0_DB = {
    "QPSK": {"1/4": -2.35, "1/3": -1.24, "2/5": -0.30, "1/2": 1.00, "3/5": 2.23, "2/3": 3.10,
             "3/4": 4.03, "4/5": 4.68, "5/6": 5.18, "8/9": 6.20, "9/10": 6.42},
    "8PSK": {"3/5": 5.50, "2/3": 6.62, "3/4": 7.91, "5/6": 9.35, "8/9": 10.69, "9/10": 10.98},
    "16APSK": {"2/3": 8.97, "3/4": 10.21, "4/5": 11.03, "5/6": 11.61, "8/9": 12.89, "9/10": 13.13},
    "32APSK": {"3/4": 12.73, "4/5": 13.64, "5/6": 14.28, "8/9": 15.69, "9/10": 16.05},
}  # fmt: skip

#: The codes of CCSDS 131.0. Each row: sizes, then where the threshold is from. Thresholds are for a bit error rate of
#: 1e-6; the codes end so steeply that a tenth of a decibel stands for the choice of another rate.
CCSDS_CODES = (
    Code("uncoded", 1, 1, 10.53, "theory: Q(sqrt(2 Eb/N0)) = 1e-6"),
    Code("conv 1/2", 1, 2, 4.79, f"{_BLUE} section 3 (7, 1/2); union bound, soft decisions"),
    Code("RS(255,223)", 223, 255, 6.38, f"{_BLUE} section 4; exact, hard decisions, E = 16"),
    # 2.36 dB with ideal interleaving; 2.5 to 2.6 is to be planned for depth 5.
    Code("RS(255,223) conv 1/2", 223, 510, 2.6, f"{_BLUE} sections 3 and 4; Monte Carlo of decoders, depth 5"),
    Code("LDPC 1/2 k=1024", 1024, 2048, 2.0, f"{_BLUE}-2 table 7-5 (sizes); threshold: {_ESTIMATE}"),
    Code("LDPC 2/3 k=1024", 1024, 1536, 2.6, f"{_BLUE}-2 table 7-5 (sizes); threshold: {_ESTIMATE}"),
    Code("LDPC 4/5 k=1024", 1024, 1280, 3.6, f"{_BLUE}-2 table 7-5 (sizes); threshold: {_ESTIMATE}"),
    Code("LDPC 1/2 k=16384", 16384, 32768, 1.0, f"{_BLUE}-2 table 7-5 (sizes); threshold: {_ESTIMATE}"),
    Code("LDPC 2/3 k=16384", 16384, 24576, 1.7, f"{_BLUE}-2 table 7-5 (sizes); threshold: {_ESTIMATE}"),
    Code("LDPC 4/5 k=16384", 16384, 20480, 2.8, f"{_BLUE}-2 table 7-5 (sizes); threshold: {_ESTIMATE}"),
    Code("LDPC 7/8", 7136, 8160, 4.0, f"{_BLUE} (8160, 7136); threshold 3.9 to 4.1: {_ESTIMATE}"),
)


def _frame_symbols(bits_per_symbol: int, pilots: bool) -> int:
    slots = FECFRAME_BITS // bits_per_symbol // SLOT_SYMBOLS
    pilot_symbols = PILOT_SYMBOLS * ((slots - 1) // SLOTS_BETWEEN_PILOTS) if pilots else 0
    return HEADER_SYMBOLS + slots * SLOT_SYMBOLS + pilot_symbols


@lru_cache(maxsize=2)
def dvb_s2(pilots: bool = False) -> tuple[Modcod, ...]:
    """The 28 MODCODs of DVB-S2 with normal frames, in the order of the standard.

    Notes
    -----
    Efficiency is the data field of a frame over all its symbols: (K_bch - 80) / (90 + 90 slots + pilots).
    The order by threshold is not the order by efficiency: 8PSK 3/5 needs less than QPSK 8/9 and carries more.

    References
    ----------
    ETSI EN 302 307-1 V1.4.1, "Second generation framing structure ... Part 1: DVB-S2", 2014, tables 5a and 13.
    """
    return tuple(
        Modcod(
            name=f"{modulation} {rate}",
            bits_per_symbol=_BITS[modulation],
            efficiency=(_K_BCH[rate] - BASEBAND_HEADER_BITS) / _frame_symbols(_BITS[modulation], pilots),
            es_n0_db=es_n0_db,
            source=_DVB_S2,
        )
        for modulation, rows in _ES_N0_DB.items()
        for rate, es_n0_db in rows.items()
    )


@lru_cache(maxsize=1)
def ccsds() -> tuple[Modcod, ...]:
    """The codes of CCSDS 131.0, each on BPSK and on QPSK: ``QPSK LDPC 1/2 k=1024``.

    Notes
    -----
    Bit for bit, BPSK and QPSK need the same Eb/N0. Sync markers between codewords are not counted; they belong to
    the frames.
    """
    return tuple(
        Modcod(
            name=f"{modulation} {code.name}",
            bits_per_symbol=bits,
            efficiency=bits * code.rate,
            es_n0_db=code.eb_n0_db + 10.0 * math.log10(bits * code.rate),
            source=code.source,
        )
        for modulation, bits in (("BPSK", 1), ("QPSK", 2))
        for code in CCSDS_CODES
    )


def all_modcods(pilots: bool = False) -> dict[str, Modcod]:
    """Every MODCOD that a radio may name, by name."""
    return {modcod.name: modcod for modcod in (*dvb_s2(pilots), *ccsds())}


def worth_having(modcods: Iterable[Modcod]) -> tuple[Modcod, ...]:
    """Those that some Es/N0 makes the best choice, by rising threshold and rising efficiency.

    Notes
    -----
    What another carries at least as well with no more Es/N0 is left out. So the most efficient of all that close is the
    last of these whose threshold is reached.
    """
    kept: list[Modcod] = []
    for modcod in sorted(modcods, key=lambda m: (m.es_n0_db, -m.efficiency)):
        if not kept or modcod.efficiency > kept[-1].efficiency:
            kept.append(modcod)
    return tuple(kept)
