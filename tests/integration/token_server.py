"""A server of streamed chat completions with known times: `python token_server.py FIRST_MS EACH_MS` prints its port.

Speaks what the engine's requests need of HTTP/1.1 and server-sent events. A prompt that is not JSON, or whose max_tokens is 13,
is refused or broken off in the middle, so that failures can be seen. Runs until its standard input closes.
"""

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    first_s = each_s = 0.0

    def do_POST(self) -> None:
        due = time.monotonic() + self.first_s
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = asked["messages"][0]["content"] if self.path == "/v1/chat/completions" else asked["prompt"]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
        for at in range(asked["max_tokens"]):
            time.sleep(max(0.0, due - time.monotonic()))
            due += self.each_s
            if asked["max_tokens"] == 13 and at == 5:
                self._event({"error": {"message": "out of memory"}})
                break
            self._event({"choices": [{"delta": {"content": f" w{at}"}}]})
        usage = {"prompt_tokens": len(text.split()), "completion_tokens": asked["max_tokens"]}
        self._event({"choices": [], "usage": usage})
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _event(self, event: object) -> None:
        self._chunk(b"data: " + json.dumps(event).encode() + b"\n\n")

    def _chunk(self, piece: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))

    def log_message(self, *_: object) -> None:
        return None


def main(first_ms: str, each_ms: str) -> None:
    Handler.first_s, Handler.each_s = float(first_ms) / 1000, float(each_ms) / 1000
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
