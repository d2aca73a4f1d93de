"""What a failed request to Binance futures means for whoever made it.

ccxt finds its exceptions by the address that answered, and gives them classes for a trader's
eyes; what decides here is Binance's own code and the HTTP status alone. Codes:
https://developers.binance.com/docs/derivatives/usds-margined-futures/error-code
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import ccxt

from store.exchange import (
    DuplicateOrderError,
    InsufficientMarginError,
    NothingToReduceError,
    NotionalTooSmallError,
    RefusedError,
    StopPassedError,
    UnknownOrderError,
)
from strategy.errors import ConfigError, FixError, RetryError, TradingSystemError


class BusyError(RetryError):
    """Binance carried nothing out, and wants to be left alone for ``retry_after`` seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ClockError(RetryError):
    """Our clock and Binance's differ too much; nothing was carried out."""


class AlreadySetError(RefusedError):
    """The setting is already as it should be."""


_RESTRICTED = 451
_TOO_MANY = (418, 429)
_SHORTEST_BAN = 120.0  # seconds, where a ban does not say
_CLOCK = -1021

_LATER = {
    -1000,  # unknown error
    -1001,  # internal error
    -1003,  # too many requests
    -1006,  # execution status unknown
    -1007,  # time-out at the back: execution status unknown
    -1008,  # overloaded
    -1015,  # too many orders
    -1016,  # service is shutting down
    -2012,  # cancelling failed
    -2020,  # unable to fill
    -2023,  # in liquidation
    -4117,  # the stop is just being triggered
    -4131,  # the best price is too far off (PERCENT_PRICE)
    -5028,  # reached the matching engine too late
}
_KEY = {-1002, -1005, -1011, -1022, -1099, -2014, -2015, -2017}
_SYMBOL = {-1121, -1122, -4144}
_REFUSALS: dict[int, type[RefusedError]] = {
    -2011: UnknownOrderError,
    -2013: UnknownOrderError,
    -2018: InsufficientMarginError,
    -2019: InsufficientMarginError,
    -2021: StopPassedError,
    -2022: NothingToReduceError,
    -4046: AlreadySetError,
    -4059: AlreadySetError,
    -4115: DuplicateOrderError,
    -4116: DuplicateOrderError,
    -4164: NotionalTooSmallError,
}
_ADVICE = {
    -4047: "Cancel the open orders of the symbol, then isolated margin can be set",
    -4048: "Close the position of the symbol, then isolated margin can be set",
    -4067: "Cancel all open orders, then one-way mode can be set",
    -4068: "Close all positions, then one-way mode can be set",
    -4168: "Switch the account from Multi-Assets to Single-Asset mode: isolated margin needs it",
}
_CHECK_KEY = (
    "Check binance_api_key and binance_api_secret: that they belong together and to this "
    "environment, that the key may trade futures, and that it allows this address"
)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Tell of a failed request in our own errors.

    What is not a plain refusal by Binance is a RetryError, because then the request may have
    been carried out: time-outs, lost connections, HTTP 5xx, answers that make no sense.

    Parameters
    ----------
    what
        What was asked, for the message: ``"market order x1 of BTCUSDT"``.
    """
    try:
        yield
    except ccxt.BaseError as error:
        # Not chained: ccxt's message holds the whole signed address.
        raise meaning(what, error) from None


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Tell of an answer that is not of Binance's form (a proxy's page, a change of theirs)."""
    try:
        yield
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise RetryError(
            f"{what}: the answer is not of the known form ({type(error).__name__}: {error}); there "
            "may be a proxy in the way"
        ) from error


def meaning(what: str, error: ccxt.BaseError) -> TradingSystemError:
    """Our error for one that ccxt raised."""
    answer = _answer(error)
    said = f"{what}: Binance says {answer.text} (code {answer.code}, HTTP {answer.status})"
    if answer.status in _TOO_MANY:
        return BusyError(
            f"{said}. Too many requests: leave it alone for {answer.retry_after:g} s",
            answer.retry_after,
        )
    if answer.status == _RESTRICTED:
        return FixError(
            f"{what}: Binance does not serve the place of this computer's address (HTTP 451); the "
            "United States are one such place. Run this where Binance is available"
        )
    if answer.code is None and isinstance(error, ccxt.AuthenticationError):
        return ConfigError(f"{what}: {answer.text}. {_CHECK_KEY}")
    if answer.code is None:
        return RetryError(f"{what}: no usable answer from Binance: {answer.text}")
    if answer.code == _CLOCK:
        return ClockError(f"{said}. Set this computer's clock")
    if answer.code in _LATER:
        return RetryError(said)
    if answer.code in _KEY:
        return ConfigError(f"{said}. {_CHECK_KEY}")
    if answer.code in _SYMBOL:
        return ConfigError(f"{said}. Binance USDT-M futures do not trade this symbol")
    advice = f". {_ADVICE[answer.code]}" if answer.code in _ADVICE else ""
    return _REFUSALS.get(answer.code, RefusedError)(said + advice)


class _Answer(NamedTuple):
    """What came back: HTTP status, Binance's code, its text, seconds to wait."""

    status: int | None
    code: int | None
    text: str
    retry_after: float


def _answer(error: ccxt.BaseError) -> _Answer:
    # One step back and no further: what else is in the chain belongs to an earlier request.
    response = getattr(error.__context__, "response", None)
    said = str(error)
    status, body, wait = None, said[said.find("{") :], ""
    if response is not None:
        status, body = int(response.status_code), str(response.text)
        wait = response.headers.get("Retry-After", "")
    content = _json(body)
    retry_after = float(wait) if wait.isdigit() else _SHORTEST_BAN if status == 418 else 0.0
    if isinstance(content, dict) and isinstance(content.get("code"), int) and content["code"] < 0:
        return _Answer(status, content["code"], repr(content.get("msg")), retry_after)
    failure = "" if status is None else f"HTTP {status}, "
    return _Answer(
        status, None, f"{failure}{type(error).__name__}: {_unsigned(said)}"[:300], retry_after
    )


def _json(body: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _unsigned(text: str) -> str:
    return re.sub(r"signature=[^&\s]+", "signature=...", text)
