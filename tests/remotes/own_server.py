"""A small LFS server whose every answer a test can spoil; it runs in a thread of the test."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MEDIA_TYPE = "application/vnd.git-lfs+json"


class OwnServer:
    """Keeps objects in memory, and all requests that it got.

    Rules are functions of a handler, by method and path; the last one that fits answers, once if
    so wanted. It may answer by itself, or change what is asked and call ``handler.answer()``.
    """

    def __init__(self, tls=None):
        self.objects = {}
        self.requests = []
        self.rules = []
        self.connections = 0
        self.login = ""
        self.actions = {}
        self.closing = threading.Event()
        outer = self

        class Handler(_Handler):
            server_of_test = outer

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def get_request(self):
                outer.connections += 1
                return super().get_request()

            def handle_error(self, *_):
                pass

        self.http = Server(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*tls)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.scheme = "https" if tls else "http"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.05,))
        self.thread.start()

    @property
    def host(self):
        return f"127.0.0.1:{self.http.server_port}"

    @property
    def root(self):
        return f"{self.scheme}://{self.host}"

    @property
    def url(self):
        """The URL of a repository."""
        return f"{self.root}/ana/papers.git"

    def stop(self):
        self.closing.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    def add(self, content):
        oid = hashlib.sha256(content).hexdigest()
        self.objects[oid] = content
        return oid

    def on(self, method, path, *, times=None):
        """Let the decorated function answer requests whose path fits."""

        def add(function):
            self.rules.append([method, re.compile(path), times, function])
            return function

        return add

    def refuse(self, method, path, status, *, times=None, body=b"", **headers):
        """Let requests be answered by a status."""

        @self.on(method, path, times=times)
        def _(handler):
            handler.take()
            handler.reply(status, body, {k.replace("_", "-"): v for k, v in headers.items()})

    def paths(self, method):
        return [path for asked, path, _ in self.requests if asked == method]

    def headers(self, method, path=""):
        """Return the headers of all requests that fit."""
        return [h for m, p, h in self.requests if m == method and re.search(path, p)]


class _Handler(BaseHTTPRequestHandler):
    """Speaks the Batch API, with ranges, to whoever has the login."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server_of_test = None

    def log_message(self, *_):
        pass

    def serve(self):
        server = self.server_of_test
        self.body = None
        server.requests.append((self.command, self.path, dict(self.headers.items())))
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            for rule in reversed(server.rules):
                method, path, times, function = rule
                if method == self.command and path.search(self.path) and times != 0:
                    rule[2] = None if times is None else times - 1
                    function(self)
                    return
            self.answer()

    do_GET = do_PUT = do_POST = serve  # noqa: N815 - named by http.server

    def take(self):
        """Read the body, once."""
        if self.body is None:
            if self.headers.get("Transfer-Encoding") == "chunked":
                self.body = b"".join(self.chunks())
            else:
                self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return self.body

    def chunks(self):
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def reply(self, status, body=b"", headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def say(self, value, status=200):
        self.reply(status, json.dumps(value).encode(), {"Content-Type": MEDIA_TYPE})

    def drop(self):
        """Cut the connection."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def wait(self, seconds):
        """Wait, but not when the test is over."""
        self.server_of_test.closing.wait(seconds)

    def answer(self):
        """Answer as a good server does."""
        server = self.server_of_test
        body = self.take()
        is_action = "/store/" in self.path or "/verify/" in self.path
        if server.login and not is_action and self.headers.get("Authorization") != server.login:
            self.reply(401, b"", {"LFS-Authenticate": 'Basic realm="lfs"'})
        elif self.path.endswith("/info/lfs/objects/batch"):
            asked = json.loads(body)
            found = [self.offer(asked["operation"], each) for each in asked["objects"]]
            self.say({"transfer": "basic", "objects": found})
        elif self.path.startswith("/verify/"):
            asked = json.loads(body)
            good = len(server.objects.get(asked["oid"], b"")) == asked["size"]
            self.say({"message": "verified" if good else "not here"}, 200 if good else 404)
        elif self.path.startswith("/store/"):
            getattr(self, f"store_{self.command.lower()}")(self.path.removeprefix("/store/"))
        else:
            self.reply(404, b"<html>Not Found</html>", {"Content-Type": "text/html"})

    def offer(self, operation, asked):
        server = self.server_of_test
        oid, there = asked["oid"], asked["oid"] in server.objects
        answer = {"oid": oid, "size": asked["size"]}
        action = {"href": f"{server.root}/store/{oid}", **server.actions}
        if operation == "download":
            missing = {"error": {"code": 404, "message": "No such object"}}
            return answer | ({"actions": {"download": action}} if there else missing)
        verify = {"href": f"{server.root}/verify/", **server.actions}
        return answer | ({} if there else {"actions": {"upload": action, "verify": verify}})

    def store_put(self, oid):
        content = self.take()
        if len(content) == int(self.headers.get("Content-Length", len(content))):
            self.server_of_test.objects[oid] = content
            self.reply(200)

    def store_get(self, oid):
        content = self.server_of_test.objects.get(oid)
        if content is None:
            self.reply(404)
            return
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not found:
            self.reply(200, content)
            return
        first, last = int(found[1]), min(int(found[2]), len(content) - 1)
        if first > last:
            self.reply(416)
            return
        place = f"bytes {first}-{last}/{len(content)}"
        self.reply(206, content[first : last + 1], {"Content-Range": place})

    def half(self, content, *, sent):
        """Promise all of `content`, send the first bytes, and cut the connection."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:sent])
        self.wfile.flush()
        self.drop()
