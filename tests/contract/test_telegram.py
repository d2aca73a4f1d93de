"""Telegram's notifier against a Bot API on the loopback: what it means, and that its token stays
where it belongs.
"""

from __future__ import annotations

import logging
import socket
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.request import OpenerDirector

import pytest
from pydantic import SecretStr

from store.notifications import Everyone, PartlyToldError, notify_once
from store.settings import SettingsFile
from store.telegram import ADDRESS, LONGEST, TelegramNotifier, notifier_of
from strategy.errors import ConfigError, RetryError, StoreError, TradingSystemError
from tests.launch_world import Told
from tests.manual_clock import ManualClock
from tests.memory_state import MemoryState
from tests.telegram_server import CHAT, TOKEN, Answer, TelegramServer, refusal, telegram_server

TOKEN_SETTING = "/trading_system/environment/telegram_token"
CHAT_SETTING = "/trading_system/environment/telegram_chat_id"
LOGIN_PAGE = Answer(200, "<html>Log in to this network.</html>")
UNAVAILABLE = Answer(502, "<html>Bad Gateway</html>")
GONE = Answer(0, None)


@pytest.fixture
def server() -> Iterator[TelegramServer]:
    with telegram_server() as running:
        yield running


def test_a_message_is_subject_and_text(server: TelegramServer) -> None:
    server.notifier().send("Stop hit", "BTCUSDT −1.02 R")
    assert server.texts == ["Stop hit\n\nBTCUSDT −1.02 R"]


def test_it_goes_to_telegram_itself_and_encrypted() -> None:
    notifier = TelegramNotifier(SecretStr(TOKEN), CHAT)
    assert notifier.address == ADDRESS == "https://api.telegram.org"


@pytest.mark.parametrize("sign", ["x", "−", "😀"])  # 1 and 1 unit of UTF-16, and 2
def test_a_message_that_is_too_long_is_cut_and_says_so(server: TelegramServer, sign: str) -> None:
    room = LONGEST - len("S\n\n")
    whole = sign * (room // (len(sign.encode("utf-16-le")) // 2))
    server.notifier().send("S", whole)
    server.notifier().send("S", "!" + whole)
    server.notifier().send("S", whole + whole)
    assert server.texts[0] == f"S\n\n{whole}"
    for cut in server.texts[2:]:
        assert cut.startswith(f"S\n\n{sign}")
        assert cut.endswith(f"{sign}\n… (cut)")
        assert LONGEST - 1 <= len(cut.encode("utf-16-le")) // 2 <= LONGEST


def test_half_a_sign_is_no_obstacle(server: TelegramServer) -> None:
    server.notifier().send("S", "broken \ud83d off")
    assert server.texts == ["S\n\nbroken ? off"]


@pytest.mark.parametrize("fault", [GONE, UNAVAILABLE, LOGIN_PAGE, Answer(200, "[]")])
def test_what_may_pass_is_tried_again(server: TelegramServer, fault: Answer) -> None:
    server.faults = [fault, fault]
    server.notifier().send("subject", "text")
    assert len(server.texts) == 1
    assert server.slept == [1.0, 2.0]


@pytest.mark.parametrize("fault", [GONE, UNAVAILABLE, LOGIN_PAGE])
def test_what_does_not_pass_may_work_later(server: TelegramServer, fault: Answer) -> None:
    server.faults = [fault] * 3
    with pytest.raises(RetryError, match="Telegram"):
        server.notifier().send("subject", "text")
    assert server.requests == 3
    assert server.slept == [1.0, 2.0]


def test_an_address_where_nobody_listens_may_work_later(server: TelegramServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(RetryError, match=r"did not answer.*Check the network"):
        replace(server.notifier(), address=address).send("subject", "text")


@pytest.mark.parametrize(
    "fault",
    [
        refusal(429, "Too Many Requests: retry after 5", retry_after=5),
        Answer(429, "busy", {"Retry-After": "5"}),
    ],
)
def test_it_is_left_alone_for_as_long_as_it_wants(server: TelegramServer, fault: Answer) -> None:
    server.faults = [fault]
    server.notifier().send("subject", "text")
    assert len(server.texts) == 1
    assert server.slept == [5.0]


def test_too_many_messages_for_long_may_work_later(server: TelegramServer) -> None:
    server.faults = [refusal(429, "Too Many Requests: retry after 3600", retry_after=3600)]
    with pytest.raises(RetryError, match="leave it alone for 3600 s"):
        server.notifier().send("subject", "text")
    assert server.slept == []
    server.faults = [refusal(429, "Too Many Requests: retry after 1", retry_after=1)] * 3
    with pytest.raises(RetryError, match="leave it alone for 1 s"):
        server.notifier().send("subject", "text")
    assert server.slept == [1.0, 2.0]


@pytest.mark.parametrize("token", ["110201543:revoked", "no token/at all", "110201543:AA?x=#"])
def test_a_token_that_telegram_does_not_know_is_an_error_that_names_its_setting(
    server: TelegramServer, token: str
) -> None:
    with pytest.raises(ConfigError, match=TOKEN_SETTING) as raised:
        server.notifier(token).send("subject", "text")
    assert token not in str(raised.value)
    assert server.slept == []


@pytest.mark.parametrize("status", [401, 404])
def test_both_ways_to_refuse_a_token_mean_the_same(server: TelegramServer, status: int) -> None:
    server.faults = [refusal(status, "No")]
    with pytest.raises(ConfigError, match=TOKEN_SETTING):
        server.notifier().send("subject", "text")


@pytest.mark.parametrize(
    "fault",
    [
        None,
        refusal(400, "Bad Request: group chat was upgraded to a supergroup chat"),
        refusal(403, "Forbidden: bot was blocked by the user"),
    ],
)
def test_a_chat_that_cannot_be_written_to_is_an_error_that_names_its_setting(
    server: TelegramServer, fault: Answer | None
) -> None:
    server.faults = [fault] if fault else []
    with pytest.raises(ConfigError, match=f"'-100999'.*{CHAT_SETTING}"):
        server.notifier(chat_id="-100999").send("subject", "text")


def test_a_token_without_a_chat_is_an_error_that_names_both(server: TelegramServer) -> None:
    with pytest.raises(ConfigError, match=f"{TOKEN_SETTING} is set without {CHAT_SETTING}"):
        server.notifier(chat_id="").send("subject", "text")
    assert server.requests == 0


def test_a_message_that_telegram_refuses_is_no_fault_of_the_settings(
    server: TelegramServer,
) -> None:
    server.faults = [refusal(400, "Bad Request: message text is empty")]
    with pytest.raises(StoreError, match="message text is empty"):
        server.notifier().send("subject", "text")


class Tells(OpenerDirector):
    """Fails as a library might that quotes the address."""

    def open(self, fullurl: object, data: object = None, timeout: object = None) -> object:  # type: ignore[override]
        raise OSError(f"cannot open {getattr(fullurl, 'full_url', fullurl)}")


@pytest.mark.parametrize("token", [TOKEN, "1:spaces and/slashes"])
@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 429, 500])
def test_no_error_log_or_repr_shows_the_token(
    server: TelegramServer, caplog: pytest.LogCaptureFixture, token: str, status: int
) -> None:
    caplog.set_level(logging.DEBUG)
    notifier = server.notifier(token)
    path = f"/bot{token}/sendMessage"
    faults = [refusal(status, f"what is {path}?", retry_after=60), Answer(status, f"at {path}")]
    errors: list[TradingSystemError] = []
    for fault in faults:
        server.faults = [fault] * 3
        with pytest.raises(TradingSystemError) as raised:
            notifier.send("subject", "text")
        errors.append(raised.value)
    with pytest.raises(RetryError) as raised:
        replace(notifier, opener=Tells()).send("subject", "text")
    errors.append(raised.value)
    told = [repr(notifier), caplog.text, *("".join(traceback.format_exception(e)) for e in errors)]
    # The traceback quotes source lines, none of which holds the token of a parameter.
    for text in told:
        for part in (token, "spaces", TOKEN.partition(":")[2]):
            assert part not in text
    assert all(error.__cause__ is error.__context__ is None for error in errors)


def settings(folder: Path, **variables: str) -> SettingsFile:
    path = folder / "settings.json"
    path.write_text('{"environment": {"telegram_chat_id": -1001234567890}}')
    return SettingsFile(path, variables)


def test_without_a_token_the_base_alone_is_told(tmp_path: Path) -> None:
    base = Told()
    assert notifier_of(settings(tmp_path), base) is base


def test_with_a_token_both_are_told_the_base_first(tmp_path: Path) -> None:
    base = Told()
    both = notifier_of(settings(tmp_path, TELEGRAM_TOKEN=TOKEN), base)
    assert isinstance(both, Everyone)
    first, telegram = both.notifiers
    assert first is base
    assert isinstance(telegram, TelegramNotifier)
    assert telegram.token.get_secret_value() == TOKEN
    assert telegram.chat_id == CHAT
    assert TOKEN not in repr(both)


def test_where_telegram_fails_the_others_are_told_once_and_the_error_is_raised(
    server: TelegramServer,
) -> None:
    base, clock, state = Told(), ManualClock(), MemoryState()
    everyone = Everyone((server.notifier("1:revoked"), base))
    for _ in range(2):
        try:
            told = notify_once(state, everyone, "fill/1", "Fill", "text", clock())
        except PartlyToldError as error:
            assert "'Fill'" in str(error)
            assert TOKEN_SETTING in str(error)
        else:
            assert told is False
    assert base == [("Fill", "text")]
    (item,) = state.items("notification")
    assert item.expires_at is None


def test_where_nobody_could_be_told_the_event_is_told_the_next_time(
    server: TelegramServer,
) -> None:
    base, clock, state = Told(), ManualClock(), MemoryState()
    base.fault = StoreError("topic is gone")
    server.faults = [UNAVAILABLE] * 3
    everyone = Everyone((base, server.notifier()))
    with pytest.raises(RetryError, match=r"topic is gone; Telegram"):
        notify_once(state, everyone, "fill/1", "Fill", "text", clock())
    base.fault = None
    assert notify_once(state, everyone, "fill/1", "Fill", "text", clock())
    assert base == [("Fill", "text")]
    assert server.texts == ["Fill\n\ntext"]


def test_where_nobody_can_be_told_ever_it_is_an_error_to_fix(server: TelegramServer) -> None:
    base = Told()
    base.fault = StoreError("topic is gone")
    with pytest.raises(StoreError, match=f"topic is gone; .*{TOKEN_SETTING}") as raised:
        Everyone((base, server.notifier("1:revoked"))).send("Fill", "text")
    assert not isinstance(raised.value, PartlyToldError)
