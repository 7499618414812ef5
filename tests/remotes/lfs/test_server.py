"""LFS servers by ssh: a real sshd on this machine, and a program that says where the server is."""

from __future__ import annotations

import getpass
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tablevault.errors import TVCredentialsError, TVRemoteError
from tablevault.remotes.lfs.endpoint import SshAddress
from tablevault.remotes.lfs.transfer import open_transport
from tests.ports import free_port
from tests.remotes.conftest import pointer_of
from tests.remotes.lfs.test_http_transport import fetch, push

SBIN = os.defpath + os.pathsep + os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"


class Host:
    """A running sshd, and the folder of programs that its users find."""

    def __init__(self, folder, port):
        self.folder = folder
        self.bin = folder / "bin"
        self.log = folder / "asked"
        self.url = f"ssh://{getpass.getuser()}@127.0.0.1:{port}"
        self.command = f"ssh -F {shlex.quote(str(folder / 'client'))}"

    def tell(self, *answers, code=0, text=""):
        """Let git-lfs-authenticate give these answers, one after the other, the last one always."""
        (self.folder / "answers").write_text(json.dumps(answers))
        program = self.bin / "git-lfs-authenticate"
        program.write_text(
            f"#!{sys.executable}\n"
            "import json, pathlib, sys\n"
            f"folder = pathlib.Path({str(self.folder)!r})\n"
            "with open(folder / 'asked', 'a') as file:\n"
            "    file.write(json.dumps(sys.argv[1:]) + '\\n')\n"
            "answers = json.loads((folder / 'answers').read_text())\n"
            "(folder / 'answers').write_text(json.dumps(answers[1:] or answers))\n"
            "answer = answers[0] if answers else ''\n"
            "print(answer if isinstance(answer, str) else json.dumps(answer))\n"
            f"print({text!r}, file=sys.stderr)\n"
            f"sys.exit({code})\n"
        )
        program.chmod(0o755)

    @property
    def asked(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory, program):
    """Run sshd; it accepts one key, which is made for it."""
    server, keygen = program("sshd", SBIN), program("ssh-keygen")
    program("ssh")
    folder = tmp_path_factory.mktemp("sshd")
    (folder / "bin").mkdir()
    for name in ("host", "key"):
        command = [keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    (folder / "authorized").write_text((folder / "key.pub").read_text())
    port = free_port()
    (folder / "server").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nPermitRootLogin yes\n"
        f"PasswordAuthentication no\nSetEnv PATH={folder}/bin:/usr/bin:/bin\n"
    )
    known = (folder / "host.pub").read_text()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {known}")
    (folder / "client").write_text(
        f"Host *\nIdentityFile {folder}/key\nIdentitiesOnly yes\nIdentityAgent none\n"
        f"UserKnownHostsFile {folder}/known\nGlobalKnownHostsFile none\nBatchMode no\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    command = [server, "-D", "-e", "-f", str(folder / "server")]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stderr=log) as process,
    ):
        for _ in range(1000):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.01)
        yield Host(folder, port)
        process.terminate()


@pytest.fixture
def host(sshd, here, monkeypatch):
    """Make the host the remote `origin` of `here`."""
    monkeypatch.setenv("GIT_SSH_COMMAND", sshd.command)
    sshd.log.unlink(missing_ok=True)
    (sshd.bin / "git-lfs-authenticate").unlink(missing_ok=True)
    here.git("remote", "add", "origin", f"{sshd.url}/srv/papers.git")
    return sshd


def test_the_host_tells_where_the_server_is_and_lets_us_in(
    here, host, servers, place, contents, monkeypatch
):
    server = servers()
    server.login = "RemoteAuth t0ken"
    href = f"{server.url}/info/lfs"
    host.tell({"href": href, "header": {"Authorization": server.login}, "expires_in": 600})
    made = contents(5)
    pointers = here.add(*made)
    assert push(here, pointers)[0].objects == 5
    assert host.asked == [["/srv/papers.git", "upload"]]
    there = place("there")
    there.git("remote", "add", "origin", f"{host.url}/srv/papers.git")
    assert fetch(there, pointers)[0].objects == 5
    assert host.asked[1] == ["/srv/papers.git", "download"]
    assert [there.read(pointer) for pointer in pointers] == made


def test_a_permission_that_runs_out_is_renewed(here, host, servers, contents):
    server = servers()
    href = f"{server.url}/info/lfs"
    host.tell(
        {"href": href, "header": {"Authorization": "old"}, "expires_in": 1},
        {"href": href, "header": {"Authorization": "new"}, "expires_in": 600},
    )
    server.login = "new"
    assert push(here, here.add(*contents(3)))[0].objects == 3
    assert len(host.asked) == 2


def test_a_permission_that_is_refused_is_renewed(here, host, servers, contents):
    server = servers()
    href = f"{server.url}/info/lfs"
    host.tell(
        {"href": href, "header": {"Authorization": "old"}},
        {"href": href, "header": {"Authorization": "new"}},
    )
    server.login = "new"
    assert push(here, here.add(*contents(3)))[0].objects == 3
    assert len(host.asked) == 2
    server.login = "newer"
    with pytest.raises(TVCredentialsError, match="does not accept"):
        push(here, here.add(*contents(1, seed=1)))


def test_a_host_that_only_tells_the_address_leaves_the_login_to_us(here, host, servers, contents):
    server = servers()
    server.login = "Basic YW5hOnB3"
    host.tell({"href": f"{server.url}/info/lfs", "header": {}})
    here.set("credential.helper", "!f() { echo username=ana; echo password=pw; }; f")
    assert push(here, here.add(*contents(1)))[0].objects == 1


def test_a_host_without_the_program_is_reported(here, host, contents):
    with pytest.raises(TVRemoteError, match=r"has no program git-lfs-authenticate") as caught:
        push(here, here.add(*contents(1)))
    assert "remote.<name>.lfsurl https://127.0.0.1/srv/papers.git/info/lfs" in str(caught.value)
    assert caught.value.host == "127.0.0.1"


def test_an_ssh_host_that_only_serves_git_is_reported(here, host, contents, monkeypatch):
    """git-shell refuses what it does not know with 128."""
    said = "fatal: unrecognized command 'git-lfs-authenticate x'"
    shell = f'ssh() {{ echo "{said}" >&2; return 128; }}; ssh'
    monkeypatch.setenv("GIT_SSH_COMMAND", shell)
    with pytest.raises(TVRemoteError, match=r"has no program git-lfs-authenticate"):
        push(here, here.add(*contents(1)))


def test_what_the_program_says_when_it_refuses_is_reported(here, host, contents):
    host.tell(code=1, text="no repository\x1b[31m like\nthat")
    with pytest.raises(TVRemoteError, match=r"failed \(1\): no repository"):
        push(here, here.add(*contents(1)))


@pytest.mark.parametrize("answer", ["", "hello", "[]", {"href": "file:///etc"}, {"href": 5}])
def test_an_answer_that_makes_no_sense_is_reported(here, host, contents, answer):
    host.tell(answer)
    with pytest.raises(TVRemoteError, match="is invalid"):
        push(here, here.add(*contents(1)))


def test_an_unknown_key_is_reported_and_nobody_is_asked(here, host, contents, monkeypatch):
    command = f"{host.command} -o IdentityFile=/nowhere -o IdentitiesOnly=yes -i /nowhere"
    monkeypatch.setenv("GIT_SSH_COMMAND", command.replace(str(host.folder / "client"), "/dev/null"))
    with pytest.raises(TVRemoteError, match=r"ssh to .* failed \(255\): .*[^.]\. Make"):
        push(here, here.add(*contents(1)))


def test_another_host_key_is_reported_and_nobody_is_asked(here, host, contents, monkeypatch):
    monkeypatch.setenv("GIT_SSH_COMMAND", f"{host.command} -o UserKnownHostsFile=/dev/null")
    with pytest.raises(TVRemoteError, match="Host key verification failed"):
        push(here, here.add(*contents(1)))


def test_an_ssh_that_hangs_is_not_waited_for_forever(here, host, contents, monkeypatch):
    monkeypatch.setattr("tablevault.remotes.programs._UNATTENDED_S", 0.5)
    monkeypatch.setenv("GIT_SSH_COMMAND", "sleep 1000; :")
    with pytest.raises(TVRemoteError, match=r"failed \(124\)"):
        push(here, here.add(*contents(1)))


def test_a_connection_that_stays_open_does_not_hold_us(here, host, servers, contents, monkeypatch):
    """The master of ControlPersist keeps what it inherited open."""
    server = servers()
    host.tell({"href": f"{server.url}/info/lfs"})
    path = host.folder / "m"
    options = f"-o ControlMaster=auto -o ControlPath={path} -o ControlPersist=1000"
    monkeypatch.setenv("GIT_SSH_COMMAND", f"{host.command} {options}")
    try:
        assert push(here, here.add(*contents(1)))[0].objects == 1
        assert path.exists()
    finally:
        subprocess.run([*host.command.split(), "-S", str(path), "-O", "exit", "x"], check=False)


# -- what is run ------------------------------------------------------------------------------


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Stand in for ssh where only its arguments matter, as a user may by GIT_SSH."""
    script, log = tmp_path / "my ssh", tmp_path / "ssh.log"
    script.write_text(f"#!/bin/sh\nprintf '%s\\0' \"$@\" > '{log}'\nexit 127\n")
    script.chmod(0o755)
    monkeypatch.delenv("GIT_SSH_COMMAND", raising=False)

    def arguments(here, url):
        log.unlink(missing_ok=True)
        with pytest.raises(TVRemoteError):
            open_transport(here.path, url, "download")
        return log.read_text().split("\0")[:-1] if log.exists() else None

    arguments.script = script
    return arguments


@pytest.mark.parametrize("by", ["GIT_SSH", "GIT_SSH_COMMAND", "core.sshCommand"])
def test_ssh_is_what_git_would_run(here, fake, by, monkeypatch):
    if by == "core.sshCommand":
        monkeypatch.setenv("GIT_SSH", "/nowhere")
        here.set(by, f"'{fake.script}' -v")
    elif by == "GIT_SSH":
        monkeypatch.setenv(by, str(fake.script))
    else:
        here.set("core.sshCommand", "/nowhere")
        monkeypatch.setenv(by, f"'{fake.script}' -v")
    more = [] if by == "GIT_SSH" else ["-v"]
    said = fake(here, "ssh://ana@host:2222/srv/x")
    assert said == [*more, "-p", "2222", "ana@host", "git-lfs-authenticate /srv/x download"]


@pytest.mark.parametrize(
    ("url", "command"),
    [
        ("ana@host:x.git", "git-lfs-authenticate x.git download"),
        ("ssh://host/~ana/x", "git-lfs-authenticate ~ana/x download"),
        ("ssh://host/a%20b;rm%20x", "git-lfs-authenticate '/a b;rm x' download"),
        ("host:$(touch x)", "git-lfs-authenticate '$(touch x)' download"),
        ("host:it's", "git-lfs-authenticate 'it'\"'\"'s' download"),
    ],
)
def test_a_path_is_one_word_for_the_shell_over_there(here, fake, monkeypatch, url, command):
    monkeypatch.setenv("GIT_SSH", str(fake.script))
    assert fake(here, url)[-1] == command


@pytest.mark.parametrize(
    "url", ["ssh://-oProxyCommand=touch/x", "-oProxyCommand=touch:x", "host:-x", "ssh://-a@host/x"]
)
def test_nothing_is_run_for_what_looks_like_an_option(here, fake, monkeypatch, url):
    monkeypatch.setenv("GIT_SSH", str(fake.script))
    assert fake(here, url) is None


def test_a_missing_ssh_is_reported(here, monkeypatch):
    monkeypatch.delenv("GIT_SSH_COMMAND", raising=False)
    monkeypatch.setenv("GIT_SSH", "/nowhere/ssh")
    with pytest.raises(TVRemoteError, match=r'"/nowhere/ssh" cannot be run: No such file'):
        open_transport(here.path, "host:x", "download")


def test_the_same_as_git_lfs_is_asked(here, host, lfs_arguments):
    """The path goes over as git-lfs writes it, for servers know it so."""
    host.tell({"href": "http://127.0.0.1:9/"})
    for url in (f"{host.url}/srv/x.git", f"{host.url}/x.git"):
        here.git("remote", "set-url", "origin", url)
        with closing(open_transport(here.path, "origin", "upload")):
            pass
        assert host.asked[-1] == lfs_arguments(here)


@pytest.fixture
def lfs_arguments(program, tmp_path):
    program("git-lfs")
    script, log = tmp_path / "spy", tmp_path / "spy.log"
    script.write_text(f"#!/bin/sh\nfor last; do :; done; echo \"$last\" >> '{log}'\nexit 127\n")
    script.chmod(0o755)

    def ask(here):
        content = b"of git-lfs"
        here.add(content)
        pointer = pointer_of(content)
        variables = {**os.environ, "GIT_SSH_COMMAND": str(script)}
        command = ["git", "-c", "lfs.transfer.maxretries=1", "lfs", "push", "origin"]
        subprocess.run(
            [*command, "--object-id", pointer.oid],
            cwd=here.path,
            env=variables,
            check=False,
            capture_output=True,
        )
        found = re.findall(r"^git-lfs-authenticate (.*)$", log.read_text(), re.MULTILINE)
        return found[-1].split()

    return ask


def test_a_place_knows_its_address_on_the_web():
    place = SshAddress(user="git", host="::1", port="22", path="/srv/x.git")
    assert place.web_url == "https://[::1]/srv/x.git"
    assert place.destination == "git@::1"
