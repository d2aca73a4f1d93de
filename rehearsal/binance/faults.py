"""What can go wrong with a request to Binance."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    Parameters
    ----------
    landed
        Whether the request is carried out all the same.
    late
        It is carried out when :meth:`FuturesServer.deliver` brings it, if it is not too old then.
    status
        HTTP status of the answer; 0 for none: the connection is reset, or left ``hanging``.
    """

    landed: bool = False
    late: bool = False
    hanging: bool = False
    status: int = 0
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()


TIME_OUT = Fault(hanging=True)
TIME_OUT_LANDED = Fault(hanging=True, landed=True)
RESET = Fault()
RESET_LANDED = Fault(landed=True)
IN_FLIGHT = Fault(late=True)
BAD_GATEWAY = Fault(status=502, body="<html>502 Bad Gateway</html>")
UNKNOWN = Fault(
    status=503,
    body='{"code":-1000,"msg":"Unknown error, please check your request or try again later."}',
)
UNKNOWN_LANDED = replace(UNKNOWN, landed=True)
BACKEND_TIME_OUT_LANDED = Fault(
    landed=True,
    status=408,
    body='{"code":-1007,"msg":"Timeout waiting for response from backend server. Send status '
    'unknown; execution status unknown."}',
)
GARBLED_LANDED = Fault(landed=True, status=200, body='{"orderId": 12')
WEB_PAGE = Fault(status=200, body="<html>Please log in to this network.</html>")
TOO_MANY_REQUESTS = Fault(
    status=429,
    body='{"code":-1003,"msg":"Too many requests."}',
    headers=(("Retry-After", "7"),),
)
BANNED = Fault(
    status=418,
    body='{"code":-1003,"msg":"Way too many requests; IP banned."}',
    headers=(("Retry-After", "7200"),),
)
RESTRICTED = Fault(
    status=451,
    body='{"code":0,"msg":"Service unavailable from a restricted location."}',
)


def refusal(code: int, message: str = "refused without a reason", status: int = 400) -> Fault:
    """Binance's refusal; the request is not carried out."""
    return Fault(status=status, body=json.dumps({"code": code, "msg": message}))


SKEWED = refusal(-1021, "Timestamp for this request is outside of the recvWindow.")
