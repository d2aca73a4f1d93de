"""AWS as the adapters see it: clients, its errors as ours, and what is worth a second try."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import boto3
from botocore import exceptions
from botocore.config import Config

from store.backoff import Backoff
from strategy.errors import ConfigError, ConflictError, RetryError, StoreError, TradingSystemError

T = TypeVar("T")

REGION = "ap-southeast-1"
"""Where everything is, unless AWS_REGION or AWS_DEFAULT_REGION says otherwise."""

patient = partial(Backoff, attempts=5, first=0.2, longest=5.0)
"""How adapters repeat a request: within some three seconds, as a Lambda function can wait."""

_CAPACITY = {
    "CapacityError",
    "InsufficientCapacity",
    "InsufficientCapacityException",
    "InsufficientInstanceCapacity",
    "InstanceLimitExceeded",
    "MaxSpotInstanceCountExceeded",
    "ResourceLimitExceeded",
    "SpotMaxPriceTooLow",
}
_OVERTAKEN = {"ConditionalCheckFailedException", "PreconditionFailed"}
_LATER = {
    "BandwidthLimitExceeded",
    "ConditionalRequestConflict",  # S3: another write to the same name is on its way
    "EC2ThrottledException",
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "LimitExceededException",  # Cost Explorer: too many requests; DynamoDB: too many table changes
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionConflictException",
    "TransactionInProgressException",
}
_ABSENT = {
    "404",
    "AWS.SimpleQueueService.NonExistentQueue",
    "NoSuchBucket",
    "NoSuchEntity",
    "NotFound",
    "NotFoundException",
    "ParameterNotFound",
    "QueueDoesNotExist",
    "ResourceNotFound",
    "ResourceNotFoundException",
}
_DENIED = {
    "403",
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",
    "AuthorizationErrorException",
    "KMSAccessDeniedException",
    "UnauthorizedOperation",
}
_CREDENTIALS = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_NO_CREDENTIALS = (
    exceptions.CredentialRetrievalError,
    exceptions.NoAuthTokenError,
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.SSOError,
    exceptions.TokenRetrievalError,
)
_DISCONNECTED = (
    exceptions.ConnectionError,
    exceptions.HTTPClientError,
    exceptions.IncompleteReadError,
    exceptions.ResponseStreamingError,
)


class CapacityError(RetryError):
    """AWS has no instance for us now, or the account's quota is used up (or was never given)."""


def client(service: str) -> Any:
    """A boto3 client of this system's region; credentials and endpoint as boto3 finds them.

    It makes each request once: what is worth a second try is decided by :func:`retried`.
    """
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or REGION
    once = Config(
        retries={"mode": "standard", "total_max_attempts": 1}, connect_timeout=5, read_timeout=30
    )
    return boto3.client(service, region_name=region, config=once)


def ask(what: str, request: Callable[[], T], backoff: Backoff) -> T:
    """Make a request to AWS, again where that may help; errors are :func:`translated`."""

    def translating() -> T:
        with translated(what):
            return request()

    return retried(translating, backoff)


def retried(call: Callable[[], T], backoff: Backoff) -> T:
    """Call, again after a pause while it raises RetryError; anything else is raised at once.

    A ConflictError too: the very same conditional write cannot succeed.
    """
    for pause in backoff.pauses():
        try:
            return call()
        except ConflictError:
            raise
        except RetryError:
            backoff.sleep(pause)
    return call()


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Tell of a failed request in our own errors.

    Parameters
    ----------
    what
        What was asked of which resource, for the message: ``"table trading-state"``.

    Raises
    ------
    CapacityError
        No instance can be had now.
    ConflictError
        The condition of a conditional write does not hold.
    RetryError
        AWS throttled the request, failed itself (HTTP 5xx) or could not be reached: whether
        the request was carried out is then not known.
    ConfigError
        AWS finds the request itself invalid.
    StoreError
        The resource does not exist, the permission is missing, or the credentials are not
        valid or have expired.
    """
    try:
        yield
    except exceptions.ClientError as error:
        raise _from_service(what, error) from error
    except exceptions.SSLError as error:  # a connection error by inheritance, but a lasting one
        raise StoreError(f"{what}: the certificate is not accepted: {error}") from error
    except _DISCONNECTED as error:
        raise RetryError(
            f"{what}: AWS did not answer: {error}. Check the network; try again later"
        ) from error
    except _NO_CREDENTIALS as error:
        raise StoreError(f"{what}: {error}. {_LOG_IN}") from error
    except exceptions.ParamValidationError as error:
        raise ConfigError(f"{what}: the request is not valid: {error}") from error
    except exceptions.BotoCoreError as error:
        raise StoreError(f"{what}: AWS cannot be used: {error}") from error


_LOG_IN = "Give valid AWS credentials: sign in again, or set AWS_PROFILE"


def _from_service(what: str, error: exceptions.ClientError) -> TradingSystemError:
    """Our error for one that AWS answered with."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = f"{what}: {error}"
    if code in _CAPACITY:
        return CapacityError(said)
    if code in _OVERTAKEN:
        return ConflictError(said)
    if code in _LATER or status >= 500 or status == 429:
        return RetryError(said)
    if code in _CREDENTIALS:
        return StoreError(f"{said}. {_LOG_IN}")
    if code in _DENIED:
        action = error.operation_name
        return StoreError(f"{said}. Allow {action} on it in the policy of the role that runs this")
    if code in _ABSENT:
        return StoreError(f"{said}. It does not exist: check its name and region, or deploy it")
    return ConfigError(f"{said}. AWS refuses the request as it is")
