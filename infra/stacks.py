"""Stacks of CloudFormation: what a change would do, doing it, and taking a stack away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from store.aws import ask, patient, translated
from store.backoff import Backoff
from strategy.errors import ConfigError, StoreError

CHANGE_SET = "proposed"
CAPABILITIES = ("CAPABILITY_NAMED_IAM",)
_WAIT = {"Delay": 5, "MaxAttempts": 720}
_FRESH = {"REVIEW_IN_PROGRESS"}  # of a stack that has had change sets only
_NO_UPDATES = "No updates are to be performed"
_NOTHING = ("didn't contain changes", _NO_UPDATES)


@dataclass(frozen=True)
class Change:
    """What becomes of one resource."""

    stack: str
    action: str
    logical_id: str
    kind: str
    replaced: bool


@dataclass(frozen=True)
class Stacks:
    """Stacks of one account and region.

    Every method raises StoreError, RetryError or ConfigError as :func:`store.aws.translated`.

    Parameters
    ----------
    client
        boto3's ``cloudformation`` client.
    wait
        Seconds between looks, and how many, as botocore's waiters have it.
    """

    client: Any
    wait: Mapping[str, int] = field(default_factory=lambda: _WAIT)
    backoff: Backoff = field(default_factory=patient)

    def outputs(self, name: str) -> dict[str, str] | None:
        """The outputs of a stack; None if there is no such stack."""
        found = self._described(name)
        if found is None:
            return None
        return {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", ())}

    def exists(self, name: str) -> bool:
        """Whether there is such a stack; one that was only proposed is none yet."""
        found = self._described(name)
        return found is not None and found["StackStatus"] not in _FRESH

    def parameters(self, name: str) -> dict[str, str]:
        """The parameters that a stack has now; none, if there is no such stack."""
        found = self._described(name) or {}
        return {
            each["ParameterKey"]: each["ParameterValue"] for each in found.get("Parameters", ())
        }

    def put(
        self,
        name: str,
        parameters: Mapping[str, str],
        tags: Mapping[str, str],
        **template: str,
    ) -> dict[str, str]:
        """Make a stack or bring it up to date at once; returns its outputs.

        Parameters
        ----------
        template
            ``TemplateURL``, or ``TemplateBody`` of up to 51,200 bytes.

        Raises
        ------
        StoreError
            It failed, and CloudFormation took it back; names the resources that failed.
        """
        fresh = self._described(name) is None
        request = _request(name, parameters, tags, template)
        change = self.client.create_stack if fresh else self.client.update_stack
        try:
            ask(f"stack {name}", lambda: change(**request), self.backoff)
        except ConfigError as error:
            if _NO_UPDATES not in str(error):
                raise
        else:
            self._await(name, "stack_create_complete" if fresh else "stack_update_complete")
        return self.outputs(name) or {}

    def propose(
        self,
        name: str,
        parameters: Mapping[str, str],
        tags: Mapping[str, str],
        **template: str,
    ) -> list[Change]:
        """Have CloudFormation work out what would change; nothing is changed yet.

        Raises
        ------
        StoreError
            CloudFormation refuses the change; says why.
        """
        found = self._described(name)
        fresh = found is None or found["StackStatus"] in _FRESH
        self._withdraw(name, fresh=found is None)
        request = {
            **_request(name, parameters, tags, template),
            "ChangeSetName": CHANGE_SET,
            "ChangeSetType": "CREATE" if fresh else "UPDATE",
            "IncludeNestedStacks": True,
        }
        try:
            ask(f"stack {name}", lambda: self.client.create_change_set(**request), self.backoff)
        except ConfigError as error:  # moto says so at once, AWS once it has compared
            if _NO_UPDATES not in str(error):
                raise
            return []
        waiter = self.client.get_waiter("change_set_create_complete")
        try:
            with translated(f"change set of stack {name}"):
                waiter.wait(StackName=name, ChangeSetName=CHANGE_SET, WaiterConfig=self.wait)
        except StoreError as error:
            reason = str(self._change_set(name, CHANGE_SET).get("StatusReason", ""))
            if any(words in reason for words in _NOTHING):
                return []
            raise StoreError(f"stack {name} cannot be changed so: {reason}") from error
        return list(self._changes(name, name, CHANGE_SET))

    def withdraw(self, name: str) -> None:
        """Forget what was proposed; a stack that was never made goes with it."""
        self._withdraw(name, fresh=False)
        found = self._described(name)
        if found is not None and found["StackStatus"] in _FRESH:
            ask(f"stack {name}", lambda: self.client.delete_stack(StackName=name), self.backoff)

    def carry_out(self, name: str) -> dict[str, str]:
        """Do what was proposed, and wait until it is done; returns the outputs.

        Raises
        ------
        StoreError
            It failed, and CloudFormation took it back; names the resources that failed.
        """
        found = self._described(name)
        fresh = found is None or found["StackStatus"] in _FRESH
        run = {"StackName": name, "ChangeSetName": CHANGE_SET}
        ask(f"stack {name}", lambda: self.client.execute_change_set(**run), self.backoff)
        self._await(name, "stack_create_complete" if fresh else "stack_update_complete")
        return self.outputs(name) or {}

    def remove(self, name: str) -> bool:
        """Delete a stack, and wait until it is gone; False if there was none.

        Raises
        ------
        StoreError
            Something of it cannot be deleted; names it.
        """
        if self._described(name) is None:
            return False
        ask(f"stack {name}", lambda: self.client.delete_stack(StackName=name), self.backoff)
        self._await(name, "stack_delete_complete")
        return True

    def _described(self, name: str) -> dict[str, Any] | None:
        def describe() -> dict[str, Any] | None:
            try:
                found: list[dict[str, Any]] = self.client.describe_stacks(StackName=name)["Stacks"]
            except self.client.exceptions.ClientError as error:
                if "does not exist" in error.response["Error"]["Message"]:
                    return None
                raise
            return next((each for each in found if each["StackStatus"] != "DELETE_COMPLETE"), None)

        return ask(f"stack {name}", describe, self.backoff)

    def _withdraw(self, name: str, *, fresh: bool) -> None:
        if not fresh:
            named = {"StackName": name, "ChangeSetName": CHANGE_SET}
            ask(f"stack {name}", lambda: self.client.delete_change_set(**named), self.backoff)

    def _change_set(self, name: str, change_set: str) -> dict[str, Any]:
        named = {"StackName": name, "ChangeSetName": change_set}
        answer: dict[str, Any] = ask(
            f"change set of stack {name}",
            lambda: self.client.describe_change_set(**named),
            self.backoff,
        )
        return answer

    def _changes(self, shown: str, name: str, change_set: str) -> Iterator[Change]:
        """Those of the stack and of all stacks within it."""
        for each in self._change_set(name, change_set).get("Changes", ()):
            change = each["ResourceChange"]
            logical_id = change["LogicalResourceId"]
            yield Change(
                shown,
                change["Action"],
                logical_id,
                change["ResourceType"],
                change.get("Replacement") in ("True", "Conditional"),
            )
            if nested := change.get("ChangeSetId"):
                yield from self._changes(logical_id, change["PhysicalResourceId"], nested)

    def _await(self, name: str, waiter: str) -> None:
        try:
            with translated(f"stack {name}"):
                self.client.get_waiter(waiter).wait(StackName=name, WaiterConfig=self.wait)
        except StoreError as error:
            failed = "; ".join(self._failures(name)) or str(error)
            raise StoreError(f"stack {name}: {failed}") from error

    def _failures(self, name: str) -> Iterator[str]:
        """What failed last, in CloudFormation's words, the cause first."""
        with translated(f"events of stack {name}"):
            events = self.client.describe_stack_events(StackName=name)["StackEvents"]
        for event in reversed(events):
            reason = event.get("ResourceStatusReason", "")
            if event["ResourceStatus"].endswith("_FAILED") and "cancelled" not in reason:
                yield f"{event['LogicalResourceId']}: {reason}"


def _request(
    name: str, parameters: Mapping[str, str], tags: Mapping[str, str], template: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "StackName": name,
        "Parameters": [
            {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
        ],
        "Capabilities": list(CAPABILITIES),
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
        **template,
    }
