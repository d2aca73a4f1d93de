"""What each failure of AWS becomes, and which of them are tried again."""

from __future__ import annotations

import socket
import ssl

import numpy as np
import pytest
from botocore import exceptions
from botocore.exceptions import ClientError

from store.aws import CapacityError, ask, client, patient
from store.backoff import Backoff
from strategy.errors import ConfigError, ConflictError, FixError, RetryError, StoreError

URL = "https://dynamodb.ap-southeast-1.amazonaws.com/"


def answered(code: str, status: int = 400, said: str = "as AWS said it") -> ClientError:
    return ClientError(
        {
            "Error": {"Code": code, "Message": said},
            "ResponseMetadata": {"HTTPStatusCode": status},
        },
        "PutItem",
    )


def no_connection(kind: type[exceptions.BotoCoreError]) -> exceptions.BotoCoreError:
    return kind(endpoint_url=URL, error=socket.gaierror("unknown host"))


class Asked:
    """A request that fails some times, and remembers how often it was made and what it cost."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.times = 0
        self.slept: list[float] = []

    def __call__(self) -> str:
        self.times += 1
        if self.failures:
            raise self.failures.pop(0)
        return "done"

    def result(self, attempts: int = 4) -> str:
        backoff = Backoff(
            self.slept.append, np.random.default_rng(0), attempts, first=1.0, longest=3.0
        )
        return ask("table trading-state", self, backoff)


THROTTLED = [
    answered("Throttling"),
    answered("ThrottlingException"),
    answered("ProvisionedThroughputExceededException"),
    answered("RequestLimitExceeded", 503),
    answered("TooManyRequestsException", 429),
    answered("SlowDown", 503),
    answered("LimitExceededException"),
    answered("TransactionConflictException"),
    answered("ConditionalRequestConflict", 409),
    answered("NobodyKnowsThis", 429),
]
FAILED = [
    answered("InternalServerError", 500),
    answered("ServiceUnavailable", 503),
    answered("InternalFailure", 200),
    answered("NobodyKnowsThis", 502),
    answered("RequestTimeout"),
]
DISCONNECTED = [
    no_connection(exceptions.EndpointConnectionError),
    no_connection(exceptions.ConnectTimeoutError),
    no_connection(exceptions.ReadTimeoutError),
    no_connection(exceptions.ConnectionClosedError),
    no_connection(exceptions.HTTPClientError),
    exceptions.ProxyConnectionError(proxy_url=URL),
    exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2),
    exceptions.ResponseStreamingError(error=OSError("reset")),
]
NO_CAPACITY = [
    answered("ResourceLimitExceeded"),
    answered("InsufficientInstanceCapacity", 500),
    answered("CapacityError"),
    answered("MaxSpotInstanceCountExceeded"),
]
INVALID = [
    answered("ValidationException"),
    answered("ValidationError"),
    answered("InvalidParameterValue"),
    answered("ResourceInUse"),
    exceptions.ParamValidationError(report="Unknown parameter"),
]
ABSENT = [
    answered("ResourceNotFoundException"),
    answered("NoSuchBucket", 404),
    answered("404", 404),
    answered("AWS.SimpleQueueService.NonExistentQueue"),
]
OVERTAKEN = [
    answered("ConditionalCheckFailedException"),
    answered("PreconditionFailed", 412),
]
DENIED = [
    answered("AccessDeniedException"),
    answered("AccessDenied", 403),
    answered("403", 403),
    answered("UnauthorizedOperation", 403),
]
CREDENTIALS = [
    answered("ExpiredTokenException"),
    answered("ExpiredToken", 403),
    answered("UnrecognizedClientException"),
    answered("InvalidClientTokenId", 403),
    answered("SignatureDoesNotMatch", 403),
    exceptions.NoCredentialsError(),
    exceptions.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
    exceptions.CredentialRetrievalError(provider="role", error_msg="no such role"),
    exceptions.UnauthorizedSSOTokenError(),
    exceptions.TokenRetrievalError(provider="sso", error_msg="expired"),
]
LASTING = [
    exceptions.SSLError(endpoint_url=URL, error=ssl.SSLError("self-signed certificate")),
    exceptions.UnknownServiceError(service_name="x", known_service_names=[]),
]
WORTH_ANOTHER_TRY = THROTTLED + FAILED + DISCONNECTED + NO_CAPACITY
TO_FIX = INVALID + ABSENT + DENIED + CREDENTIALS + LASTING


def name(error: Exception) -> str:
    return (
        error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
    )


@pytest.mark.parametrize("failure", WORTH_ANOTHER_TRY, ids=name)
def test_what_may_succeed_later_is_tried_again(failure: Exception) -> None:
    request = Asked(failure, failure)
    assert request.result() == "done"
    assert request.times == 3


@pytest.mark.parametrize("failure", WORTH_ANOTHER_TRY, ids=name)
def test_what_never_succeeds_ends_as_an_error_to_retry_that_names_the_resource(
    failure: Exception,
) -> None:
    request = Asked(*[failure] * 9)
    with pytest.raises(RetryError, match="table trading-state"):
        request.result(attempts=4)
    assert request.times == 4


@pytest.mark.parametrize("failure", TO_FIX, ids=name)
def test_what_a_person_must_fix_is_never_tried_again(failure: Exception) -> None:
    request = Asked(failure)
    with pytest.raises(FixError, match="table trading-state"):
        request.result()
    assert request.times == 1
    assert request.slept == []


def test_pauses_double_and_half_of_each_is_chance() -> None:
    request = Asked(*[answered("Throttling")] * 4)
    request.result(attempts=5)
    for pause, most in zip(request.slept, (1.0, 2.0, 3.0, 3.0), strict=True):
        assert most / 2 <= pause <= most
    assert len(set(request.slept)) == 4


def test_processes_do_not_pause_in_step() -> None:
    assert list(patient().pauses()) != list(patient().pauses())


@pytest.mark.parametrize("failure", NO_CAPACITY, ids=name)
def test_no_instance_is_a_capacity_error(failure: Exception) -> None:
    with pytest.raises(CapacityError, match="as AWS said it"):
        Asked(failure).result(attempts=1)


@pytest.mark.parametrize("failure", THROTTLED + FAILED + DISCONNECTED, ids=name)
def test_throttling_and_failures_are_not_taken_for_missing_capacity(failure: Exception) -> None:
    with pytest.raises(RetryError) as raised:
        Asked(failure).result(attempts=1)
    assert not isinstance(raised.value, CapacityError | ConflictError)


@pytest.mark.parametrize("failure", INVALID, ids=name)
def test_an_invalid_request_is_a_config_error(failure: Exception) -> None:
    with pytest.raises(ConfigError):
        Asked(failure).result()


@pytest.mark.parametrize(
    ("failures", "says"),
    [
        (ABSENT, "does not exist: check its name"),
        (DENIED, "Allow PutItem on it in the policy of the role"),
        (CREDENTIALS, "sign in again"),
        (LASTING, "certificate is not accepted|AWS cannot be used"),
    ],
    ids=["absent", "denied", "credentials", "lasting"],
)
def test_an_unusable_store_says_what_to_do(failures: list[Exception], says: str) -> None:
    for failure in failures:
        with pytest.raises(StoreError, match=says):
            Asked(failure).result()


def test_the_cause_is_kept() -> None:
    failure = answered("AccessDenied")
    with pytest.raises(StoreError) as raised:
        Asked(failure).result()
    assert raised.value.__cause__ is failure


def test_an_error_of_our_own_code_passes_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        Asked(ZeroDivisionError()).result()


@pytest.mark.parametrize("failure", OVERTAKEN, ids=name)
def test_a_conditional_write_that_was_overtaken_is_not_repeated_blindly(
    failure: Exception,
) -> None:
    request = Asked(failure)
    with pytest.raises(ConflictError, match="table trading-state"):
        request.result()
    assert request.times == 1
    assert request.slept == []


@pytest.mark.parametrize(
    ("variables", "region"),
    [
        ({}, "ap-southeast-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, "eu-west-1"),
        ({"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "eu-west-1"}, "us-east-1"),
    ],
)
def test_everything_is_in_one_region_unless_the_environment_says_otherwise(
    variables: dict[str, str], region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # boto3 looks for credentials there
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert client("sqs").meta.region_name == region
