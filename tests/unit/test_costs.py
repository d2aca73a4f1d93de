"""Fees, slippage and funding; every R worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from strategy.candles import timeframe_delta
from strategy.config import Costs
from strategy.costs import charges_on
from strategy.errors import DataError
from strategy.simulate import Intervention, InterventionKind
from tests.candle_tables import FREE, Table, Trade, mirrored, table, trades_of

FILLS = Costs(fee_per_side=0.0005, slippage_per_side=0.0001, funding_per_8h=0)
FUNDING = Costs(fee_per_side=0, slippage_per_side=0, funding_per_8h=0.0001)
SHORT, LONG = 0, 1


def hours(n: int, start: str = "2024-01-01T00:00Z") -> pd.DatetimeIndex:
    return pd.date_range(start, periods=n, freq="1h")


def rates(**by_hour: float) -> pd.Series:
    """Funding rates of 2024-01-01 by hour: rates(h08=0.0003)."""
    times = [pd.Timestamp(f"2024-01-01T{hour[1:]}:00Z") for hour in by_hour]
    return pd.Series(list(by_hour.values()), index=pd.DatetimeIndex(times), dtype=float)


def r_of(candles: Table, costs: Costs, **options: Any) -> float:
    (trade,) = trades_of(candles, costs=costs, **options)
    return trade.r


# --- fee and slippage ------------------------------------------------------------------------

# Entered at 100, R = 5, closed at 104: 0.8 R before costs.
RISING = """
    open  high  low  close  signal
    100   101   99   100    1
    100   103   98   102    0
    102   104   99   104    0
"""


def test_fee_and_slippage_are_paid_on_both_fills():
    # 0.0006 x (100 + 104) = 0.1224; (4 - 0.1224) / 5 = 0.77552
    assert r_of(table(RISING), FILLS) == 0.77552


def test_a_short_pays_the_same_share_of_its_own_fills():
    # 100 -> 96: 0.0006 x (100 + 96) = 0.1176; (4 - 0.1176) / 5 = 0.77648
    assert r_of(mirrored(table(RISING)), FILLS) == 0.77648


def test_a_stop_out_loses_one_r_and_the_costs():
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    1
        100   103   95   98     0
    """)
    # 0.0006 x (100 + 95) = 0.117; (-5 - 0.117) / 5 = -1.0234
    assert trades_of(candles, costs=FILLS) == [Trade(1, 1, 1, 100, 95, "stop_loss", -1.0234)]


def test_costs_move_neither_prices_nor_exits():
    (free,) = trades_of(table(RISING))
    (charged,) = trades_of(table(RISING), costs=Costs())
    assert charged._replace(r=0) == free._replace(r=0)


# --- constant funding ------------------------------------------------------------------------

# Entered at the open of bar 1 (100), open over bar 2 (opens at 102), closed at 104.
OVER_08 = table(RISING, start="2024-01-01T06:00Z")  # bars at 06, 07 (entry), 08


def test_a_long_that_was_open_before_a_funding_time_pays_on_that_bars_open():
    # 0.0001 x 102 = 0.0102; (4 - 0.0102) / 5 = 0.79796
    assert r_of(OVER_08, FUNDING) == 0.79796


def test_constant_funding_is_not_received_by_shorts():
    assert r_of(mirrored(OVER_08), FUNDING) == 0.8


def test_a_position_opened_at_the_very_funding_time_does_not_pay():
    assert r_of(table(RISING, start="2024-01-01T07:00Z"), FUNDING) == 0.8


def test_a_position_that_ends_before_the_funding_time_does_not_pay():
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    1       # 05:00
        100   101   99   100    0       # 06:00
        100   101   95   97     0       # 07:00 out at 95
        97    98    96   97     0       # 08:00
    """, start="2024-01-01T05:00Z")  # fmt: skip
    assert r_of(candles, FUNDING) == -1


def test_a_position_that_ends_at_the_open_of_a_funding_time_pays():
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    1       # 06:00
        100   101   99   100    0       # 07:00
        90    91    89   90     0       # 08:00 gap: out at 90; 0.0001 x 90 = 0.009
    """, start="2024-01-01T06:00Z")  # fmt: skip
    assert r_of(candles, FUNDING) == -2.0018  # (-10 - 0.009) / 5


def test_every_funding_time_in_a_long_position_is_paid():
    quiet = "100 101 99 100"
    rows = "\n".join([f"{quiet} 1"] + [f"{quiet} 0"] * 24)
    candles = table("open high low close signal\n" + rows)
    # Entered at 01:00; 08:00, 16:00 and 00:00 the next day: 3 x 0.01 / 5 = 0.006
    assert r_of(candles, FUNDING) == -0.006


def test_a_restart_pays_for_its_own_time_only():
    # Out at 08:00's bar inside, entered again at 09:00: the second position pays nothing.
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    1       # 06:00
        100   101   99   100    0       # 07:00
        100   101   95   100    1       # 08:00 pays 0.01, out at 95: (-5 - 0.01) / 5
        100   101   99   101    0       # 09:00 closed at 101
    """, start="2024-01-01T06:00Z")  # fmt: skip
    assert [trade.r for trade in trades_of(candles, costs=FUNDING)] == [-1.002, 0.2]


# --- historical funding ----------------------------------------------------------------------


def test_longs_pay_historical_rates_and_shorts_receive_them():
    known = rates(h08=0.0005)
    # On 102: 0.051; (4 - 0.051) / 5. The mirrored bar opens at 98: 0.049; (4 + 0.049) / 5.
    assert r_of(OVER_08, FUNDING, funding_rates=known) == 0.7898
    assert r_of(mirrored(OVER_08), FUNDING, funding_rates=known) == 0.8098


def test_negative_rates_are_received_by_longs_and_paid_by_shorts():
    known = rates(h08=-0.0005)
    assert r_of(OVER_08, FUNDING, funding_rates=known) == 0.8102
    assert r_of(mirrored(OVER_08), FUNDING, funding_rates=known) == 0.7902


def test_a_known_rate_of_zero_is_not_the_constant():
    assert r_of(OVER_08, FUNDING, funding_rates=rates(h08=0.0)) == 0.8


def test_a_funding_time_outside_the_series_counts_as_the_constant():
    charges = charges_on(hours(24), "1h", FUNDING, rates(h08=0.0005))
    np.testing.assert_array_equal(charges.at_open[[0, 8, 16], LONG], [0.0001, 0.0005, 0.0001])
    np.testing.assert_array_equal(charges.at_open[[0, 8, 16], SHORT], [0, -0.0005, 0])


def test_rates_of_other_times_are_not_used():
    charges = charges_on(hours(24), "1h", FREE, rates(h07=0.1, h09=0.1))
    assert not charges.at_open.any()


# --- laid on bars ----------------------------------------------------------------------------


def test_hourly_bars_are_funded_at_0_8_and_16_utc_and_never_inside():
    charges = charges_on(hours(48), "1h", FUNDING)
    assert np.flatnonzero(charges.at_open[:, LONG]).tolist() == [0, 8, 16, 24, 32, 40]
    assert not charges.at_open[:, SHORT].any()
    assert not charges.inside.any()
    assert charges.per_side == 0


@pytest.mark.parametrize(
    ("timeframe", "at_open", "inside"),
    [
        # funding times at the open of each bar of a day, and inside it
        ("4h", [1, 0, 1, 0, 1, 0], [0, 0, 0, 0, 0, 0]),
        ("6h", [1, 0, 0, 0], [0, 1, 1, 0]),  # 08:00 in 06-12, 16:00 in 12-18
        ("8h", [1, 1, 1], [0, 0, 0]),
        ("12h", [1, 0], [1, 1]),  # 08:00 in 00-12, 16:00 in 12-24
        ("1d", [1], [2]),
    ],
)
def test_each_funding_time_is_laid_on_one_bar(
    timeframe: str, at_open: list[int], inside: list[int]
):
    step = timeframe_delta(timeframe)
    index = pd.date_range("2024-01-01", periods=2 * len(at_open), freq=step, tz="UTC")
    charges = charges_on(index, timeframe, FUNDING)
    np.testing.assert_allclose(charges.at_open[:, LONG], 0.0001 * np.array(2 * at_open))
    np.testing.assert_allclose(charges.inside[:, LONG], 0.0001 * np.array(2 * inside))


def test_daily_bars_take_each_historical_rate_once():
    index = pd.date_range("2024-01-01", periods=1, freq="1D", tz="UTC")
    charges = charges_on(index, "1d", FREE, rates(h00=0.001, h08=0.002, h16=0.004))
    np.testing.assert_allclose(charges.at_open, [[-0.001, 0.001]])
    np.testing.assert_allclose(charges.inside, [[-0.006, 0.006]])


DAILY = """
    open  high  low  close  signal
    100   101   99   100    1
    100   104   96   102    0          # entered at 00:00; pays 08:00 and 16:00 on 100
    {last}
"""


def r_of_daily(last: str) -> float:
    return r_of(table(DAILY.format(last=last), step="1D"), FUNDING, timeframe="1d")


def test_a_daily_bar_pays_the_funding_inside_it_from_its_entry_bar_on():
    # Entry bar 2 x 0.01; last bar 3 x 0.0102; (3 - 0.02 - 0.0306) / 5 = 0.58988
    assert r_of_daily("102 104 99 103 0") == 0.58988


def test_a_daily_bar_that_stops_the_position_inside_pays_all_of_its_funding():
    # When in the day is unknown: the worse is taken. (-5 - 0.02 - 0.0306) / 5 = -1.01012
    assert r_of_daily("102 104 94 95 0") == -1.01012


def test_a_daily_bar_left_at_its_open_pays_only_the_funding_at_its_open():
    # Gap to 90: 0.02 + 0.009; (-10 - 0.029) / 5 = -2.0058
    assert r_of_daily("90 91 89 90 0") == -2.0058


def test_funding_in_a_data_gap_is_paid_at_the_next_open():
    candles = table("""
        time              open  high  low  close  signal
        2024-01-01T06:00  100   101   99   100    1
        2024-01-01T07:00  100   101   99   100    0
        2024-01-01T09:00  100   101   99   100    0    # 08:00 is missing: 0.01 / 5
    """)
    assert r_of(candles, FUNDING) == -0.002


def test_a_position_closed_in_a_data_gap_pays_the_funding_of_the_whole_gap():
    candles = table("""
        time              open  high  low  close  signal
        2024-01-01T05:00  100   101   99   100    1
        2024-01-01T06:00  100   101   99   100    0
        2024-01-01T08:00  100   101   99   100    0    # 07:00 is missing
    """)
    # 1 / 5 from the close at 101, less 0.01 / 5: what lies inside a gap counts against us.
    closed = Intervention(pd.Timestamp("2024-01-01T07:30Z"), InterventionKind.CLOSE, 101.0)
    assert r_of(candles, FUNDING, interventions=[closed]) == pytest.approx(0.198)


def test_funding_rates_without_a_time_zone_are_an_error():
    naive = rates(h08=0.0005).tz_localize(None)
    with pytest.raises(DataError, match="without a zone"):
        charges_on(hours(24), "1h", FUNDING, naive)


def test_a_funding_rate_stamped_some_milliseconds_late_is_still_that_of_its_hour():
    late = rates(h08=0.0005).shift(freq=pd.Timedelta(milliseconds=3))
    assert charges_on(hours(24), "1h", FUNDING, late).at_open[8, LONG] == 0.0005


def test_a_funding_rate_that_is_there_twice_is_an_error():
    twice = pd.concat([rates(h08=0.0005), rates(h08=0.0005)])
    with pytest.raises(DataError, match="twice"):
        charges_on(hours(24), "1h", FUNDING, twice)
