"""Freed memory is handed back to the system, holes included."""

from __future__ import annotations

import ctypes
import sys

import psutil
import pytest
import torch

from prunelimit.curvature.memory import give_back

HAS_TRIM = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim")


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)


@pytest.mark.skipif(not HAS_TRIM, reason="the C library cannot be told to")
def test_holes_between_tensors_go_back_and_the_tensors_stay() -> None:
    size, count = 100_000, 2_000
    tensors = [torch.full((size,), number % 251, dtype=torch.uint8) for number in range(count)]
    freed = sum(each.nbytes for each in tensors[1::2])
    del tensors[1::2]
    before = _resident()
    give_back()
    assert before - _resident() > 0.7 * freed
    assert all(bool((each == 2 * place % 251).all()) for place, each in enumerate(tensors))


def test_where_nothing_can_be_given_back_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    give_back()
