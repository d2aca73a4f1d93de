"""A stage of the system: what its stacks are called, what is there of it, and taking it away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from infra.stacks import Stacks
from infra.templates import Child, children, defaults
from strategy.errors import ConfigError

GOES_ON_WITH = {"KeptBucket": "BucketName", "KeptTable": "TableName", "TrackingUri": "TrackingUri"}
"""Parameters by which a deployment goes on with what an earlier one left, and its outputs."""
_STAGE = re.compile(r"[a-z][a-z0-9-]{0,15}")


@dataclass(frozen=True)
class Stage:
    """The stacks of one stage: main.yaml's with its children nested, or those and a pipeline.

    Raises
    ------
    ConfigError
        The stage cannot be part of names.
    """

    stacks: Stacks
    stage: str

    def __post_init__(self) -> None:
        if not _STAGE.fullmatch(self.stage):
            raise ConfigError(
                f"stage {self.stage!r}: give up to 16 of a-z, 0-9 and -, beginning with a letter"
            )

    @property
    def root(self) -> str:
        """Name of the stack that main.yaml makes."""
        return f"trading-system-{self.stage}"

    @property
    def pipeline(self) -> str:
        """Name of the stack that pipeline.yaml makes."""
        return f"{self.root}-pipeline"

    def name_of(self, child: Child) -> str:
        """Name of a child that is deployed by itself, as the pipeline does."""
        return f"{self.root}-{child.name}"

    @property
    def separate(self) -> list[str]:
        """Names of all children that are deployed by themselves, in main.yaml's order."""
        return [self.name_of(child) for child in children()]

    def ensure_alone(self, *others: str) -> None:
        """See to it that this stage was not deployed in another way.

        Roles, functions and parameters have the same names in either: the second one fails.

        Parameters
        ----------
        others
            The stacks that another way makes.

        Raises
        ------
        ConfigError
            One of them is there; says how to go on.
        """
        for name in others:
            if self.stacks.exists(name):
                raise ConfigError(
                    f"stage {self.stage} is deployed in another way: there is a stack {name}, and "
                    f"names would collide. {self._instead(name)}, or take it away first: "
                    f"python -m infra teardown --stage {self.stage} keeps all data"
                )

    def by_hand(self, repository: str) -> dict[str, str]:
        """The pipeline's repository, if a person has set its lever since it was deployed.

        Parameters
        ----------
        repository
            What the lever says now; without a lever, its default.
        """
        deployed = self.stacks.parameters(f"{self.root}-parameters")
        same = repository == deployed.get("GithubRepo", repository)
        return {} if same else {"GithubRepo": repository}

    def chosen_before(self) -> dict[str, str]:
        """What the operator chose in an earlier deployment of this stage.

        The pipeline's stack comes after those that it deploys, which may not know of it yet.
        """
        chosen = set(defaults("main"))
        # Not what a child has from another: an App's address is told by the stack that made it.
        may_tell = {
            self.name_of(child): {
                name for name, source in child.parameters.items() if "Ref" in source
            }
            for child in children()
        }
        may_tell |= {self.pipeline: chosen, self.root: chosen}
        return {
            name: value
            for stack, own in may_tell.items()
            for name, value in self.stacks.parameters(stack).items()
            if name in chosen & own
        }

    def remove(self) -> Iterator[str]:
        """Delete the stacks, the last first; yields the names of those that are gone.

        The pipeline comes after those that it made: they are deleted by roles of its stack.
        """
        names = [self.root, *reversed(self.separate), self.pipeline]
        return (name for name in names if self.stacks.remove(name))

    def to_go_on(self) -> dict[str, str]:
        """With which parameters a later deployment goes on with what this one leaves."""
        found: dict[str, str] = {}
        for name in (self.root, *self.separate):
            found |= self.stacks.outputs(name) or {}
        return {
            parameter: found[output]
            for parameter, output in GOES_ON_WITH.items()
            if output in found
        }

    def _instead(self, name: str) -> str:
        """How to bring up to date what has made that stack."""
        if name == self.pipeline:
            return "Push, and the pipeline deploys (python -m infra pipeline changes it itself)"
        if name == self.root:
            return f"Bring it up to date: python -m infra deploy --stage {self.stage}"
        return f"Go on with its pipeline: python -m infra pipeline --stage {self.stage}"
