"""Tells the operator by Telegram, through its Bot API (https://core.telegram.org/bots/api).

The token is a part of the address. So no error here is chained to one of Python's, which may
quote the address, and of what the other side says the token is cut out.
"""

from __future__ import annotations

import json
import ssl
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import OpenerDirector, build_opener

from pydantic import SecretStr

from store.aws import patient
from store.backoff import Backoff
from store.notifications import Everyone, Notifier
from store.settings import ROOT, Settings
from strategy.errors import ConfigError, RetryError, StoreError, TradingSystemError

ADDRESS = "https://api.telegram.org"
LONGEST = 4096
"""Characters of a message; counted as Telegram does, by UTF-16."""

_TOKEN, _CHAT = f"{ROOT}/environment/telegram_token", f"{ROOT}/environment/telegram_chat_id"
_CUT = "\n… (cut)"
_TIMEOUT = 10.0  # seconds
_MOST = 65_536  # bytes of an answer; the right one has a few hundred more than the message


class _BusyError(RetryError):
    """Telegram wants to be left alone for a while."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True)
class TelegramNotifier:
    """Sends messages to one chat, as plain text; what is too long is cut.

    A message whose answer was lost is sent again, and may so arrive twice.

    Parameters
    ----------
    chat_id
        A number (negative: a group), or @channel.
    opener
        Makes the requests; the default one goes through the proxies of the environment.
    """

    token: SecretStr
    chat_id: str
    backoff: Backoff = field(default_factory=patient)
    opener: OpenerDirector = field(default_factory=build_opener, repr=False)
    address: str = ADDRESS

    def send(self, subject: str, text: str) -> None:
        """Send a message.

        Raises
        ------
        ConfigError
            Telegram knows no such token or chat; the message names the setting.
        RetryError
            Telegram cannot be reached, or wants to be left alone for longer than the backoff
            waits.
        StoreError
            Telegram refuses the message, or its certificate is not accepted.
        """
        if not self.chat_id:
            raise ConfigError(f"{_TOKEN} is set without {_CHAT}: set both, or neither")
        message = {"chat_id": self.chat_id, "text": _fitting(f"{subject}\n\n{text}")}
        for pause in self.backoff.pauses():
            try:
                return self._post(message)
            except RetryError as error:
                pause = max(pause, getattr(error, "retry_after", 0.0))
                if pause > self.backoff.longest:
                    raise
            self.backoff.sleep(pause)
        return self._post(message)

    def _post(self, message: Mapping[str, str]) -> None:
        request = urllib.request.Request(
            f"{self.address}/bot{_in_path(self.token)}/sendMessage",
            json.dumps(message).encode(),
            {"Content-Type": "application/json"},
        )
        answer = self._answer(request)
        if not answer.ok:
            raise self._meaning(answer)

    def _answer(self, request: urllib.request.Request) -> _Answer:
        failure: TradingSystemError
        try:
            try:
                with self.opener.open(request, timeout=_TIMEOUT) as response:
                    return _Answer.of(response.status, response.read(_MOST), response.headers)
            except HTTPError as error:
                with error:
                    return _Answer.of(error.code, error.read(_MOST), error.headers)
        except (OSError, HTTPException) as error:
            reason = error.reason if isinstance(error, URLError) else error
            said = f"Telegram did not answer: {self._scrubbed(f'{reason}')}"
            if isinstance(reason, ssl.SSLCertVerificationError):
                failure = StoreError(f"{said}. Its certificate is not accepted")
            else:
                failure = RetryError(f"{said}. Check the network; try again later")
        raise failure

    def _meaning(self, answer: _Answer) -> TradingSystemError:
        said = f"Telegram says {self._scrubbed(answer.said)!r} (HTTP {answer.status})"
        if answer.status == 429:
            wait = answer.retry_after
            return _BusyError(f"{said}: leave it alone for {wait:g} s", wait)
        if answer.status >= 500 or answer.status < 400:
            return RetryError(f"{said}, which is no answer; there may be a proxy in the way")
        if answer.status in (401, 404):
            return ConfigError(f"{said}: it does not know the token. Correct {_TOKEN}")
        if answer.status == 403 or "chat" in answer.said.lower():
            return ConfigError(
                f"{said} of the chat {self.chat_id!r}. Write to the bot first, or add it to the "
                f"group; else correct {_CHAT}"
            )
        return StoreError(f"{said}, and refuses the message")

    def _scrubbed(self, text: str) -> str:
        for form in filter(None, (self.token.get_secret_value(), _in_path(self.token))):
            text = text.replace(form, "...")
        return text[:300]


def notifier_of(settings: Settings, base: Notifier) -> Notifier:
    """The base alone, or where a token is set the base and Telegram.

    Raises
    ------
    ConfigError, StoreError, RetryError
        As the settings say.
    """
    environment = settings.environment()
    if not environment.telegram_token.get_secret_value():
        return base
    telegram = TelegramNotifier(environment.telegram_token, environment.telegram_chat_id)
    return Everyone((base, telegram))


class _Answer(NamedTuple):
    status: int
    ok: bool
    said: str
    """Its own description of what is wrong, or else its first words."""
    retry_after: float
    """Seconds."""

    @classmethod
    def of(cls, status: int, body: bytes, headers: Message) -> _Answer:
        text = body.decode(errors="replace")
        try:
            content: Any = json.loads(text)
        except ValueError:
            content = None
        known = content if isinstance(content, dict) else {}
        parameters = known.get("parameters")
        wait = parameters.get("retry_after") if isinstance(parameters, dict) else None
        header = headers.get("Retry-After", "")
        wait = wait if isinstance(wait, int) else int(header) if header.isdecimal() else 0
        ok = status == 200 and known.get("ok") is True
        return cls(status, ok, str(known.get("description", text)), float(wait))


def _in_path(token: SecretStr) -> str:
    return quote(token.get_secret_value(), safe=":")


def _fitting(text: str) -> str:
    """The text, of which no sign is half, in at most :data:`LONGEST` units of UTF-16."""
    units = text.encode("utf-16-le", errors="replace")
    if len(units) > 2 * LONGEST:
        kept = units[: 2 * (LONGEST - len(_CUT))]
        return kept.decode("utf-16-le", errors="ignore") + _CUT
    return units.decode("utf-16-le")
