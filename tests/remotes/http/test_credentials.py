"""Who we are: from the URL, netrc, git's own helpers; asked once, never shown, never leaked."""

from __future__ import annotations

import base64
import logging
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from tablevault.errors import TVCredentialsError, TVRemoteError
from tablevault.remotes.http.credentials import Credentials, Known, Login, Origin, origin_of
from tests.remotes.conftest import pointer_of
from tests.remotes.lfs.test_http_transport import fetch, push

PASSWORD = "s3cr3t-pässword"


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def netrc(sealed):
    """Write ~/.netrc."""
    path = Path(sealed) / ".netrc"

    def write(text):
        path.write_text(text, "utf-8")
        path.chmod(0o600)

    yield write
    path.unlink(missing_ok=True)


@pytest.fixture
def helper(here, tmp_path):
    """Set a credential helper that knows one login, and give what it was asked."""
    script, log = tmp_path / "helper", tmp_path / "helper.log"

    def make(user="ana", password=PASSWORD, extra=""):
        script.write_text(
            f"#!{sys.executable}\n"
            + textwrap.dedent(f"""
            import sys
            asked = sys.stdin.read()
            with open({str(log)!r}, "a") as file:
                file.write(sys.argv[1] + " " + " ".join(asked.split()) + "\\n")
            if sys.argv[1] == "get":
                sys.stdout.reconfigure(encoding="utf-8")
                print("username={user}")
                print("password={password}")
                print({extra!r})
            """)
        )
        script.chmod(0o755)
        here.set("credential.helper", str(script))

    def asked():
        return log.read_text("utf-8").splitlines() if log.exists() else []

    make.asked = asked
    return make


def with_login(server, here, login):
    url = server.url.replace("://", f"://{login}@")
    here.git("remote", "set-url", "origin", url)


# -- where they come from ---------------------------------------------------------------------


def test_a_server_that_wants_none_gets_none(here, server, contents, helper, netrc):
    helper()
    assert push(here, here.add(*contents(2)))[0].objects == 2
    assert not any("Authorization" in headers for _, _, headers in server.requests)
    assert not helper.asked()


def test_a_helper_is_asked_when_the_server_wants_to_know(here, server, contents, helper):
    helper()
    server.login = basic("ana", PASSWORD)
    assert push(here, here.add(*contents(5)))[0].objects == 5
    asked = helper.asked()
    assert [line.split()[0] for line in asked] == ["get", "store"]
    assert f"protocol=http host={server.host}" in asked[0]
    assert f"username=ana password={PASSWORD}" in asked[1]
    first, second = server.headers("POST", "batch")
    assert "Authorization" not in first
    assert second["Authorization"] == server.login


def test_a_helper_hears_of_a_wrong_password(here, server, contents, helper):
    helper(password="old")
    server.login = basic("ana", PASSWORD)
    with pytest.raises(TVCredentialsError, match=r"does not accept these credentials.*token"):
        push(here, here.add(*contents(1)))
    assert [line.split()[0] for line in helper.asked()] == ["get", "erase", "get"]


def test_a_helper_hears_again_what_it_said_besides(here, server, contents, helper):
    helper(extra="password_expiry_utc=9999999999")
    server.login = basic("ana", PASSWORD)
    push(here, here.add(*contents(1)))
    assert helper.asked()[1].startswith("store ")


def test_a_helper_gets_the_path_only_where_git_would_pass_it(here, server, contents, helper):
    helper()
    server.login = basic("ana", PASSWORD)
    push(here, here.add(*contents(1)))
    assert "path=" not in helper.asked()[0]
    here.set("credential.useHttpPath", "true")
    push(here, here.add(*contents(1, seed=1)))
    assert "path=ana/papers.git" in helper.asked()[2]


def test_the_user_in_the_url_is_asked_for(here, server, contents, helper):
    helper(user="bob")
    with_login(server, here, "bob")
    server.login = basic("bob", PASSWORD)
    push(here, here.add(*contents(1)))
    assert "username=bob" in helper.asked()[0]


def test_a_login_in_the_url_is_used_at_once(here, server, contents, helper):
    helper(password="other")
    with_login(server, here, "ana:s3cr3t-p%C3%A4ssword")
    server.login = basic("ana", PASSWORD)
    assert push(here, here.add(*contents(1)))[0].objects == 1
    assert len(server.headers("POST", "batch")) == 1
    assert not helper.asked()


def test_netrc_is_looked_into(here, server, contents, netrc, helper):
    helper(password="other")
    netrc(f'machine 127.0.0.1 login ana password "{PASSWORD}"\n')
    server.login = basic("ana", PASSWORD)
    assert push(here, here.add(*contents(1)))[0].objects == 1
    assert not helper.asked()


def test_netrc_is_for_one_user(here, server, contents, netrc, helper):
    netrc("machine 127.0.0.1 login bob password other\n")
    helper()
    with_login(server, here, "ana")
    server.login = basic("ana", PASSWORD)
    assert push(here, here.add(*contents(1)))[0].objects == 1


def test_a_default_in_netrc_is_given_to_nobody(here, server, contents, netrc):
    netrc("default login ana password x\n")
    server.login = basic("ana", "x")
    with pytest.raises(TVCredentialsError, match="wants credentials"):
        push(here, here.add(*contents(1)))
    assert not any("Authorization" in headers for _, _, headers in server.requests)


def test_a_netrc_that_cannot_be_read_is_passed_over(here, server, contents, netrc, helper, caplog):
    netrc("machine 127.0.0.1 login ana\npassword\nx y z\n")
    helper()
    server.login = basic("ana", PASSWORD)
    assert push(here, here.add(*contents(1)))[0].objects == 1
    assert "cannot be read" in caplog.text


def test_a_header_of_git_is_sent(here, server, contents):
    server.login = "Bearer x"
    here.set(f"http.{server.root}/.extraheader", "AUTHORIZATION: Bearer x")
    assert push(here, here.add(*contents(1)))[0].objects == 1
    assert server.headers("POST", "batch")[0]["AUTHORIZATION"] == "Bearer x"


def test_a_header_of_git_that_is_refused_is_not_asked_about(here, server, contents, helper):
    helper()
    server.login = "Bearer x"
    here.set("http.extraheader", "Authorization: Bearer y")
    with pytest.raises(TVCredentialsError, match=r"http\.extraHeader"):
        push(here, here.add(*contents(1)))
    assert not helper.asked()
    assert len(server.requests) == 1


def test_headers_of_git_can_be_taken_back(here, server, contents, caplog):
    for line in ("X-A: 1", "", "X-B: 2", "no header"):
        here.git("config", "--add", "http.extraheader", line)
    push(here, here.add(*contents(1)))
    [headers] = server.headers("POST", "batch")
    assert "X-A" not in headers
    assert headers["X-B"] == "2"
    assert "is not a header" in caplog.text


def test_nobody_is_asked_where_there_is_no_terminal(here, server, contents):
    server.login = basic("ana", PASSWORD)
    with pytest.raises(
        TVCredentialsError, match=r"wants credentials.*git credential.*netrc"
    ) as caught:
        fetch(here, [here.add(*contents(1))[0], *fetchable(server, contents)])
    assert caught.value.host == "127.0.0.1"


def fetchable(server, contents):
    made = contents(1, seed=9)
    server.add(made[0])
    return [pointer_of(made[0])]


def test_a_person_at_a_terminal_is_asked(here, server, contents, program):
    """The prompt is git's own; `script` gives it a terminal."""
    program("script")
    server.login = basic("ana", "pw")
    [pointer] = fetchable(server, contents)
    variables = {k: v for k, v in os.environ.items() if k != "GIT_TERMINAL_PROMPT"}
    what = f"receive {here.path} origin {pointer.oid}:{pointer.size}"
    command = ["script", "-qec", f"{sys.executable} -m tests.remotes.child {what}", "/dev/null"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=variables
    ) as process:
        said = b""
        for prompt, answer in ((b"Username for", b"ana\n"), (b"Password for", b"pw\n")):
            while prompt not in said:
                block = os.read(process.stdout.fileno(), 4096)
                assert block, said
                said += block
            process.stdin.write(answer)
            process.stdin.flush()
        said += process.communicate(timeout=60)[0]
    assert here.store.has(pointer), said
    assert b"pw" not in said


# -- who gets them ----------------------------------------------------------------------------


def test_another_host_does_not_get_the_login_of_the_remote(here, server, servers, contents, helper):
    helper()
    other = servers()
    other.login = basic("ana", PASSWORD)
    with_login(server, here, "ana:s3cr3t-p%C3%A4ssword")
    here.set("http.extraheader", "X-Token: t")
    here.set("credential.helper", "")
    (here.path / ".lfsconfig").write_text(f"[lfs]\n\turl = {other.url}/info/lfs\n")
    with pytest.raises(TVCredentialsError, match=f"{other.host} wants credentials"):
        push(here, here.add(*contents(1)))
    assert other.requests
    for _, _, headers in other.requests:
        assert not {"Authorization", "X-Token"} & set(headers)


def test_headers_for_all_servers_are_sent_to_one_that_was_set_here(here, server, servers, contents):
    other = servers()
    here.set("http.extraheader", "X-Token: t")
    here.set("lfs.url", f"{other.url}/info/lfs")
    push(here, here.add(*contents(1)))
    assert other.headers("POST", "batch")[0]["X-Token"] == "t"


def test_a_redirect_takes_no_secrets_to_another_host(here, server, servers, contents, helper):
    helper()
    other = servers()
    with_login(server, here, "ana:pw")
    here.set("http.extraheader", "X-Token: t")
    server.actions = {"header": {"X-Key": "k"}}
    where = f"{other.url}/info/lfs/objects/batch"
    server.refuse("POST", "batch$", 307, Location=where)
    other.actions = {"header": {"X-Key": "k"}, "href": f"{other.root}/moved"}
    other.refuse("PUT", "moved", 302, Location=f"{server.root}/store/x")
    other.refuse("POST", "moved", 200)
    server.refuse("PUT", "store/x", 200)
    assert push(here, here.add(*contents(1)))[0].objects == 1
    assert other.headers("PUT")[0]["X-Key"] == "k"
    assert "X-Key" not in server.headers("PUT")[0]
    for headers in other.headers("POST", "batch"):
        assert not {"Authorization", "X-Token"} & set(headers)
    assert server.headers("PUT")[0]["Content-Type"] == "application/octet-stream"


def test_a_redirect_within_the_host_keeps_them(here, server, contents):
    with_login(server, here, "ana:pw")
    server.login = basic("ana", "pw")
    server.refuse(
        "POST", "papers.git/info/lfs/objects/batch$", 307, Location="/new/info/lfs/objects/batch"
    )
    assert push(here, here.add(*contents(1)))[0].objects == 1


def test_a_host_to_which_we_are_redirected_gets_no_login(here, server, servers, contents, helper):
    helper()
    other = servers()
    other.login = basic("ana", PASSWORD)
    server.refuse("POST", "batch$", 307, Location=f"{other.url}/info/lfs/objects/batch")
    with pytest.raises(TVCredentialsError, match=rf"redirects to {other.root}.*set lfs.url"):
        push(here, here.add(*contents(1)))
    assert not helper.asked()


def test_a_store_elsewhere_gets_no_login(here, server, servers, contents, helper):
    helper()
    other = servers()
    server.login = basic("ana", PASSWORD)
    other.refuse("PUT", "elsewhere", 401, WWW_Authenticate='Basic realm="x"')
    server.actions = {"href": f"{other.root}/elsewhere"}
    report, _ = push(here, here.add(*contents(1)))
    assert "denies access (401)" in str(report.failures[0].error)
    assert not any("Authorization" in headers for _, _, headers in other.requests)
    assert [line.split()[0] for line in helper.asked()] == ["get", "store"]


def test_a_store_on_the_same_host_gets_the_login(here, server, contents, helper):
    helper()
    server.login = basic("ana", PASSWORD)

    @server.on("PUT", "store")
    def _(handler):
        handler.take()
        right = handler.headers.get("Authorization") == server.login
        handler.answer() if right else handler.reply(401)

    assert push(here, here.add(*contents(1)))[0].objects == 1


def test_what_has_its_own_permission_gets_no_other(here, server, contents):
    with_login(server, here, "ana:pw")
    server.actions = {"header": {"authorization": "Bearer own"}}
    push(here, here.add(*contents(1)))
    headers = server.headers("PUT")[0]
    assert headers["authorization"] == "Bearer own"
    assert "Authorization" not in headers


def test_a_login_in_the_address_of_an_action_is_for_that_action(here, server, contents):
    server.actions = {"href": f"http://x:y@{server.host}/verify/"}
    server.refuse("PUT", "verify", 200)
    server.refuse("POST", "verify", 200)
    push(here, here.add(*contents(1)))
    assert server.headers("PUT")[0]["Authorization"] == basic("x", "y")


# -- the credential protocol ------------------------------------------------------------------


@pytest.mark.parametrize("part", ["path", "username"])
def test_a_line_break_becomes_no_line_of_the_protocol(here, helper, part):
    """CVE-2020-5260: https://evil?%0ahost=github.com once gave away the login of GitHub."""
    helper()
    origin = Origin(scheme="https", host="evil", port=443)
    parts = {"path": "", "username": "", part: "x\nhost=github.com"}
    known = Known(origin=origin, login=Login(username=parts["username"]), path=parts["path"])
    with pytest.raises(TVCredentialsError, match="control character"):
        Credentials(here.path, known).ask(origin, None)
    assert not helper.asked()


@pytest.mark.parametrize(
    "login", ["ana%0ahost=github.com", "ana%0d", "%00ana", "ana%0aprotocol=https"]
)
def test_an_escape_in_a_url_becomes_no_line_either(here, server, contents, helper, login):
    helper()
    with_login(server, here, login)
    server.login = basic("ana", PASSWORD)
    with pytest.raises(TVRemoteError, match="control character"):
        push(here, here.add(*contents(1)))
    assert not helper.asked()


@pytest.mark.parametrize("url", ["https:///x", "http://", "https://:443/x", "https://@/x"])
def test_without_a_host_nothing_is_asked(url):
    """CVE-2020-11008: an empty host once fitted every login."""
    with pytest.raises(TVRemoteError):
        origin_of(url)


def test_many_threads_ask_once(here, server, contents, helper):
    helper()
    credentials = Credentials(here.path)
    origin = origin_of(server.url)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(credentials.ask(origin, None)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(helper.asked()) == 1


def test_a_helper_that_hangs_is_not_waited_for_forever(here, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr("tablevault.remotes.programs._UNATTENDED_S", 0.5)
    here.set("credential.helper", f"!sleep 1000; touch {tmp_path / 'late'}; :")
    with pytest.raises(TVCredentialsError):
        Credentials(here.path).ask(Origin(scheme="https", host="h", port=443), None)
    assert "did not answer" in caplog.text


def test_the_daemon_of_git_does_not_hold_us(here, server, contents, tmp_path, program):
    """git-credential-cache leaves a daemon that inherits what its parent had open."""
    socket = tmp_path / "c" / "s"
    socket.parent.mkdir(mode=0o700)
    here.set("credential.helper", f"cache --timeout 1000 --socket {socket}")
    text = f"protocol=http\nhost={server.host}\nusername=ana\npassword=pw\n"
    server.login = basic("ana", "pw")
    with_login(server, here, "ana")
    here.git(
        "config", "--add", "credential.helper", "!f() { test $1 != get || echo password=pw; }; f"
    )
    assert push(here, here.add(*contents(1)))[0].objects == 1
    found = here.git("credential-cache", "--socket", socket, "get", text=text)
    here.git("credential-cache", "--socket", socket, "exit")
    assert "password=pw" in found


# -- secrets stay secret ----------------------------------------------------------------------


def test_secrets_are_in_no_error_no_log_and_no_repr(here, server, contents, helper, caplog):
    caplog.set_level(logging.DEBUG)
    helper()
    server.login = basic("ana", PASSWORD)
    token = "t0ken-of-an-action"
    server.actions = {"header": {"X-Key": token}, "href": f"{server.root}/verify/?sig={token}"}
    echo = f'{{"message": "you sent {server.login}, {PASSWORD}"}}'.encode()
    server.refuse("PUT", "verify", 422, body=echo)
    report, _ = push(here, here.add(*contents(1)))
    server.refuse("POST", "batch$", 403, body=echo)
    server.rules[-1][3] = lambda handler: (
        handler.take(),
        handler.reply(403 if handler.headers.get("Authorization") else 401, echo),
    )
    with pytest.raises(TVCredentialsError) as caught:
        push(here, here.add(*contents(1)))
    shown = "\n".join([repr(report), str(report.failures[0].error), str(caught.value), caplog.text])
    shown += repr(caught.value) + repr(caught.value.facts)
    assert "you sent" in shown
    for secret in (PASSWORD, server.login.removeprefix("Basic "), token):
        assert secret not in shown


@pytest.mark.parametrize(
    "url", ["https://ana:{}@[bad/x", "https://ana:{}@h:port/x", "foo://a:{}@h/"]
)
def test_a_url_that_cannot_be_read_is_not_shown(here, url):
    here.git("remote", "add", "origin", url.format("s3cr3t"))
    with pytest.raises(TVRemoteError) as caught:
        push(here, [])
    chain, error = "", caught.value
    while error:
        chain, error = chain + repr(error) + str(error), error.__cause__ or error.__context__
    assert "s3cr3t" not in chain
