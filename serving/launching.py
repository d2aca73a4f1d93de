"""Launches the jobs of one request: within the window, the budget and what AWS has to give."""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serving.campaign_jobs import VOLUME_GB, job_spec, seconds
from serving.campaign_requests import CampaignRequest, Shard
from serving.cost_decision import Decision, Launch, Offer
from serving.notices import tell_outcome, tell_waiting
from store.aws import CapacityError
from store.objects import open_objects
from strategy.errors import ConfigError, DataError, FixError, RetryError, StoreError

if TYPE_CHECKING:
    from serving.stack import Stack
    from store.settings_sections import CostSettings

_log = logging.getLogger(__name__)

MARKET_FILE = "market.json"
"""Written last when an input is set aside (store/campaign_input.py): with it, all is there."""


def launch_request(stack: Stack, campaign_id: str) -> None:
    """Launch what waits of a campaign. It may be repeated, and be broken off anywhere.

    What cannot be launched now is no error: the request keeps waiting and says why, and the
    operator is told. An operator can put right what a ConfigError (settings, deployment) or a
    StoreError (permissions, buckets, credentials) says: the request waits for that, too. A
    DataError is about the request itself: it fails.

    Raises
    ------
    RetryError
        It is not known how it ended: to be repeated, once :attr:`Stack.lease` is over.
    StoreError, DataError
        The request cannot be read or written, or the operator not be told.
    """
    request = stack.requests[campaign_id]
    tell_outcome(stack, request)  # in vain, unless telling was what broke off before
    if request.status != "waiting":
        _log.info("nothing to launch: the request is %s", request.status)
        return
    if stack.window.closes_at is None:
        _keep(stack, request, "waits for the launch window to open")
        return
    request = _claimed(stack, campaign_id)
    if request.status != "waiting":  # another launcher was faster
        return
    attempt = _Attempt(stack, request)
    try:
        outcome = attempt.run()
    except FixError as error:
        attempt.give_back()
        reason = str(error)
        outcome = _Outcome(reason, _kind(error), _fingerprint(reason), isinstance(error, DataError))
    attempt.conclude(outcome)


@dataclass(frozen=True)
class _Outcome:
    """What has come of an attempt.

    Parameters
    ----------
    obstacle, which
        What keeps the request waiting, as :func:`serving.notices.tell_waiting` has it.
    failed
        It can never be launched as it is.
    """

    reason: str
    obstacle: str = ""
    which: str = ""
    failed: bool = False


def _claimed(stack: Stack, campaign_id: str) -> CampaignRequest:
    """Keep other launchers from the request, until this one is done or must be dead."""
    now = stack.clock()

    def claimed(request: CampaignRequest) -> CampaignRequest:
        if request.status != "waiting":
            return request
        if request.launching_until and now < request.launching_until:
            raise RetryError(
                f"campaign {campaign_id} is being launched already, or that was broken off: "
                f"looked at again after {request.launching_until:%H:%M:%S} UTC"
            )
        return request.changed(launching_until=now + stack.lease)

    return stack.requests.change(campaign_id, claimed)


class _Attempt:
    """One launcher's work on one request, which it has to itself."""

    def __init__(self, stack: Stack, request: CampaignRequest) -> None:
        self._stack = stack
        self._request = request
        self._left: list[Shard] = []
        self._created: list[Shard] = []
        self._decision: Decision | None = None

    def run(self) -> _Outcome:
        stack, request = self._stack, self._request
        # A launcher that was broken off may have created some: whether it has is AWS's to say.
        for shard in request.waiting_shards:
            exists = stack.jobs.describe(request.job_name(shard)) is not None
            (self._created if exists else self._left).append(shard)
        if not self._left:
            return _Outcome("launched")
        self._require_input()
        settings = stack.settings.cost()
        refused, shortages = [], []
        for offer in stack.gate.offers(settings.spot_instance_type):
            decision = self._reserve(offer, settings)
            if decision.allowed:
                shortages.append(self._create(offer, settings))
            else:
                refused.append(decision)
            if not self._left:
                return _Outcome(f"launched on {offer.instance_type}")
            self.give_back()
        if shortages:
            return _Outcome(f"no instance can be had: {shortages[0]}", "no capacity")
        return _Outcome(refused[0].reason, _refusal(refused[0]))

    def give_back(self) -> None:
        """Take back the reservations of jobs that are known not to have been created."""
        for shard in self._left:
            self._stack.gate.release(self._request.job_name(shard))

    def conclude(self, outcome: _Outcome) -> None:
        """Note on the request what has come of it, let go of it, and tell the operator."""
        decision = self._decision.record if self._decision else None

        def concluded(request: CampaignRequest) -> CampaignRequest:
            for shard in self._created:
                request = _moved(request, shard, "submitted")
            for shard in self._left if outcome.failed else ():
                request = _moved(request, shard, "failed")
            return request.changed(
                reason=outcome.reason,
                decision=decision or request.decision,
                launching_until=None,
            )

        request = self._stack.requests.change(self._request.campaign_id, concluded)
        _log.info("request is %s: %s", request.status, outcome.reason)
        tell_outcome(self._stack, request)
        if outcome.obstacle and request.status == "waiting":
            tell_waiting(self._stack, request, outcome.obstacle, outcome.reason, outcome.which)

    def _require_input(self) -> None:
        uri = self._request.input_uri
        if open_objects(uri).read(MARKET_FILE) is None:
            raise DataError(f"{uri}: the input that was set aside is gone; ask for it again")

    def _reserve(self, offer: Offer, settings: CostSettings) -> Decision:
        """Reserve what all that is left may cost on this offer, up to the first refusal."""
        for shard in self._left:
            launch = Launch(
                self._request.campaign_id,
                self._request.job_name(shard),
                offer,
                seconds(settings.max_runtime_hours),
                VOLUME_GB,
            )
            decision = self._stack.gate.admit(
                launch,
                limit_usd=settings.monthly_cost_limit,
                min_discount=settings.spot_min_discount_perc,
            )
            if not decision.allowed:
                break
        if decision.allowed or self._decision is None:  # the best offer's refusal says most
            self._decision = decision
        return decision

    def _create(self, offer: Offer, settings: CostSettings) -> str:
        """Create the jobs that are left, while there is capacity; returns the lack of it."""
        for shard in tuple(self._left):
            spec = job_spec(self._stack, self._request, shard, offer.instance_type, settings)
            # Before the job is there, so that whatever it writes itself comes later.
            self._request.job_record(shard, self._stack.state, self._stack.clock).write(
                status="submitted",
                reason=None,
                worth_retrying=None,
                job_name=spec.name,
                instance_type=spec.instance_type,
                submission=shard.submission,
            )
            try:
                self._stack.jobs.create(spec)
            except CapacityError as error:
                return str(error)
            self._left.remove(shard)
            self._created.append(shard)
        return ""


def _moved(request: CampaignRequest, before: Shard, status: Any) -> CampaignRequest:
    """With that shard in another status, unless an event has moved it on meanwhile."""
    if request.shard(before.number) != before:
        return request
    return request.with_shard(before.model_copy(update={"status": status}))


def _keep(stack: Stack, request: CampaignRequest, reason: str) -> None:
    stack.requests.change(
        request.campaign_id,
        lambda present: present.changed(reason=reason) if present == request else present,
    )
    _log.info("request keeps waiting: %s", reason)


def _refusal(decision: Decision) -> str:
    """What kind of objection the gate has, so that each is told of once."""
    figures = decision.figures
    if figures.month_to_date is None or figures.total_usd is None:
        return "spending unknown"
    if figures.month_to_date.usd == 0 < figures.known_usd:
        return "cost-allocation tag not active"
    if figures.total_usd > figures.limit_usd:
        return "over the monthly limit"
    return "Spot discount too small"


def _kind(error: FixError) -> str:
    return {ConfigError: "settings", StoreError: "access"}.get(type(error), "input")


def _fingerprint(reason: str) -> str:
    """The same for the same fault, whatever times and numbers AWS puts into its words."""
    words = re.sub(r"[^a-z]+", " ", reason.lower())
    return hashlib.sha256(words.encode()).hexdigest()[:12]
