"""A scripted Messages API on 127.0.0.1: it answers as told, and keeps every call with its time."""
import itertools
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from procs import PATIENCE


class Reply:
    """One answer: content blocks or an error status, and headers."""

    def __init__(self, blocks=None, status=200, headers=None, error=None, delay=0.0, tokens=None, after=None, out=8):
        self.out = out
        self.blocks = blocks or []
        self.status = status
        self.headers = headers or {}
        self.error = error
        self.delay = delay
        # An event: the reply is sent once it is set.
        self.after = after
        # What the reply claims the request was long; None: what it was.
        self.tokens = tokens
        # How many tokens the prompt cache is said to have served.
        self.cached = 0


_ids = itertools.count(1)


def text(words, delay=0.0, tokens=None, after=None, out=8):
    return Reply([{"type": "text", "text": words}], delay=delay, tokens=tokens, after=after, out=out)


def tool(name, delay=0.0, tokens=None, **given):
    # The client refuses an id it has seen before, over the whole run.
    block = {"type": "tool_use", "id": f"toolu_{next(_ids):024d}", "name": name, "input": given}
    return Reply([block], delay=delay, tokens=tokens)


def error(status, kind, message, **headers):
    body = {"type": "error", "error": {"type": kind, "message": message}}
    return Reply(status=status, error=body, headers={k.replace("_", "-"): v for k, v in headers.items()})


def rate_limit():
    # Without this header the client first retries by itself, and no hook hears of it.
    return error(429, "rate_limit_error", "This request would exceed your rate limit.", x_should_retry="false")


def unauthorized():
    return error(401, "authentication_error", "invalid x-api-key", x_should_retry="false")


class Call:
    """One request to /v1/messages. `n` counts within its kind, from 1."""

    def __init__(self, body, session, size, key=None):
        self.at = time.monotonic()
        self.ms = time.time_ns() // 1_000_000  # on the same clock as the journal
        self.body = body
        self.session = session
        self.key = key
        self.size = size
        self.last = _last_user_text(body)
        self.tool_result = _ends_in_tool_result(body)
        if "<summary> block" in self.last:
            self.kind = "summary"
        elif body.get("tools"):
            self.kind = "main"
        else:
            self.kind = "side"
        self.n = 0
        self.status = None

    def __str__(self):
        last = " ".join(self.last.split())
        return f"{self.kind} {self.n} -> {self.status} session {str(self.session)[:8]} {self.size} bytes: …{last[-110:]}"


def texts(message):
    content = message.get("content")
    if isinstance(content, str):
        yield content
        return
    for block in content or []:
        if block.get("type") == "text":
            yield block["text"]


def _last_user_text(body):
    # What was said since the model last spoke: a continuation may come as a message beside the person's.
    said = []
    for message in reversed(body.get("messages", [])):
        if message.get("role") == "assistant":
            break
        if message.get("role") == "user":
            said[:0] = texts(message)
    return "\n".join(said)


def last_message(body):
    """The last message but for the client's own reminders, which may follow a tool's result."""
    said = [m for m in body.get("messages", []) if m.get("role") != "system"]
    return said[-1] if said else {}


def _ends_in_tool_result(body):
    content = last_message(body).get("content")
    return isinstance(content, list) and any(b.get("type") == "tool_result" for b in content)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        # A client that ends, or that a person interrupts, cuts its connection.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Stub:
    """`script(call)` gives the Reply to a main-conversation call; the client's side calls get a word."""

    def __init__(self, script):
        self.script = script
        self.calls = []
        self.changed = threading.Condition()
        self.http = Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()

    def of(self, kind, session=None):
        with self.changed:
            return [c for c in self.calls if c.kind == kind and session in (None, c.session)]

    def main(self, session=None):
        return self.of("main", session)

    def wait(self, n, timeout, what=None, session=None):
        """The main calls, once there are `n` of them."""
        timeout *= PATIENCE
        end = time.monotonic() + timeout
        with self.changed:
            while len([c for c in self.calls if c.kind == "main" and session in (None, c.session)]) < n:
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"no call {n} in {timeout} s{': ' + what if what else ''}")
                self.changed.wait(left)
        return self.main(session)

    def answer(self, call):
        with self.changed:
            call.n = 1 + sum(1 for c in self.calls if c.kind == call.kind)
            self.calls.append(call)
            reply = self.script(call) if call.kind == "main" else text("<summary>Nothing yet.</summary>")
            call.status = reply.status
            self.changed.notify_all()
        if reply.delay:
            time.sleep(reply.delay)
        if reply.after:
            reply.after.wait(120)
        return reply

    def log(self, last=40):
        with self.changed:
            calls = self.calls[-last:]
            if not calls:
                return "  no call"
            start = self.calls[0].at
        return "\n".join(f"  {c.at - start:8.3f} s  {c}" for c in calls)


def _handler(stub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            self._send(404, {})

        do_HEAD = do_GET

        def do_POST(self):
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            path = self.path.split("?")[0]
            body = json.loads(raw or b"{}")
            if path == "/v1/messages/count_tokens":
                return self._send(200, {"input_tokens": _tokens(len(raw))})
            if path != "/v1/messages":
                return self._send(404, {})
            call = Call(body, self.headers.get("x-claude-code-session-id"), len(raw), self.headers.get("x-api-key"))
            reply = stub.answer(call)
            if reply.error:
                return self._send(reply.status, reply.error, reply.headers)
            message = _message(body.get("model", "stub"), reply.blocks, reply.tokens or _tokens(call.size), reply.out, reply.cached)
            if body.get("stream"):
                return self._stream(message, reply.headers)
            self._send(200, message, reply.headers)

        def _send(self, status, body, headers=None):
            data = json.dumps(body).encode()
            self._head(status, "application/json", len(data), headers)
            self._write(data)

        def _stream(self, message, headers):
            data = b"".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in _events(message))
            self._head(200, "text/event-stream", len(data), headers)
            self._write(data)

        def _head(self, status, kind, size, headers):
            self.send_response(status)
            for name, value in {"content-type": kind, "content-length": str(size), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()

        def _write(self, data):
            try:
                self.wfile.write(data)
            except OSError:
                pass  # the client was killed meanwhile

    return Handler


def _tokens(size):
    # Grows with the request: the client decides by it when to compact.
    return size // 4


def _message(model, blocks, tokens, out, cached):
    stop = "tool_use" if any(b["type"] == "tool_use" for b in blocks) else "end_turn"
    return {"id": f"msg_{next(_ids):024d}", "type": "message", "role": "assistant", "model": model,
            "content": blocks, "stop_reason": stop, "stop_sequence": None,
            "usage": {"input_tokens": tokens, "output_tokens": out, **({"cache_read_input_tokens": cached} if cached else {})}}


def _events(message):
    yield {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}}
    for i, block in enumerate(message["content"]):
        if block["type"] == "text":
            start, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": block["text"]}
        else:
            start = {**block, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        yield {"type": "content_block_start", "index": i, "content_block": start}
        yield {"type": "content_block_delta", "index": i, "delta": delta}
        yield {"type": "content_block_stop", "index": i}
    yield {"type": "message_delta", "delta": {"stop_reason": message["stop_reason"], "stop_sequence": None},
           "usage": message["usage"]}
    yield {"type": "message_stop"}
