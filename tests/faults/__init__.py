"""The fault matrix: every fault of the list, on real processes, and what must hold after it."""
