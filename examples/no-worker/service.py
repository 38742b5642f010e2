#!/usr/bin/env python3
"""The endpoint of the demo: rates how easily a text reads, with nothing but the standard library.

    PGFLOW_SECRET=whsec_… service.py [PORT]

prints the port it listens on, and serves until it is told to stop. It knows nothing of PostgreSQL: a request has all it
needs. One request is answered with 503 on purpose, so that there is a retry to be seen.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = base64.b64decode(os.environ["PGFLOW_SECRET"].removeprefix("whsec_"))
# Seconds that a request may be old.
TOLERANCE = 300
# The task whose first attempt is turned away.
UNLUCKY = 7
# A text of fewer words says nothing about how it reads.
FEWEST_WORDS = 25


def is_genuine(headers, body: bytes) -> bool:
    """Whether the request is signed with our secret, by the Standard Webhooks scheme."""
    try:
        name, sent_at, signatures = (headers["webhook-" + part] for part in ("id", "timestamp", "signature"))
        if abs(time.time() - int(sent_at)) > TOLERANCE:
            return False
    except (TypeError, ValueError):
        return False
    signed = f"{name}.{sent_at}.".encode() + body
    right = b"v1," + base64.b64encode(hmac.digest(SECRET, signed, hashlib.sha256))
    return any(hmac.compare_digest(right, one.encode()) for one in (signatures or "").split(" "))


def syllables(word: str) -> int:
    """Groups of vowels, without a mute e at the end: right for most English words."""
    groups = len(re.findall(r"[aeiouy]+", word))
    if word.endswith("e") and not word.endswith("le"):
        groups -= 1
    return max(groups, 1)


def reading_ease(text: str):
    """The number of words, and Flesch's reading ease: 100 is very easy, 60 plain English, below 30 very hard."""
    words = re.findall(r"[a-z]+", text.lower())
    if len(words) < FEWEST_WORDS:
        return len(words), None
    sentences = max(len(re.findall(r"[.!?](?=\s|$)", text)), 1)
    ease = 206.835 - 1.015 * len(words) / sentences - 84.6 * sum(map(syllables, words)) / len(words)
    return len(words), round(ease, 1)


class Handler(BaseHTTPRequestHandler):
    # Connections are kept.
    protocol_version = "HTTP/1.1"
    timeout = 30
    # Head and body leave in one packet.
    wbufsize = -1

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if not is_genuine(self.headers, body):
            return self.answer(401, {"error": "the signature is missing or wrong"})
        if self.headers["pgflow-task-index"] == str(UNLUCKY) and self.headers["pgflow-attempt"] == "1":
            return self.answer(503, {"error": "too busy, come back in a second"}, {"retry-after": "1"})
        item = json.loads(body)["input"]["item"]
        words, ease = reading_ease(item["prose"])
        self.answer(200, {"section": item["section"], "words": words, "reading_ease": ease})

    def answer(self, status: int, value, headers=None):
        text = json.dumps(value).encode()
        self.send_response(status)
        for name, content in (headers or {}).items():
            self.send_header(name, content)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


def main():
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, lambda *_: sys.exit(0))
    server = Server(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


main()
