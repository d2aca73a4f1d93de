"""Telegram's Bot API on the loopback, with faults on demand."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import ProxyHandler, build_opener

from pydantic import SecretStr

from store.backoff import Backoff
from store.telegram import LONGEST, TelegramNotifier

TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
CHAT = "-1001234567890"


@dataclass(frozen=True)
class Answer:
    """What is answered; None for the body: nothing, the connection ends."""

    status: int
    body: str | None
    headers: dict[str, str] = field(default_factory=dict)


def refusal(status: int, description: str, **parameters: int) -> Answer:
    """As the Bot API refuses."""
    content = {"ok": False, "error_code": status, "description": description}
    return Answer(status, json.dumps({**content, "parameters": parameters}))


class TelegramServer:
    """One bot and one chat; what arrived can be read."""

    def __init__(self) -> None:
        self.faults: list[Answer] = []
        self.texts: list[str] = []
        self.requests = 0
        self.slept: list[float] = []
        """Pauses that its notifiers made, in seconds."""
        self.url = ""

    def notifier(self, token: str = TOKEN, chat_id: str = CHAT) -> TelegramNotifier:
        """The production client, but that it does not really wait, nor uses a proxy."""
        return TelegramNotifier(
            SecretStr(token),
            chat_id,
            Backoff(self.slept.append, _Even(), attempts=3, first=1.0, longest=8.0),
            build_opener(ProxyHandler({})),
            self.url,
        )

    def answer(self, path: str, body: Any) -> Answer:
        self.requests += 1
        if self.faults:
            return self.faults.pop(0)
        if not path.startswith("/bot") or not path.endswith("/sendMessage"):
            return refusal(404, "Not Found")
        if path != f"/bot{TOKEN}/sendMessage":
            return refusal(401, "Unauthorized")
        if body["chat_id"] != CHAT:
            return refusal(400, "Bad Request: chat not found")
        if len(body["text"].encode("utf-16-le")) > 2 * LONGEST:
            return refusal(400, "Bad Request: message is too long")
        self.texts.append(body["text"])
        return Answer(200, json.dumps({"ok": True, "result": {"message_id": len(self.texts)}}))


class _Even:
    """Draws no jitter."""

    def uniform(self, low: float, high: float, /) -> float:
        return high


@contextmanager
def telegram_server() -> Iterator[TelegramServer]:
    """Serve on a free port of the loopback until the block ends."""
    telegram = TelegramServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(telegram.answer))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    telegram.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield telegram
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(answering: Callable[[str, Any], Answer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = answering(self.path, json.loads(body))
            if answer.body is None:
                self.close_connection = True
                return
            content = answer.body.encode()
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(content)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Keep the test's output to the tests."""

    return Handler
