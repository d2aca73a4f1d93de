"""What training on an instance type costs: a dated table, kept beside this file.

::

    python -m store.prices              # shows the table
    python -m store.prices --refresh    # writes it anew from AWS's price list
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from store.clock import Clock, utc_now
from strategy.config_errors import describe
from strategy.errors import ConfigError, TradingSystemError, exit_status

PRICES = Path(__file__).with_name("prices.json")
LOCAL = "local"
"""The instance type of a process on this machine."""

_SECONDS_PER_HOUR = 3600
_HOURS_PER_MONTH = 28 * 24  # AWS counts those of the month at hand; the shortest never flatters

Usd = Annotated[float, Field(gt=0)]


class InstancePrice(BaseModel):
    """An instance type that SageMaker trains on; prices are on demand, in USD per hour."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    vcpus: Annotated[int, Field(ge=1)]
    memory_gib: Annotated[float, Field(gt=0)]
    training_usd_per_hour: Usd
    ec2_usd_per_hour: Annotated[Usd, Field(description="of the same instance without SageMaker")]


class PriceTable(BaseModel):
    """Prices of one region at one date.

    ``source`` says where they are from and which of them are estimates.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    as_of: date
    region: str
    source: str
    volume_usd_per_gb_month: Annotated[Usd, Field(description="storage of a training job")]
    instances: Annotated[dict[str, InstancePrice], Field(min_length=1)]

    def instance(self, name: str) -> InstancePrice:
        """The prices of an instance type, as ``ml.c5.xlarge``.

        Raises
        ------
        ConfigError
            The table does not have it.
        """
        if name not in self.instances:
            raise ConfigError(
                f"instance type {name!r} has no price; there are prices for "
                f"{', '.join(sorted(self.instances))}. Choose one of them, or add it to {PRICES}"
            )
        return self.instances[name]

    def usd(
        self,
        instance_type: str,
        billable_seconds: float,
        volume_gb: float,
        training_seconds: float | None = None,
    ) -> float:
        """What a training job costs, in USD.

        The instance is charged on demand for the time that is billed, which for managed Spot
        training is less than it took [1]_; the disk for all of it, as if the month had 28 days.

        Parameters
        ----------
        training_seconds
            How long the job was on an instance; None: all of it is billed.

        Raises
        ------
        ConfigError
            The instance type has no price.

        References
        ----------
        .. [1] "Managed Spot Training in Amazon SageMaker AI", developer guide.
        """
        stored_seconds = billable_seconds if training_seconds is None else training_seconds
        volume_usd_per_hour = volume_gb * self.volume_usd_per_gb_month / _HOURS_PER_MONTH
        return (
            self.instance(instance_type).training_usd_per_hour * billable_seconds
            + volume_usd_per_hour * stored_seconds
        ) / _SECONDS_PER_HOUR


LOCAL_PRICES = PriceTable.model_construct(  # unchecked: a file must not hold what costs nothing
    as_of=date(2026, 11, 22),
    region=LOCAL,
    source="a process on this machine costs nothing",
    volume_usd_per_gb_month=0.0,
    instances={
        LOCAL: InstancePrice.model_construct(
            vcpus=1, memory_gib=1.0, training_usd_per_hour=0.0, ec2_usd_per_hour=0.0
        )
    },
)
"""For jobs that run on this machine."""


@cache
def load_prices() -> PriceTable:
    """The table that comes with the code; raises as :func:`read_prices` does."""
    return read_prices(PRICES)


def read_prices(path: Path) -> PriceTable:
    """Read a table of prices.

    Raises
    ------
    ConfigError
        The file cannot be read, is not JSON, or an entry is missing or out of its range.
    """
    try:
        return PriceTable.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        schema = PriceTable.model_json_schema()
        problems = "; ".join(describe(detail, schema) for detail in error.errors())
        raise ConfigError(f"{path}: {problems}") from error


def main(
    arguments: Sequence[str] | None = None,
    *,
    client: Callable[[], Any] | None = None,
    now: Clock = utc_now,
    path: Path = PRICES,
) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m store.prices", description="Show the prices that the cost gate goes by."
    )
    parser.add_argument(
        "--refresh", action="store_true", help="write them anew from AWS's price list first"
    )
    chosen = parser.parse_args(arguments)
    try:
        if chosen.refresh:
            from store.price_list import connect, refreshed  # loads boto3

            table = refreshed(read_prices(path), (client or connect)(), now().date())
            path.write_text(table.model_dump_json(indent=2) + "\n", encoding="utf-8")
        print(_shown(read_prices(path)))
    except TradingSystemError as error:
        print(f"error: {error}", file=sys.stderr)
        return exit_status(error)
    return 0


def _shown(table: PriceTable) -> str:
    lines = [f"{table.region}, {table.as_of}: {table.source}", ""]
    lines.append(f"{'type':16} {'vCPU':>4} {'GiB':>4} {'training':>9} {'EC2':>7}  USD per hour")
    lines += [
        f"{name:16} {price.vcpus:4} {price.memory_gib:4g} {price.training_usd_per_hour:9.4f} "
        f"{price.ec2_usd_per_hour:7.4f}"
        for name, price in table.instances.items()
    ]
    lines.append(f"volume: {table.volume_usd_per_gb_month} USD per GB and month")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
