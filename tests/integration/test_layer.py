"""Every function on the layer alone: in a bare Python 3.12, with the parts on moto and MLflow.

AWS and the MLflow server are other processes, reached over HTTP as on AWS; models lie in S3.
Nothing that is installed for development is seen by the functions.
"""

from __future__ import annotations

import filecmp
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from infra import layer
from infra.layer_check import called, handlers, imported_later
from registry.connection import connect
from registry.lifecycle import Lifecycle, Stage
from registry.loading import load_bundle
from rehearsal.binance.klines import binance_server
from serving.campaign_requests import Campaign
from serving.trading.positions import PARTITION
from store.aws import client
from store.candle_archive import open_archive
from strategy.errors import RetryError
from tests.aws_account import BUCKET, Account, account
from tests.aws_fakes import aws_server
from tests.launch_world import sqs_record, state_change
from tests.retrain_world import (
    EVENT,
    FOUND,
    MODEL,
    RETRAINED,
    STEADY,
    config,
    market,
    register_as_campaign,
)

BUILT = layer.ROOT / "var" / "layer"
PYTHON = layer.interpreter(layer.PYTHON)
READELF = shutil.which("readelf")
OF_THE_SYSTEM = {
    "ld-linux-x86-64.so.2", "libc.so.6", "libdl.so.2", "libgcc_s.so.1", "libm.so.6",
    "libpthread.so.0", "librt.so.1", "libstdc++.so.6", "libz.so.1",
}  # fmt: skip
"""What Lambda's Python itself runs on; versions are those of its glibc and of GCC 11."""
PREPARED = Path(__file__).with_name("on_the_layer")
CANDLES = market(*STEADY)
HOUR = pd.Timedelta("1h")
CAMPAIGN = "0a1b2c3d4e5f"
JOB = f"{MODEL}-{CAMPAIGN}-shard1of1-0"


@dataclass
class Functions:
    """The functions on the built layer, with the sources of this checkout."""

    into: Path
    variables: dict[str, str] = field(default_factory=dict)

    def call(self, module: str, event: dict[str, Any]) -> Any:
        """What a handler returns in a process of its own."""
        assert PYTHON is not None
        outcome = called(self.into, PYTHON, [module], event, self.variables)
        assert outcome.raised is None, outcome.message
        return outcome.returned


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> Functions:
    if not layer.runs_here():
        pytest.skip(layer.ELSEWHERE)
    if PYTHON is None:
        pytest.skip(f"there is no {layer.PYTHON} here, which is Lambda's")
    lock = BUILT / layer.LOCK.name
    if not lock.exists() or lock.read_text() != layer.LOCK.read_text():
        pytest.skip("var/layer is not built of these requirements: python -m infra.layer build")
    into = tmp_path_factory.mktemp("lambda")
    (into / "layer").symlink_to(BUILT / "layer")
    layer.lay_out_functions(into / "functions", PYTHON)
    for prepared in PREPARED.glob("*.py"):
        shutil.copy(prepared, into / "functions")
    return Functions(into)


@pytest.fixture(scope="module")
def aws() -> Iterator[Account]:
    with aws_server() as url, account(url) as made:
        stored = config().model_dump_json().encode()
        client("s3").put_object(Bucket=BUCKET, Key="config.json", Body=stored)
        open_archive(f"s3://{BUCKET}/candles", 0).write("BTCUSDT", "1h", CANDLES)
        yield made


@pytest.fixture(scope="module")
def mlflow_server(aws: Account, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that keeps models in the bucket, as MLflow on SageMaker does."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
        "--no-serve-artifacts", "--default-artifact-root", f"s3://{BUCKET}/mlflow",
    ]  # fmt: skip
    with (folder / "log").open("w") as log:
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    uri = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert server.poll() is None, (folder / "log").read_text()
            try:
                connect(uri)
                break
            except RetryError:
                time.sleep(0.1)
        yield uri
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def deployed(
    functions: Functions,
    aws: Account,
    mlflow_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Functions:
    """The functions with their variables, and a strategy that trades on paper: version 1."""
    held = CANDLES[CANDLES.index < FOUND]
    register_as_campaign(connect(mlflow_server), tmp_path_factory.mktemp("found"), held, "c0ffee")
    functions.variables = {
        **aws.variables,
        "MLFLOW_TRACKING_URI": mlflow_server,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "RETRAINER_FUNCTION": "model_retrainer",
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "NO_PROXY": "127.0.0.1",
    }
    return functions


def test_every_handler_is_imported_and_names_the_variables_it_needs(functions: Functions) -> None:
    assert PYTHON is not None
    modules = handlers(functions.into)
    assert len(modules) == 8
    for module in modules:
        every = [module, *imported_later(functions.into / "functions", module)]
        outcome = called(functions.into, PYTHON, every, {}, {})
        assert outcome.names_variables, outcome


def test_the_configuration_is_shown(deployed: Functions) -> None:
    shown = deployed.call("serving.config_service", {})
    assert shown["config"]["digest"] == config().digest
    assert shown["settings"]["ops"]["emergency_stop"]["value"] is False


def test_a_campaign_is_launched_and_heard_of(deployed: Functions, aws: Account) -> None:
    stack = aws.stack
    uri = stack.input_uri(CAMPAIGN)
    client("s3").put_object(
        Bucket=BUCKET, Key=f"campaigns/{CAMPAIGN}/input/market.json", Body=b"{}"
    )
    campaign = Campaign(
        campaign_id=CAMPAIGN,
        asset="BTCUSDT",
        timeframe="1h",
        config_digest="c0nf",
        data_digest="da7a",
        code_digest="c0de",
        input_uri=uri,
        checkpoint_uri=f"s3://{BUCKET}/walk_forward_checkpoints/",
        max_resume_attempts=2,
    )
    stack.requests.ask(stack.queue, campaign, shards=1, requested_by="ana")
    deployed.call("serving.initiate_validation_window", {"action": "open"})
    nudge = sqs_record("1", json.dumps({"campaign_id": CAMPAIGN}))
    answer = deployed.call("serving.launch_spot_validator", {"Records": [nudge]})
    assert answer == {"batchItemFailures": []}
    job = client("sagemaker").describe_training_job(TrainingJobName=JOB)
    assert job["HyperParameters"]["campaign_id"] == CAMPAIGN
    event = state_change(JOB)
    event["detail"]["HyperParameters"] = job["HyperParameters"]
    deployed.call("serving.training_job_events", event)
    assert aws.job_record(CAMPAIGN, 1)["job_status"] == "Completed"


def test_the_orchestrator_says_what_it_would_do(deployed: Functions) -> None:
    (record,) = deployed.call("serving.orchestrator", {"dry_run": True})
    assert record["model"] == MODEL
    assert not record["errors"]


def test_a_day_of_candles_is_downloaded(deployed: Functions) -> None:
    index = pd.date_range(end=RETRAINED + 2 * HOUR, periods=50, freq="h", name="timestamp")
    later = CANDLES.tail(50).set_axis(index.as_unit("ns"))
    frames = {("BTCUSDT", "1h"): later, ("BTCUSDT", "5m"): later.tail(0)}
    with binance_server(frames) as binance:
        now = RETRAINED + 3 * HOUR
        event = {"now": now.isoformat(), "url": binance.url}
        records = deployed.call("download_on_the_layer", event)
    assert {(each["timeframe"], each["added"]) for each in records} == {("1h", 3), ("5m", 0)}


def test_the_bot_says_at_a_bars_close_what_the_same_version_says_here(
    deployed: Functions, aws: Account, mlflow_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = load_bundle(connect(mlflow_server), MODEL, 1)
    signals = bundle.signals(CANDLES)
    traded = signals[(signals["signal"] != 0) & (signals.index > FOUND)]
    bar = traded.index[0]
    event = {"now": (bar + HOUR).isoformat(), "model": MODEL, "version": 1}
    report = deployed.call("bar_on_the_layer", event)
    said = {name: float.fromhex(value) for name, value in report["says"].items()}
    with capsys.disabled():
        print(f"\nbar {bar}: on the layer {said}, here {traded.loc[bar].to_dict()}")
    assert said == traded.loc[bar].to_dict()
    paper = f"paper/{bundle.strategy_id}"
    assert paper in report["accounts"]
    item = aws.stack.state.get(PARTITION, paper)
    assert item is not None
    assert item.value["positions"]["BTCUSDT"]["side"] == said["signal"]


def test_a_model_is_retrained_and_takes_over(deployed: Functions, mlflow_server: str) -> None:
    now = RETRAINED.to_pydatetime() + timedelta(minutes=10)
    record = deployed.call("retrain_on_the_layer", {**EVENT, "now": now.isoformat()})
    assert (record["verdict"], record["retrain_of"], record["version"]) == ("admitted", 1, 2)
    life = Lifecycle(connect(mlflow_server), MODEL, lambda: 0)
    assert [life.version(number).stage for number in (1, 2)] == [Stage.ARCHIVED, Stage.STAGING]


def test_every_library_finds_what_it_needs_on_amazon_linux_2023(functions: Functions) -> None:
    if READELF is None:
        pytest.skip("there is no readelf here (binutils)")
    libraries = [path for path in (BUILT / "layer").rglob("*.so*") if path.is_file()]
    assert libraries
    told = subprocess.run(
        [READELF, "--wide", "--dynamic", "--version-info", *map(str, libraries)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", told))
    assert "libgomp.so.1" in needed
    assert needed - {path.name for path in libraries} <= OF_THE_SYSTEM
    versions = {
        name: max(
            tuple(map(int, found.split("."))) for found in re.findall(rf"{name}_([\d.]+)", told)
        )
        for name in ("GLIBC", "GLIBCXX")
    }
    assert versions["GLIBC"] <= (2, 34)
    assert versions["GLIBCXX"] <= (3, 4, 29)


@pytest.mark.torture
def test_two_builds_are_the_same_to_the_bit(tmp_path: Path) -> None:
    if PYTHON is None:
        pytest.skip(f"there is no {layer.PYTHON} here, which is Lambda's")
    for name in ("one", "two"):
        layer.build(tmp_path / name, PYTHON, Console(quiet=True))
    for name in ("layer.zip", "functions.zip"):
        assert filecmp.cmp(tmp_path / "one" / name, tmp_path / "two" / name, shallow=False)
