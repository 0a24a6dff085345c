"""The downlink queue: files in the order in which they are sent."""

from __future__ import annotations

import heapq

from .domain import QueuedItem

_Key = tuple[int, int, float, str]


class DownlinkQueue:
    """Files ordered by (priority, cut transfers first, older capture, id); a smaller priority number goes first.

    Nothing preempts a transfer: the radio takes the first file and keeps it until it is sent or the contact ends.
    A cut transfer is pushed back with what it has sent, and wins ties. All operations are O(log n) or O(1).
    """

    def __init__(self) -> None:
        self._heap: list[tuple[_Key, QueuedItem]] = []
        self._ages: list[tuple[float, str]] = []
        self._present: set[str] = set()
        self._expired: list[QueuedItem] = []
        self.pending_bytes = 0

    def push(self, item: QueuedItem) -> None:
        """Add a file, or put a cut one back; while it waits, nobody changes its bytes, priority or age.

        Raises
        ------
        ValueError
            A file of that id is already in the queue.
        """
        if item.id in self._present:
            raise ValueError(f"file '{item.id}' is already in the downlink queue")
        cut_first = 0 if item.sent_bytes > 0 else 1
        heapq.heappush(self._heap, ((item.priority, cut_first, item.captured_s, item.id), item))
        heapq.heappush(self._ages, (item.captured_s, item.id))
        self._present.add(item.id)
        self.pending_bytes += item.due_bytes

    def pop(self, now_s: float) -> QueuedItem | None:
        """The file to send next, or None. Files past their expiry are set aside for ``take_expired``.

        A transfer that has begun is finished whatever its expiry says.
        """
        while self._heap:
            item = heapq.heappop(self._heap)[1]
            self._present.discard(item.id)
            self.pending_bytes -= item.due_bytes
            if item.expires_s is not None and now_s > item.expires_s and item.sent_bytes == 0:
                self._expired.append(item)
                continue
            return item
        return None

    def take_expired(self) -> list[QueuedItem]:
        """Files that were dropped when considered, each given once."""
        gone, self._expired = self._expired, []
        return gone

    def drain(self) -> list[QueuedItem]:
        """Empty the queue, in order."""
        items = [item for _, item in sorted(self._heap, key=lambda entry: entry[0])]
        self._heap.clear()
        self._ages.clear()
        self._present.clear()
        self.pending_bytes = 0
        return items

    @property
    def oldest_s(self) -> float | None:
        """Capture time of the oldest file, None when empty. [s]"""
        while self._ages and self._ages[0][1] not in self._present:
            heapq.heappop(self._ages)
        return self._ages[0][0] if self._ages else None

    def __len__(self) -> int:
        return len(self._heap)
