"""Connections: kept, cut, slow, garbled, encrypted, redirected, by a proxy."""

from __future__ import annotations

import http.client
import socket
import subprocess
import threading
import time
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from tablevault.errors import TVRemoteError
from tablevault.history.git.git_config import Settings
from tablevault.remotes.http.retry import PassingError
from tablevault.remotes.http.session import HttpRequest, Session
from tests.remotes.http.test_credentials import basic
from tests.remotes.lfs.test_http_transport import error_of, push


@pytest.fixture
def impatient(here):
    """Wait a second for a sign of life, and try twice."""
    here.set("lfs.activitytimeout", 1)
    here.set("lfs.transfer.maxretries", 2)
    return here


@contextmanager
def raw_server(answer):
    """Listen, and let `answer` have each connection."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        listener.settimeout(0.05)

        def serve():
            while not stop.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                threads.append(threading.Thread(target=one, args=(connection,)))
                threads[-1].start()

        def one(connection):
            with connection:
                connection.settimeout(1000)
                with suppress(OSError):
                    answer(connection, stop)

        threads = [threading.Thread(target=serve)]
        threads[0].start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/x"
        finally:
            stop.set()
            for thread in threads:
                thread.join()


# -- slow servers -----------------------------------------------------------------------------


def test_a_server_that_never_answers_is_given_up(impatient, server, contents):
    server.on("POST", "batch$")(lambda handler: handler.wait(1000))
    with pytest.raises(TVRemoteError, match=r"no answer in time \(2 tries\)"):
        push(impatient, impatient.add(*contents(1)))


def test_a_server_that_only_listens_is_given_up(impatient, contents):
    with raw_server(lambda _, stop: stop.wait(1000)) as url:
        impatient.git("remote", "add", "origin", url)
        with pytest.raises(TVRemoteError, match="no answer in time"):
            push(impatient, impatient.add(*contents(1)))


def test_a_server_that_takes_nothing_in_is_given_up(impatient, server, contents):
    impatient.set("lfs.transfer.maxretries", 4)  # that it is asked first may be slow, too

    @server.on("PUT", "store")
    def _(handler):
        handler.wait(1000)

    report, _ = push(impatient, impatient.add(*contents(1, size=20_000_000)))
    assert "no answer in time" in str(error_of(report))


# -- broken servers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\xff" * 100,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200,
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 307 Moved\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 307 Moved\r\nLocation: ftp://h/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 307 Moved\r\nLocation: //\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_garbage_is_an_error_of_ours(impatient, contents, answer):
    def say(connection, stop):
        connection.recv(65536)
        connection.sendall(answer)

    with raw_server(say) as url:
        impatient.git("remote", "add", "origin", url)
        with pytest.raises(TVRemoteError):
            push(impatient, impatient.add(*contents(1)))


def test_an_answer_without_end_is_not_read_to_its_end(here, contents, monkeypatch):
    monkeypatch.setattr("tablevault.remotes.lfs.http_transport._LONGEST_ANSWER", 1 << 20)

    def say(connection, stop):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not stop.is_set():
            connection.sendall(b"[" * 65536)

    with raw_server(say) as url:
        here.git("remote", "add", "origin", url)
        with pytest.raises(TVRemoteError, match="an endless answer"):
            push(here, here.add(*contents(1)))


def test_a_redirect_in_a_circle_ends(here, server, contents):
    server.refuse("POST", "batch$", 302, Location=server.url + "/info/lfs/objects/batch")
    with pytest.raises(TVRemoteError, match="redirects endlessly"):
        push(here, here.add(*contents(1)))
    assert len(server.requests) == 6


def test_nobody_at_the_address_is_reported_at_once(here, contents):
    here.set("lfs.transfer.maxretries", 100)
    with refusing() as port:
        here.git("remote", "add", "origin", f"http://127.0.0.1:{port}/x")
        with pytest.raises(TVRemoteError, match=r"cannot be reached: the connection was refused"):
            push(here, here.add(*contents(1)))


@contextmanager
def refusing(port=0):
    """Return a port at which nobody listens, and that nobody else gets meanwhile."""
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", port))
        yield bound.getsockname()[1]


@pytest.mark.parametrize("host", ["nobody.invalid", "nobödy.invalid"])
def test_a_name_that_is_not_known_is_reported_at_once(here, contents, host):
    here.git("remote", "add", "origin", f"http://{host}/x")
    here.set("lfs.transfer.maxretries", 1)
    with pytest.raises(TVRemoteError, match=rf"{host} cannot be reached: its name"):
        push(here, here.add(*contents(1)))


def test_a_server_that_starts_anew_is_waited_for(here, server, contents):
    """Refused connections pass when the server was there before."""
    session = Session(Settings())
    with closing(session):
        request = HttpRequest(method="GET", url=f"{server.root}/x")
        with closing(session.send(request)) as reply:
            reply.read_error()
        port = server.http.server_port
        server.stop()
        session.close()
        again = Session(Settings())
        again._reached = session._reached
        with refusing(port), pytest.raises(PassingError, match="refused"):
            again.send(request)
    server.stop = lambda: None


def test_who_closes_a_session_wakes_those_who_wait(here, server):
    server.on("GET", "x")(lambda handler: handler.wait(1000))
    session = Session(Settings([("lfs.activitytimeout", "1000")]))
    errors = []

    def ask():
        try:
            session.send(HttpRequest(method="GET", url=f"{server.root}/x"))
        except PassingError as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    while not server.requests:
        time.sleep(0.01)
    session.close()
    thread.join()
    assert errors
    with pytest.raises(PassingError, match="given up"):
        session.send(HttpRequest(method="GET", url=f"{server.root}/x"))


# -- TLS --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def certificate(tmp_path_factory, program):
    """Make a certificate that nobody vouches for."""
    folder = tmp_path_factory.mktemp("tls")
    made = [folder / "cert.pem", folder / "key.pem"]
    command = [program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-out", str(made[0]), "-keyout", str(made[1])]
    subprocess.run(command, check=True, capture_output=True)
    return made


@pytest.fixture
def secure(servers, certificate, here):
    made = servers(certificate)
    here.git("remote", "add", "origin", made.url)
    return made


def test_a_server_that_nobody_vouches_for_is_refused(here, secure, contents):
    with pytest.raises(TVRemoteError, match=r"has no valid certificate.*self.signed.*sslCAInfo"):
        push(here, here.add(*contents(1)))
    assert not secure.requests


def test_who_vouches_stands_in_the_configuration_of_git(here, secure, contents, certificate):
    here.set("http.sslCAInfo", certificate[0])
    made = contents(5, size=200_000)
    assert push(here, here.add(*made))[0].objects == 5
    here.set("http.sslCAInfo", "~/nowhere.pem")
    with pytest.raises(TVRemoteError, match=r"no file .*nowhere.pem"):
        push(here, here.add(*contents(1, seed=1)))


def test_or_in_the_environment(here, secure, contents, certificate, monkeypatch):
    monkeypatch.setenv("GIT_SSL_CAINFO", str(certificate[0]))
    assert push(here, here.add(*contents(1)))[0].objects == 1


def test_checking_can_be_switched_off_for_one_server(here, secure, contents):
    here.set("http.https://elsewhere/.sslVerify", "false")
    with pytest.raises(TVRemoteError):
        push(here, here.add(*contents(1)))
    here.set(f"http.{secure.root}/.sslVerify", "false")
    assert push(here, here.add(*contents(1)))[0].objects == 1


def test_what_is_encrypted_is_not_sent_on_in_the_clear(
    here, secure, server_in_the_clear, contents, certificate
):
    here.set("http.sslCAInfo", certificate[0])
    clear = server_in_the_clear
    secure.refuse("POST", "batch$", 307, times=1, Location=f"{clear.url}/info/lfs/objects/batch")
    with pytest.raises(TVRemoteError, match=rf"redirects to {clear.root}, which is not encrypted"):
        push(here, here.add(*contents(1)))
    secure.actions = {"href": f"{clear.root}/store/x"}
    report, _ = push(here, here.add(*contents(1)))
    assert "which is not encrypted" in str(error_of(report))
    assert not clear.requests


@pytest.fixture
def server_in_the_clear(servers):
    return servers()


def test_a_move_to_tls_on_the_same_host_takes_the_login_along(here, servers, certificate, contents):
    clear, secure = servers(), servers(certificate)
    here.git("remote", "add", "origin", clear.url)
    here.set("http.sslCAInfo", certificate[0])
    here.set("credential.helper", "!f() { echo username=ana; echo password=pw; }; f")
    secure.login = basic("ana", "pw")
    clear.refuse("POST", "batch$", 301, Location=f"{secure.url}/info/lfs/objects/batch")
    assert push(here, here.add(*contents(2)))[0].objects == 2
    assert not any("Authorization" in headers for _, _, headers in clear.requests)


# -- proxies ----------------------------------------------------------------------------------


class Proxy(BaseHTTPRequestHandler):
    """A proxy: CONNECT for TLS, whole URLs for the rest."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_CONNECT(self):
        self.server.seen.append((self.command, self.path, dict(self.headers.items())))
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as there:
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            back = threading.Thread(target=self.pump, args=(there, self.connection))
            back.start()
            self.pump(self.connection, there)
            back.join()
        self.close_connection = True

    @staticmethod
    def pump(source, sink):
        with suppress(OSError):
            while block := source.recv(65536):
                sink.sendall(block)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def pass_on(self):
        self.server.seen.append((self.command, self.path, dict(self.headers.items())))
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with closing(http.client.HTTPConnection(parts.hostname, parts.port)) as there:
            headers = {k: v for k, v in self.headers.items() if not k.startswith("Proxy-")}
            there.request(self.command, parts.path, body, headers)
            answer = there.getresponse()
            content = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = pass_on  # noqa: N815 - named by http.server


@pytest.fixture
def proxy():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    made.seen = []
    made.url = f"http://127.0.0.1:{made.server_port}"
    thread = threading.Thread(target=made.serve_forever, args=(0.05,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def test_a_proxy_of_the_environment_is_used(here, server, proxy, contents, monkeypatch):
    monkeypatch.setenv("http_proxy", proxy.url)
    assert push(here, here.add(*contents(1)))[0].objects == 1
    assert [command for command, _, _ in proxy.seen] == ["POST", "PUT", "POST"]
    assert proxy.seen[0][1] == f"{server.url}/info/lfs/objects/batch"


def test_a_proxy_only_passes_on_what_is_encrypted(
    here, secure, proxy, contents, monkeypatch, certificate
):
    here.set("http.sslCAInfo", certificate[0])
    monkeypatch.setenv("https_proxy", proxy.url.replace("://", "://pat:s3cret@"))
    report, _ = push(here, here.add(*contents(3, size=100_000)))
    assert report.objects == 3
    assert {(command, path) for command, path, _ in proxy.seen} == {("CONNECT", secure.host)}
    assert proxy.seen[0][2]["Proxy-Authorization"] == "Basic cGF0OnMzY3JldA=="
    assert not any("Proxy-Authorization" in headers for _, _, headers in secure.requests)


def test_a_proxy_of_git_comes_first_and_hosts_can_be_left_out(
    here, server, proxy, contents, monkeypatch
):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    here.set("http.proxy", proxy.url.removeprefix("http://"))
    assert push(here, here.add(*contents(1)))[0].objects == 1
    assert proxy.seen
    here.set(f"http.{server.root}.proxy", "")
    assert push(here, here.add(*contents(1, seed=1)))[0].objects == 1
    assert len(proxy.seen) == 3
    here.git("config", "--unset", f"http.{server.root}.proxy")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert push(here, here.add(*contents(1, seed=2)))[0].objects == 1
    assert len(proxy.seen) == 3


def test_a_proxy_that_is_away_is_named_without_its_password(here, server, contents):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    here.set("http.proxy", f"http://pat:s3cret@127.0.0.1:{port}")
    with pytest.raises(
        TVRemoteError, match=rf"cannot be reached by the proxy http://127.0.0.1:{port}"
    ) as caught:
        push(here, here.add(*contents(1)))
    assert "s3cret" not in str(caught.value)


def test_other_kinds_of_proxies_are_refused(here, server, contents):
    here.set("http.proxy", "socks5://pat:s3cret@127.0.0.1:1080")
    with pytest.raises(TVRemoteError, match=r"The proxy for .* cannot be used") as caught:
        push(here, here.add(*contents(1)))
    assert "s3cret" not in str(caught.value)
