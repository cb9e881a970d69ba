#!/usr/bin/python3
"""A receiver of webhooks that knows nothing of jit-gateway.

It checks signatures by the text of the Standard Webhooks specification with
Python's own hmac, prints what it takes as one line of JSON each, and answers
/hook with 503 the first time, so that senders must come again.
Usage: receiver.py SECRET (whsec_…); it prints its port first.
"""
import base64, hashlib, hmac, http.server, json, sys, time

KEY = base64.b64decode(sys.argv[1].removeprefix("whsec_"))
failed = set()


def say(**what):
    print(json.dumps(what), flush=True)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/chat":
            if self.headers.get("webhook-signature"):
                return self.end(400)
            say(path=self.path, body=json.loads(body))
            return self.end(200)
        if self.path == "/never":
            return self.end(422)
        ident, stamp = self.headers["webhook-id"], self.headers["webhook-timestamp"]
        want = hmac.new(KEY, f"{ident}.{stamp}.".encode() + body, hashlib.sha256).digest()
        good = any(
            hmac.compare_digest(base64.b64decode(sig[3:]), want)
            for sig in self.headers["webhook-signature"].split(" ")
            if sig.startswith("v1,")
        )
        if not good or abs(time.time() - int(stamp)) > 300:
            say(path=self.path, verified=False, id=ident)
            return self.end(401)
        if ident not in failed:
            failed.add(ident)
            say(path=self.path, verified=True, id=ident, refused=True)
            return self.end(503)
        say(path=self.path, verified=True, id=ident, signature=self.headers["webhook-signature"], timestamp=stamp, body=json.loads(body))
        self.end(204)

    def end(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
say(port=server.server_port)
server.serve_forever()
