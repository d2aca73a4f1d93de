"""What a rehearsal remembers for its report: equity by day, stages, and what failed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple

from registry.lifecycle import PERSON, Lifecycle, Stage, StrategyVersion
from rehearsal.system import Event, System
from store.clock import milliseconds


class Move(NamedTuple):
    """A version came into a stage."""

    time: datetime
    model: str
    version: int
    strategy_id: str
    stage: Stage
    who: str
    why: str


@dataclass
class Diary:
    """Kept as a rehearsal's observer.

    Parameters
    ----------
    equity
        Of the live account at the end of each day, less what was paid in or out, USD.
    failures
        Errors of the system's functions, by function and kind.
    """

    system: System
    equity: dict[date, float] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    _stages: dict[tuple[str, int], Stage] = field(default_factory=dict, init=False)

    def after(self, event: Event, error: Exception | None) -> None:
        if error is not None:
            self.failures[event.function, type(error).__name__] += 1
        if event.function == "orchestrator":
            account = self.system.exchange.account
            self.equity[self.system.clock().date()] = float(account.equity - account.transferred)
        if event.function in ("orchestrator", "model_retrainer", "job", "people"):
            self._look_at_stages()

    def _look_at_stages(self) -> None:
        for asset, timeframe in self.system.config.markets:
            model = f"{asset}-{timeframe}"
            life = Lifecycle(self.system.registry, model, milliseconds(self.system.clock))
            for version in reversed(life.versions()):
                key = (model, version.number)
                if self._stages.get(key, None) is version.stage:
                    continue
                self._stages[key] = version.stage
                who, why = _explained(version)
                self.moves.append(
                    Move(
                        self.system.clock(),
                        model,
                        version.number,
                        version.strategy_id or "",
                        version.stage,
                        who,
                        why,
                    )
                )


def _explained(version: StrategyVersion) -> tuple[str, str]:
    """Who moved a version where it is, and why; what tells of an earlier move does not count."""
    if version.override:
        return PERSON, ""
    entry = version.entry(version.stage)
    return (entry.who, entry.why) if entry else ("", "")
