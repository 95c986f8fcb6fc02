"""Tests; those of real processes and a real circusd are in ``tests/e2e``."""
