"""The trading bot: a tick that closes a bar, one with nothing to do, memory, and a replay.

A tick is measured with 10 versions in Staging, through the real registry (SQLite), state table
and paper accounts. Its memory is that of a process of its own, in which Numba, matplotlib, SHAP
and pyarrow cannot be imported: the layer of the deployed bot has none of them.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from statistics import median
from unittest.mock import patch

import pandas as pd

from benchmarks._common import ROOT, load_market, show
from strategy.config import IndicatorParameters
from tests.parity import PaperWorld, bundle_of

VERSIONS = 10
BARS = 24 * 10
FORBIDDEN = ("numba", "matplotlib", "shap", "pyarrow")


def main() -> None:
    if sys.argv[1:2] == ["--alone"]:
        return alone(Path(sys.argv[2]))
    candles, _ = load_market(str(__doc__), "a minute")
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        ticks(candles, Path(folder) / "ten", VERSIONS)
        replay(candles, Path(folder) / "one")
    memory(candles)


def ticks(candles: pd.DataFrame, folder: Path, versions: int) -> None:
    """Bar-closing ticks of warm days, and ticks in between."""
    world = world_of(candles, folder, versions)
    closing = []
    for moment in world.moments(30):
        world.clock.now = moment
        start = time.perf_counter()
        report = world.bot.tick()
        elapsed = time.perf_counter() - start
        if report.bars:
            closing.append(elapsed)
    closing_ms = 1000 * median(closing[5:])
    show(f"tick that closes a bar, {versions} versions", f"{closing_ms:.0f} ms", "<= 150",
         closing_ms <= 150)  # fmt: skip
    idle_ms = 1000 * _idle(world)
    show("tick with nothing to do", f"{idle_ms:.1f} ms", "<= 10", idle_ms <= 10)


def _idle(world: PaperWorld) -> float:
    """Ticks of a bot whose bars are dealt with and whose accounts hold nothing."""
    for item in world.state.items("accounts"):
        flat = dict(item.value) | {"positions": {}}
        world.state.put("accounts", item.key, flat, expected=item.version)
    world.bot = world.new_bot()
    elapsed = []
    for _ in range(50):
        start = time.perf_counter()
        world.bot.tick()
        elapsed.append(time.perf_counter() - start)
    return median(elapsed)


def replay(candles: pd.DataFrame, folder: Path) -> None:
    """Twelve ticks an hour, through the handler, one version."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):  # it logs as on Lambda
        rate, trades = _replayed(candles, folder)
    show(f"replay of {BARS} bars, 12 ticks each ({trades} trades)", f"{rate:.0f} bars/s", ">= 40",
         rate >= 40)  # fmt: skip


def _replayed(candles: pd.DataFrame, folder: Path) -> tuple[float, int]:
    """Bars a second, and how many trades they made."""
    from types import SimpleNamespace

    from serving import trading_bot

    world = world_of(candles, folder, 1)
    context = SimpleNamespace(
        function_name="trading_bot", memory_limit_in_mb=512, aws_request_id="replay",
        invoked_function_arn="arn:aws:lambda:ap-southeast-1:0:function:trading_bot",
    )  # fmt: skip
    with patch.object(trading_bot, "deployed_bot", lambda: world.bot):
        trading_bot.handler({}, context)  # opens the registry and loads the bundle
        start = time.perf_counter()
        for moment in world.moments(BARS):
            world.clock.now = moment
            trading_bot.handler({}, context)
        rate = BARS / (time.perf_counter() - start)
    return rate, len(world.trades(world.bundles[0]))


def memory(candles: pd.DataFrame) -> None:
    """Most that a process held that ticked ten versions through a few bars."""
    with tempfile.TemporaryDirectory() as folder:
        candles.iloc[-6000:].to_csv(Path(folder) / "candles.csv")
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.trading_bot", "--alone", folder],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    megabytes = float(done.stdout.split()[-1])
    show("most memory of the bot's process", f"{megabytes:.0f} MB", "<= 400", megabytes <= 400)


def alone(folder: Path) -> None:
    """The process whose memory is measured."""

    class Absent:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name.split(".")[0] in FORBIDDEN:
                raise ModuleNotFoundError(f"{name} is not in the layer", name=name)

    sys.meta_path.insert(0, Absent())
    candles = pd.read_csv(folder / "candles.csv", index_col="timestamp", parse_dates=True)
    world = world_of(candles, folder / "alone", VERSIONS)
    for moment in world.moments(3):
        world.clock.now = moment
        world.bot.tick()
    status = Path("/proc/self/status").read_text().split()
    print(int(status[status.index("VmHWM:") + 1]) / 1024)


def world_of(candles: pd.DataFrame, folder: Path, versions: int) -> PaperWorld:
    """The bot over the last two thousand bars, with that many versions in Staging."""
    from store.config_file import read_config

    folder.mkdir(parents=True)
    config = read_config(ROOT / "config.json")
    begin = candles.index[-BARS - 48]
    history = candles[candles.index < begin].iloc[-3000:]
    periods = [(8, 24, 48), (9, 26, 52), (10, 28, 56)]
    bundles = [
        bundle_of(
            history,
            config,
            IndicatorParameters(
                *periods[number % 3], 7 * (1 + number % 4), 7 * (1 + number // 3 % 4)
            ),
            name=f"{number:x}",
        )
        for number in range(versions)
    ]
    used = candles.iloc[-6000:]
    return PaperWorld(folder, used, bundles, begin)


if __name__ == "__main__":
    main()
