"""How a request to Binance futures is made: repeated where that may help, errors in our terms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ccxt

from store.backoff import Backoff
from store.binance_errors import BusyError, ClockError, translated
from store.binance_rows import Row
from strategy.errors import RetryError

Request = Callable[[Row], Any]


@dataclass(frozen=True)
class Requests:
    """Makes requests through ccxt's implicit methods.

    Each is called with what is asked, for messages: ``"market order x1 of BTCUSDT"``.
    """

    exchange: ccxt.binanceusdm
    backoff: Backoff

    def repeated(self, what: str, request: Request, params: Row) -> Any:
        """Make a request that may be made again, until it is answered.

        Raises
        ------
        RetryError
            It was not answered in as many attempts as the back-off allows, or Binance asks for a
            longer rest than ``backoff.longest``.
        FixError
            Binance refuses it.
        """
        for pause in self.backoff.pauses():
            try:
                return self.once(what, request, params)
            except BusyError as busy:
                if busy.retry_after > self.backoff.longest:
                    raise
                self.backoff.sleep(max(pause, busy.retry_after))
            except RetryError:
                self.backoff.sleep(pause)
        return self.once(what, request, params)

    def once(self, what: str, request: Request, params: Row) -> Any:
        """Make a request; again only where Binance refused it for its timestamp.

        Raises
        ------
        RetryError
            It may or may not have been carried out.
        FixError
            Binance refuses it.
        """
        try:
            return _answer(what, request, params)
        except ClockError:
            pass
        _answer(what, lambda _: self.exchange.load_time_difference(), {})
        return _answer(what, request, params)


def _answer(what: str, request: Request, params: Row) -> Any:
    with translated(what):
        answer = request(params)
    if isinstance(answer, str):  # ccxt hands on what it cannot parse
        raise RetryError(f"{what}: the answer is not JSON; there may be a proxy in the way")
    return answer
