"""One file under CFDP class 2, seen from both ends: what is sent, what the ground lacks, what it answers.

No clock and no link in it: the radio says when a transmission is over and how lossy its frames were, and is told what
comes back after how much contact time. The ground answers when the EOF arrives (deferred NAK)::

    first transmission -> EOF lost: the spacecraft's timer, EOF again
                       -> gaps:     ACK(EOF) and NAK after a round trip, the gaps again
                       -> complete: ACK(EOF) and Finished after a round trip, ACK(Finished)
    again              -> gaps:     the ground's timer, NAK, the gaps again
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from . import cfdp, frames
from .cfdp import Losses
from .frames import PACKET_HEADER_BYTES


class Next(StrEnum):
    """What the spacecraft does when an answer, or its own timer, is there."""

    REPEAT = "repeat"
    FINISHED = "finished"
    CLOSED = "closed"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class Answer:
    """What follows a transmission."""

    then: Next
    delay_s: float
    """Contact time until then. [s]"""
    return_bytes: int
    """Space packets of the ground until then, lost ones too. [B]"""
    complete: bool
    """Whether the file became complete on the ground with this transmission."""


class Transaction:
    """The exchange about one file.

    Parameters
    ----------
    key
        Stands for the file in the draws; see ``rng.key_of``.

    Notes
    -----
    The ground's PDUs of one answer are lost together, and it repeats them when its timer runs out; the EOF that a
    spacecraft without ACK(EOF) would repeat then, 26 bytes with default settings, is left out.
    """

    def __init__(self, file_bytes: int, name: str, key: int, losses: Losses) -> None:
        self._losses, self._key = losses, key
        self._sizes = cfdp.directives(file_bytes, losses.cfdp)
        first = frames.class1(file_bytes, losses.cfdp, name, name)
        data = np.full(first.file_data_pdus, first.full_data_pdu_bytes, dtype=np.int64)
        data[-1:] = first.last_data_pdu_bytes
        ends = [first.eof_pdu_bytes, self._sizes.ack_pdu_bytes]
        #: Packet bytes of metadata (0), file data (1 to n), EOF (n + 1) and ACK of Finished (n + 2).
        self._packet_bytes = np.concatenate([[first.metadata_pdu_bytes], data, ends]) + PACKET_HEADER_BYTES
        self._eof, self._closing = len(data) + 1, len(data) + 2
        self._missing = np.ones(self._eof + 1, dtype=bool)
        self._sent = np.arange(self._eof + 1)
        self._bursts = self._answers = self.attempts = 0

    @property
    def burst_bytes(self) -> int:
        """Space-packet bytes of what is to be sent, or was sent last. [B]"""
        return int(self._packet_bytes[self._sent].sum())

    @property
    def burst_pdus(self) -> int:
        """PDUs of what is to be sent, or was sent last. [-]"""
        return len(self._sent)

    @property
    def complete(self) -> bool:
        """Whether the ground has the whole file."""
        return not self._missing.any()

    def landed(self, frame_loss: float) -> Answer:
        """The transmission is over, its frames lost with this mean probability: what follows."""
        sent, before, had_eof = self._sent, self.complete, not self._missing[self._eof]
        lost = (
            self._losses.pdus_lost(self._key, self._bursts, sent, self._packet_bytes[sent], frame_loss)
            if frame_loss > 0.0
            else np.zeros(len(sent), dtype=bool)
        )
        self._bursts += 1
        if before:
            if not lost[0]:  # the ACK of Finished
                return Answer(Next.CLOSED, 0.0, 0, False)
            return self._answered(self._finished_bytes, self._losses.cfdp.timer, False)
        self._missing[sent[~lost]] = False
        if self._missing[self._eof]:
            self._sent = np.array([self._eof])
            return self._counted(Answer(Next.REPEAT, self._losses.cfdp.timer, 0, False))
        # What the EOF, or the last gap, completes is answered at once; gaps left open cost the ground's timer.
        prompt = not had_eof or self.complete
        return_bytes = 0 if had_eof else self._sizes.ack_pdu_bytes + PACKET_HEADER_BYTES
        if self.complete:
            return_bytes += self._finished_bytes
        else:
            self._sent = np.flatnonzero(self._missing)
            return_bytes += self._nak_bytes(self._sent)
        delay_s = self._losses.cfdp.round_trip if prompt else self._losses.cfdp.timer
        return self._answered(return_bytes, delay_s, self.complete)

    @property
    def _finished_bytes(self) -> int:
        return self._sizes.finished_pdu_bytes + PACKET_HEADER_BYTES

    def _nak_bytes(self, pdus: NDArray[np.int64]) -> int:
        # Metadata has a request of its own and never shares one with the first segment.
        data = pdus[pdus > 0]
        requests = cfdp.gaps(data) + (len(pdus) - len(data))
        return self._sizes.nak_pdu_bytes(requests) + self._sizes.nak_pdus(requests) * PACKET_HEADER_BYTES

    def _answered(self, return_bytes: int, delay_s: float, complete: bool) -> Answer:
        """The ground's answer, said again each time that it is lost."""
        total = return_bytes
        while self._answer_is_lost():
            self.attempts += 1
            if self.attempts > self._losses.cfdp.attempts:
                return Answer(Next.GIVEN_UP, delay_s, total, complete)
            total += return_bytes
            delay_s += self._losses.cfdp.timer
        if not self.complete:
            return self._counted(Answer(Next.REPEAT, delay_s, total, complete))
        again = self._sent[0] == self._closing
        self._sent = np.array([self._closing])
        answer = Answer(Next.REPEAT if again else Next.FINISHED, delay_s, total, complete)
        return self._counted(answer) if again else answer

    def _answer_is_lost(self) -> bool:
        self._answers += 1
        return self._losses.cfdp.return_loss > 0.0 and self._losses.answer_lost(self._key, self._answers)

    def _counted(self, answer: Answer) -> Answer:
        """A repetition, unless the file has had as many as it may."""
        self.attempts += 1
        if self.attempts <= self._losses.cfdp.attempts:
            return answer
        return Answer(Next.GIVEN_UP, answer.delay_s, answer.return_bytes, answer.complete)


__all__ = ["Answer", "Next", "Transaction"]
