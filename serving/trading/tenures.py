"""From when until when each version decided: as the bot saw the registry at the bars' closes.

The registry says what stage a version is in, and a person may move it there without a word. What
the bot obeyed, and since which bar, it alone can say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from serving.journal import Book, Utc
from serving.trading.roster import Entrant
from store.state import StateTable
from strategy.errors import DataError

PARTITION, KEY = "bot", "roster"
"""Of the state table: by model, the tenures of its versions, in order of their beginnings."""


class Tenure(BaseModel):
    """A version trades with a book.

    Parameters
    ----------
    since, until
        Closes of bars, UTC: it decided on those from ``since`` on, and before ``until``; None:
        it still does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    strategy_id: str
    book: Book
    since: Utc
    until: Utc | None = None

    @property
    def goes_on(self) -> bool:
        """Whether it was so when the bot looked last."""
        return self.until is None

    def is_of(self, entrant: Entrant) -> bool:
        """Whether that entrant serves it."""
        mine = (self.version, self.strategy_id, self.book)
        return mine == (entrant.version, entrant.strategy_id, entrant.book)


def tenures_of(state: StateTable, model: str) -> list[Tenure]:
    """The tenures of a model's versions, in order of their beginnings.

    Raises
    ------
    DataError
        They are damaged.
    StoreError, RetryError
        The state table cannot be read, or not now.
    """
    item = state.get(PARTITION, KEY)
    return read_tenures(item.value.get(model, []) if item else [])


def read_tenures(rows: Iterable[object]) -> list[Tenure]:
    """Tenures as the state table keeps them; raises DataError where they are damaged."""
    try:
        return [Tenure.model_validate(row) for row in rows]
    except ValidationError as error:
        raise DataError(f"{PARTITION}/{KEY} in the state table is damaged: {error}") from error


def succeeded(
    tenures: Sequence[Tenure], entrants: Iterable[Entrant], close: datetime
) -> list[Tenure]:
    """The tenures of a model after a look at the registry.

    Parameters
    ----------
    entrants
        Of the model, as the registry has them now.
    close
        Of the bar that they are about to decide on, UTC.
    """
    entrants = list(entrants)

    def ended(tenure: Tenure) -> Tenure:
        if not tenure.goes_on or any(tenure.is_of(each) for each in entrants):
            return tenure
        return tenure.model_copy(update={"until": close})

    before = [ended(each) for each in tenures]
    serving = [each for each in before if each.goes_on]
    begun = [
        Tenure(version=each.version, strategy_id=each.strategy_id, book=each.book, since=close)
        for each in entrants
        if not any(tenure.is_of(each) for tenure in serving)
    ]
    return before + begun
