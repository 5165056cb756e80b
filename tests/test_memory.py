"""A file of any size passes through a worker in little memory."""

from __future__ import annotations

import pytest

from benchmarks.bench_transfer import OPERATOR, TARGET_MIB, measure

FILE_MIB = 96


@pytest.mark.slow
def test_a_large_file_goes_up_and_down_in_constant_memory():
    transfers = measure(FILE_MIB, asset_types=["video"], clients=[OPERATOR])
    assert [transfer.what for transfer in transfers] == ["upload", "download"]
    for transfer in transfers:
        assert transfer.same
        assert transfer.bytes == FILE_MIB * 1024**2
        assert transfer.above_idle_mib is not None
        assert transfer.above_idle_mib < TARGET_MIB
