"""Worker processes: prepared before their work, and heard of when they die."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from strategy.errors import RetryError
from training.processes import process_pool


def test_a_process_is_prepared_before_its_work_and_one_that_dies_is_worth_a_retry(
    tmp_path: Path,
) -> None:
    here = Path.cwd()
    with (
        pytest.raises(RetryError, match="a worker process died"),
        process_pool(1, os.chdir, tmp_path) as executor,
    ):
        assert executor.submit(os.getcwd).result() == str(tmp_path)
        executor.submit(os._exit, 1).result()
    assert Path.cwd() == here
