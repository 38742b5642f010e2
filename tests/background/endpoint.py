"""An HTTP server that answers well, slowly, wrongly, hugely or never, and remembers what it was asked."""
import http.server
import json
import threading
import time


class Request:
    def __init__(self, path, headers, body):
        self.path, self.headers, self.body = path, {name.lower(): value for name, value in headers.items()}, body
        self.begun, self.ended = time.monotonic(), None
        self.task = json.loads(body)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        request = Request(self.path, self.headers, body)
        self.request_at_hand = request
        self.server.requests.append(request)
        try:
            self.answer(request)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def answer(self, request):
        """What a path says: its first part is the way, the second how many seconds later, or which status."""
        way, _, rest = self.path.strip("/").partition("/")
        number = rest.partition("/")[0]
        is_first = request.headers["pgflow-attempt"] == "1"
        if way == "echo":
            time.sleep(float(number or 0))
            self.send(200, json.dumps(request.task["input"]).encode())
        elif way == "status":
            self.send(int(number), b'{"why": "told so"}')
        elif way == "once":
            # The first attempt fails with this status, and may be tried again after a second.
            self.send(int(number) if is_first else 200, b"1", {"retry-after": "1"} if is_first and number == "429" else {})
        elif way == "huge":
            self.send(200, b'"' + b"x" * 4_000_000 + b'"')
        elif way == "garbage":
            self.send(200, b"<html>it works</html>")
        elif way == "broken":
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n[1,")
            self.close_connection = True
        elif way == "rubbish":
            self.wfile.write(b"220 mail.example.com ESMTP\r\n")
            self.close_connection = True
        elif way == "away":
            self.send(302, b"", {"location": "/echo"})
        elif way == "never":
            self.server.let_go.wait(60)
            self.close_connection = True
        elif way == "hang":
            # Hangs the first time only.
            if is_first:
                self.server.let_go.wait(60)
                self.close_connection = True
            else:
                self.send(200, b"1")

    def send(self, status, body, headers={}):
        # Before the first byte of it: whoever has the answer may send the next request.
        self.request_at_hand.ended = time.monotonic()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.let_go = threading.Event()
        self.requests = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def of(self, run):
        """The requests of a run, in their order."""
        return [request for request in list(self.requests) if request.task["run_id"] == run]

    def handle_error(self, *_):
        pass


def under_way(requests):
    """How many of them have not been answered."""
    return sum(request.ended is None for request in requests)


_server = None


def server():
    """The one that all tests share."""
    global _server
    _server = _server or Server()
    return _server
