#!/usr/bin/python3
"""A ticket system, as small as can be: the API of Jira for one issue and its
comments, and that of a list with a query. It prints what it is asked as lines
of JSON, and its port first.

INC-1 is open and alice's, INC-2 is done, INC-3 is bob's, INC-4 is nobody's,
INC-5 takes longer than anybody waits, INC-6 answers with nonsense, INC-7 with
an error, INC-8 sends elsewhere, INC-9 with a flood; INC-404 is not there.
A comment is refused with 503 the first time; INC-2 takes none (422).
"""
import http.server, json, sys, time, urllib.parse

refused = set()


def say(**what):
    print(json.dumps(what), flush=True)


def issue(state, name):
    who = {"name": name, "emailAddress": f"{name.title()}@Example.org"} if name else None
    return {"key": "x", "fields": {"status": {"name": state, "id": 3}, "assignee": who}}


ISSUES = {"INC-1": issue("In Progress", "alice"), "INC-2": issue("Done", "alice"), "INC-3": issue("Open", "bob"), "INC-4": issue("Open", None)}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        say(method="GET", path=self.path, auth=self.headers.get("authorization"))
        if self.headers.get("authorization") != "Bearer s3cret":
            return self.end(401)
        if url.path == "/table":
            name = urllib.parse.parse_qs(url.query)["number"][0]
            return self.end(200, json.dumps({"result": [{"number": name, "state": 2}]}))
        name = url.path.rsplit("/", 1)[1]
        if name == "INC-5":
            time.sleep(5)
        if name == "INC-6":
            return self.end(200, "<html>please sign in</html>")
        if name == "INC-7":
            return self.end(500)
        if name == "INC-8":
            return self.end(302, location="/issue/INC-1")
        if name == "INC-9":
            return self.end(200, '{"fields": "' + "x" * (2 << 20) + '"}')
        if name not in ISSUES:
            return self.end(404)
        self.end(200, json.dumps(ISSUES[name]))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        ident = self.headers.get("idempotency-key")
        say(method="POST", path=self.path, auth=self.headers.get("authorization"), id=ident, body=json.loads(body))
        if "INC-2" in self.path:
            return self.end(422)
        if ident not in refused:
            refused.add(ident)
            return self.end(503)
        self.end(201, "{}")

    def end(self, status, body="", location=None):
        self.send_response(status)
        if location:
            self.send_header("location", location)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body.encode())
        except OSError:
            pass

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, address):
        pass


server = Server(("127.0.0.1", 0), Handler)
say(port=server.server_port)
server.serve_forever()
