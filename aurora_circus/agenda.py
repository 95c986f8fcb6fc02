"""Who wants to be called when: the next one at once, whether they are five or thousands. Pure."""

import heapq


class Agenda:
    """One time for each key, in monotonic seconds."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._times: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        """Holds each time in force, and others that are not any more."""

    def put(self, key: str, at: float | None) -> None:
        """Call ``key`` at that time and at no other; None: never."""
        if at is None:
            self._times.pop(key, None)
        elif self._times.get(key) != at:
            self._times[key] = at
            heapq.heappush(self._heap, (at, key))
            if len(self._heap) > 2 * len(self._times) + 10:
                self._heap = [(time, each) for each, time in self._times.items()]
                heapq.heapify(self._heap)

    def next(self) -> float | None:
        """Return when the next one is to be called; None where there is nobody."""
        while self._heap and self._times.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop(self, at: float) -> str | None:
        """Return who is to be called first, at ``at`` or before; that one is called no more until it is put again."""
        due = self.next()
        if due is None or due > at:
            return None
        _, key = heapq.heappop(self._heap)
        del self._times[key]
        return key

    def take(self, at: float) -> set[str]:
        """Return all who are to be called at ``at`` or before; they are called no more until they are put again."""
        taken = set()
        while (key := self.pop(at)) is not None:
            taken.add(key)
        return taken
