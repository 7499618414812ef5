"""What git says when it fails at a remote, as errors: the reason, the side, and what to do."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tablevault import clone_vault
from tablevault.errors import (
    TVCredentialsError,
    TVFileError,
    TVOutcomeUnknownError,
    TVRemoteError,
)
from tablevault.remotes.git_errors import explain, read_failure
from tests.clones import BO, path_of, write
from tests.looking import check_clean
from tests.looking import git as stock
from tests.remotes.lfs.test_server import sshd  # noqa: F401 - a fixture
from tests.remotes.test_git_refs import hook, refs

HEAD = "refs/heads/main"


def furnish(vault):
    """Make an instance."""
    vault.create_table("t")
    write(vault, [1])


@pytest.fixture
def ana(copy_of, tmp_path, bare):
    """Return a vault with an instance that was not pushed yet."""
    vault = copy_of(furnish, tmp_path / "ana")
    vault.add_remote("origin", bare)
    return vault


@pytest.fixture
def ahead(ana):
    """Return a vault that was pushed, and has one more table since."""
    ana.push()
    ana.create_table("u")
    return ana


def aim(vault, url):
    """Return the remote another address."""
    stock(path_of(vault), "remote", "set-url", "origin", str(url))


def fault(operation, kind=TVRemoteError):
    """Return the text of the error that an operation ends with."""
    with pytest.raises(kind) as caught:
        operation()
    assert type(caught.value) is kind
    return str(caught.value)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return unused.getsockname()[1]


class TestRefusals:
    """The host has reasons of its own, and these reach whoever pushes."""

    def test_the_words_of_a_hook_are_reported(self, ana, bare):
        hook(bare, "pre-receive", "cat >/dev/null; echo only team blue >&2; echo ask Bo; exit 1")
        text = fault(ana.push)
        assert "refuses: pre-receive hook declined" in text
        assert "It says: only team blue / ask Bo." in text

    def test_a_protected_branch_is_named(self, ahead, bare):
        hook(bare, "update", 'echo "GH006: Protected branch update failed for $1." >&2; exit 1')
        text = fault(ahead.push)
        assert f"hook declined ({HEAD}). It says: GH006: Protected branch update failed" in text

    def test_words_that_would_steer_a_terminal_are_spelled(self, ana, bare):
        hook(bare, "pre-receive", r"cat >/dev/null; printf '\033[2Jgone\n' >&2; exit 1")
        text = fault(ana.push)
        assert "\x1b" not in text
        assert r"\x1b[2Jgone" in text

    def test_a_limit_of_size_is_reported(self, ana, bare):
        stock(bare, "config", "receive.maxInputSize", "500")
        assert "does not accept a push of this size" in fault(ana.push)

    def test_a_ref_in_the_way_is_named(self, ana, bare, tmp_path):
        stock(tmp_path, "init", "-q", "w")
        stock(tmp_path / "w", "commit", "-q", "--allow-empty", "-m", "x")
        stock(tmp_path / "w", "push", "-q", str(bare), "HEAD:refs/tags/t")
        text = fault(ana.push)
        assert 'has the ref "refs/tags/t", which is in the way of "refs/tags/t/base_' in text
        assert "git push origin :refs/tags/t" in text

    def test_what_was_taken_all_the_same_is_named(self, ana, bare):
        stock(bare, "config", "receive.hideRefs", "refs/tags")
        text = fault(ana.push)
        assert "deny updating a hidden ref (refs/tags/t/base_" in text
        assert f"It has accepted {HEAD}" in text
        assert refs(bare) == refs(path_of(ana), HEAD)

    def test_a_lock_that_was_left_there_is_named(self, ahead, bare):
        (bare / "refs/heads/main.lock").touch()
        text = fault(ahead.push)
        assert 'hub.git/./refs/heads/main.lock". If no git command runs there' in text


class TestRemovals:
    """A remote that keeps what is no more keeps nobody from pushing."""

    def test_the_rest_is_pushed_where_nothing_may_be_deleted(self, ahead, bare):
        ahead.create_instance("t", version="draft", external_edit=True)
        ahead.push(temp=True)
        ahead.delete_instance("TEMP_draft", "t")
        stock(bare, "config", "receive.denyDeletes", "true")
        report = ahead.push()
        assert report.kept == ("refs/heads/temp/t/draft",)
        assert "It does not allow to remove refs/heads/temp/t/draft." in str(report)
        assert refs(bare, HEAD) == refs(path_of(ahead), HEAD)

    def test_there_is_nothing_else_to_push(self, ahead, bare):
        ahead.create_instance("t", version="draft", external_edit=True)
        ahead.push(temp=True)
        ahead.delete_instance("TEMP_draft", "t")
        hook(bare, "update", f"[ $1 = {HEAD} ]")
        ahead.push()
        assert str(ahead.push()).startswith("origin is up to date. It does not allow to remove")


class TestWithoutAtomicPushes:
    """Hosts that move each ref for itself: ``main`` is the last one."""

    @pytest.fixture(autouse=True)
    def single(self, bare):
        stock(bare, "config", "receive.advertiseAtomic", "false")

    def test_everything_arrives(self, ana, bare, tmp_path):
        report = ana.push()
        assert set(report.refs) == refs(bare).keys()
        assert clone_vault(bare, tmp_path / "bo", BO).get_dataframe("t")[0]["n"].tolist() == [1]
        assert str(ana.push()) == "origin is up to date."

    def test_main_moves_last(self, ana, bare, tmp_path):
        order = tmp_path / "order"
        hook(bare, "update", f"echo $1 >> '{order}'")
        ana.push()
        moved = order.read_text("utf-8").split()
        assert moved[-1] == HEAD
        assert len(moved) == 2

    def test_main_stays_when_another_ref_is_refused(self, ana, bare):
        hook(bare, "update", f"[ $1 = {HEAD} ] || {{ echo no tags >&2; exit 1; }}")
        assert "It says: no tags." in fault(ana.push)
        assert refs(bare) == {}

    def test_what_has_moved_before_main_was_refused_is_reported(self, ana, bare):
        closed = hook(bare, "update", f"[ $1 != {HEAD} ] || {{ echo closed >&2; exit 1; }}")
        text = fault(ana.push)
        assert "It says: closed. It has accepted refs/tags/t/base_" in text
        assert ", and main is where it was" in text
        closed.unlink()
        assert ana.push().refs == (HEAD,)

    def test_what_is_no_more_is_removed(self, ahead, bare):
        ahead.create_instance("t", version="draft", external_edit=True)
        ahead.push(temp=True)
        ahead.delete_instance("TEMP_draft", "t")
        ahead.push()
        assert "refs/heads/temp/t/draft" not in refs(bare)

    def test_what_may_not_be_removed_stays(self, ahead, bare):
        ahead.create_instance("t", version="draft", external_edit=True)
        ahead.push(temp=True)
        ahead.delete_instance("TEMP_draft", "t")
        stock(bare, "config", "receive.denyDeletes", "true")
        assert ahead.push().kept == ("refs/heads/temp/t/draft",)
        assert refs(bare, HEAD) == refs(path_of(ahead), HEAD)


class TestStrangeRepositories:
    """At the address is something, and it is not what a vault can be pushed to."""

    def test_one_with_sha256_names(self, ana, bare, tmp_path, git):
        shutil.rmtree(bare)
        git(tmp_path, "init", "-q", "--bare", "--object-format=sha256", str(bare))
        text = fault(ana.push)
        assert "sha256 object names, and a vault has sha1" in text
        assert "push again" not in text.lower()

    def test_one_with_sha256_names_and_history(self, ana, bare, tmp_path, git):
        shutil.rmtree(bare)
        git(tmp_path, "init", "-q", "--bare", "--object-format=sha256", str(bare))
        git(tmp_path, "init", "-q", "-b", "main", "--object-format=sha256", "w")
        git(tmp_path / "w", "commit", "-q", "--allow-empty", "-m", "x")
        git(tmp_path / "w", "push", "-q", str(bare), "main")
        for operation in (ana.push, ana.pull, lambda: clone_vault(bare, tmp_path / "c", BO)):
            assert "sha256 object names" in fault(operation)

    def test_one_of_another_user(self, ahead, bare):
        if os.geteuid() != 0:
            pytest.skip("only root can give files away")
        for folder, _, names in os.walk(bare):
            for name in ("", *names):
                os.chown(Path(folder) / name, 12345, 12345)
        for operation in (ahead.push, ahead.pull):
            text = fault(operation)
            assert "belongs to another user" in text
            assert f'git config --global --add safe.directory "{bare}"' in text

    def test_one_with_broken_settings(self, ahead, bare):
        (bare / "config").write_text("[broken\n", "utf-8")
        text = fault(ahead.pull)
        assert "cannot be used: bad config line 1 in file ./config." in text
        assert "Check the address, and whether you may read it." in text

    @pytest.mark.parametrize("there", ["nothing", "a folder"])
    def test_none_at_all(self, ana, bare, there):
        shutil.rmtree(bare)
        if there == "a folder":
            bare.mkdir()
        for operation in (ana.push, ana.pull):
            text = fault(operation)
            assert f'is not a git repository: there is none at "{bare}"' in text
            assert "network" not in text

    def test_a_shallow_one(self, ahead, bare, tmp_path):
        ahead.push()
        stock(tmp_path, "clone", "-q", "--bare", "--depth", "1", f"file://{bare}", "shallow.git")
        text = fault(lambda: clone_vault(tmp_path / "shallow.git", tmp_path / "c", BO))
        assert "is a shallow clone" in text
        assert not (tmp_path / "c").exists()


class TestDamage:
    """Git stops at a damaged file, and the error says on which side it lies."""

    @pytest.mark.parametrize("folder", ["refs", "refs/heads", "refs/remotes/origin"])
    def test_a_stray_file_among_our_refs_is_named(self, ahead, folder):
        ahead.push()
        stray = path_of(ahead) / ".git" / folder / "desktop.ini"
        stray.parent.mkdir(exist_ok=True, parents=True)
        stray.write_text("[.ShellClassInfo]\n", "utf-8")
        text = fault(ahead.pull, TVFileError)
        assert f'The file ".git/{folder}/desktop.ini" of this vault contains no commit id' in text
        assert "Delete it" in text
        stray.unlink()
        ahead.pull()
        check_clean(path_of(ahead))

    def test_a_stray_file_among_their_refs_is_named(self, ahead, bare):
        (bare / "refs/heads/desktop.ini").write_text("[.ShellClassInfo]\n", "utf-8")
        text = fault(ahead.push)
        assert 'Remote "origin" has a damaged ref: the file "refs/heads/desktop.ini"' in text
        assert "Delete it there" in text

    def test_packed_refs_of_ours(self, ahead):
        stock(path_of(ahead), "pack-refs", "--all")
        packed = path_of(ahead) / ".git/packed-refs"
        packed.write_text(packed.read_text("utf-8") + "xx garbage\n", "utf-8")
        text = fault(ahead.pull, TVFileError)
        assert 'The file ".git/packed-refs" of this vault is damaged' in text

    def test_a_branch_of_theirs_that_names_nothing(self, ahead, bare):
        (bare / HEAD).write_text("zzz\n", "utf-8")
        assert "one of its branches refers to commit 0000" in fault(ahead.pull)

    def test_objects_of_theirs_that_are_gone(self, ahead, bare, tmp_path):
        for path in (bare / "objects").rglob("*"):
            if path.is_file():
                path.unlink()
        text = fault(lambda: clone_vault(bare, tmp_path / "c", BO))
        assert "is damaged: one of its branches refers to commit" in text

    def test_a_lock_that_was_left_here(self, ahead, bare, tmp_path):
        bo = clone_vault(bare, tmp_path / "bo", BO)
        ahead.pull()
        bo.create_table("w")
        bo.push()
        lock = path_of(ahead) / ".git/refs/remotes/origin/main.lock"
        lock.touch()
        text = fault(ahead.pull, TVFileError)
        assert f'This vault is locked by the file "{lock}"' in text
        lock.unlink()
        ahead.pull()


class TestAddresses:
    """An address that leads nowhere says why."""

    @pytest.mark.parametrize("scheme", ["s3", "htps"])
    def test_a_scheme_that_git_does_not_know(self, ana, scheme, monkeypatch):
        monkeypatch.delenv("GIT_ALLOW_PROTOCOL")
        aim(ana, f"{scheme}://host/x")
        assert f'begins with "{scheme}://", which git does not know' in fault(ana.pull)

    def test_a_protocol_that_is_not_allowed(self, ana, monkeypatch):
        monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "https")
        assert 'has an address for "file", which git must not use here' in fault(ana.pull)

    def test_an_address_that_runs_a_program(self, ana):
        aim(ana, "ext::sh -c true")
        assert 'has an address for "ext", which git must not use here' in fault(ana.pull)

    @pytest.mark.parametrize("url", ["https://nobody.invalid/x.git", "git@nobody.invalid:x.git"])
    def test_a_host_without_an_address(self, ana, url):
        aim(ana, url)
        assert re.search("cannot be reached: .*Could not resolve host", fault(ana.pull))

    @pytest.mark.parametrize("scheme", ["http", "ssh"])
    def test_a_host_that_does_not_listen(self, ana, scheme):
        aim(ana, f"{scheme}://127.0.0.1:{free_port()}/x.git")
        assert "cannot be reached: " in fault(ana.pull)


class TestHttp:
    """Answers of a web server, and of what stands before it."""

    @pytest.mark.parametrize(
        ("status", "kind", "text"),
        [
            (403, TVCredentialsError, "denies access (403). It says: suspended."),
            (
                404,
                TVRemoteError,
                "does not exist, or you have no access to it. It says: suspended.",
            ),
            (429, TVRemoteError, "answers with error 429. It says: suspended. Try again later."),
            (503, TVRemoteError, "answers with error 503. It says: suspended. Try again later."),
        ],
    )
    def test_the_status_and_the_words_are_reported(self, ana, servers, status, kind, text):
        server = servers()
        server.refuse("GET", "/", status, body=b"suspended", Content_Type="text/plain")
        aim(ana, server.url)
        for operation in (ana.push, ana.pull):
            assert text in fault(operation, kind)

    def test_there_is_nobody_to_ask_for_a_login(self, ana, servers):
        server = servers()
        server.refuse("GET", "/", 401, WWW_Authenticate='Basic realm="x"')
        aim(ana, server.url)
        assert "wants a login, and there is no terminal" in fault(ana.pull, TVCredentialsError)

    def test_a_login_that_is_wrong_is_not_shown(self, ana, servers):
        server = servers()
        server.refuse("GET", "/", 401, WWW_Authenticate='Basic realm="x"')
        aim(ana, server.url.replace("://", "://ana:s3cret@"))
        text = fault(ana.pull, TVCredentialsError)
        assert "does not accept your login" in text
        assert "s3cret" not in text

    def test_a_proxy_that_refuses(self, ana, servers):
        server = servers()
        server.refuse("GET", "/", 407)
        aim(ana, "http://example.invalid/x.git")
        stock(path_of(ana), "config", "http.proxy", server.root)
        assert "the proxy refuses (407)" in fault(ana.pull)

    def test_a_server_that_lets_nobody_push(self, ana, real_server, git):
        url, root = real_server()
        path = root / "git/ana/hub.git"
        path.mkdir(parents=True)
        git(path, "init", "-q", "--bare", "-b", "main")
        git(path, "config", "http.receivepack", "false")
        aim(ana, f"{url}/ana/hub.git")
        assert "denies access (403)" in fault(ana.push, TVCredentialsError)


class TestSsh:
    """What ssh says before git speaks at all."""

    @pytest.fixture
    def host(self, ana, bare, sshd, monkeypatch):  # noqa: F811 - the fixture
        monkeypatch.setenv("GIT_SSH_COMMAND", sshd.command)
        aim(ana, f"{sshd.url}{bare}")
        stock(path_of(ana), "config", "lfs.url", f"file://{bare}")
        return sshd

    @pytest.fixture
    def client(self, host, tmp_path, monkeypatch):
        """Let ssh use settings in which something is another one."""

        def change(old, new):
            path = tmp_path / "client"
            path.write_text((host.folder / "client").read_text("utf-8").replace(old, new), "utf-8")
            monkeypatch.setenv("GIT_SSH_COMMAND", f"ssh -F {path}")

        return change

    def test_a_key_that_it_does_not_know(self, ana, host, client, tmp_path):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")]
        subprocess.run(command, check=True)
        client(str(host.folder / "key"), str(tmp_path / "other"))
        assert "accepts none of your ssh keys" in fault(ana.pull, TVCredentialsError)

    def test_a_key_that_others_may_read(self, ana, host, client, tmp_path):
        key = tmp_path / "open"
        shutil.copy(host.folder / "key", key)
        key.chmod(0o644)
        client(str(host.folder / "key"), str(key))
        assert f'chmod 600 "{key}"' in fault(ana.pull, TVCredentialsError)

    def test_a_host_that_is_not_known(self, ana, host, client):
        client(str(host.folder / "known"), str(host.folder / "nowhere"))
        assert "whose ssh key is not known here" in fault(ana.pull)

    def test_a_host_whose_key_has_changed(self, ana, host, client, tmp_path):
        port = host.url.rpartition(":")[2]
        other = (host.folder / "key.pub").read_text("utf-8")
        (tmp_path / "changed").write_text(f"[127.0.0.1]:{port} {other}", "utf-8")
        client(str(host.folder / "known"), str(tmp_path / "changed"))
        text = fault(ana.pull)
        assert f'the host "[127.0.0.1]:{port}", whose ssh key has changed' in text
        assert "@@@" not in text

    def test_no_repository_over_there(self, ana, host):
        aim(ana, f"{host.url}/nowhere.git")
        assert 'there is none at "/nowhere.git"' in fault(ana.pull)

    def test_a_login_that_prints(self, ana, host, tmp_path):
        noisy = hook(tmp_path, "noisy", 'echo "Welcome"; exec git-receive-pack "$@"')
        stock(path_of(ana), "config", "remote.origin.receivepack", str(noisy))
        assert 'its host prints "Welc..." before git can speak' in fault(ana.push)

    def test_a_host_that_gives_a_reason(self, ana, host, tmp_path):
        strict = hook(tmp_path, "strict", "printf '001fERR ana may not write here.'; exit 1")
        stock(path_of(ana), "config", "remote.origin.receivepack", str(strict))
        assert "refuses: ana may not write here. Ask who runs it." in fault(ana.push)

    def test_a_host_that_only_hangs_up(self, ana, host, tmp_path):
        silent = hook(tmp_path, "silent", "exit 0")
        stock(path_of(ana), "config", "remote.origin.uploadpack", str(silent))
        assert "the connection was closed without a message" in fault(ana.pull)


# Texts of git and ssh for what cannot be made to happen on one machine, as these programs print
# them (git 2.39, OpenSSH 9.2, gitolite, GitHub, GitLab).
TEXTS = [
    (
        (
            "error: RPC failed; HTTP 413 curl 22 The requested URL returned error: 413\n"
            "fatal: the remote end hung up unexpectedly\n"
        ),
        TVRemoteError,
        "does not accept a push of this size",
    ),
    (
        (
            "error: RPC failed; HTTP 502 curl 22 The requested URL returned error: 502\n"
            "send-pack: unexpected disconnect while reading sideband packet\n"
            "fatal: the remote end hung up unexpectedly\n"
        ),
        TVOutcomeUnknownError,
        "HTTP 502",
    ),
    (
        (
            "error: RPC failed; curl 28 Operation timed out after 300 seconds\n"
            "fatal: the remote end hung up unexpectedly\n"
        ),
        TVOutcomeUnknownError,
        "Operation timed out",
    ),
    (
        (
            "Read from remote host example.org: Connection timed out\n"
            "client_loop: send disconnect: Broken pipe\n"
            "fatal: the remote end hung up unexpectedly\n"
        ),
        TVOutcomeUnknownError,
        "Broken pipe",
    ),
    (
        (
            "fatal: unable to access 'https://example.org/x.git/': Failed to connect to example.org"
            " port 443 after 130000 ms: Connection timed out\n"
        ),
        TVRemoteError,
        "cannot be reached",
    ),
    (
        (
            "fatal: unable to access 'https://example.org/x.git/': Received HTTP code 407 from"
            " proxy after CONNECT\n"
        ),
        TVRemoteError,
        "the proxy refuses (407)",
    ),
    (
        (
            "fatal: unable to access 'https://example.org/x.git/': SSL certificate problem: unable"
            " to get local issuer certificate\n"
        ),
        TVRemoteError,
        "has no valid certificate",
    ),
    (
        (
            "ERROR: Repository not found.\nfatal: Could not read from remote repository.\n\n"
            "Please make sure you have the correct access rights\nand the repository exists.\n"
        ),
        TVRemoteError,
        "cannot be used: ERROR: Repository not found.",
    ),
    (
        (
            "remote: fatal: unable to write loose object file: No space left on device        \n"
            "error: remote unpack failed: unpack-objects abnormal exit\n"
        ),
        TVRemoteError,
        "has no space left on its disk",
    ),
    (
        (
            "remote: error: insufficient permission for adding an object to repository database"
            " ./objects        \nremote: fatal: failed to write object        \n"
        ),
        TVRemoteError,
        "cannot be written",
    ),
]


@pytest.mark.parametrize(("printed", "kind", "text"), TEXTS)
def test_a_text_has_its_meaning(tmp_path, printed, kind, text):
    error = explain(read_failure(printed.encode(), {}), "origin", tmp_path, is_push=True)
    assert type(error) is kind
    assert text in str(error)


def test_a_fetch_that_breaks_off_has_changed_nothing_there(tmp_path):
    failure = read_failure(b"fatal: early EOF\nfatal: fetch-pack: invalid index-pack output\n", {})
    assert type(explain(failure, "origin", tmp_path, is_push=False)) is TVRemoteError


def test_a_full_disk_here_is_not_one_there(tmp_path):
    failure = read_failure(b"fatal: write error: No space left on device\n", {})
    error = explain(failure, "origin", tmp_path, is_push=False)
    assert type(error) is TVFileError
    assert "cannot be written into this vault" in str(error)


def test_an_error_can_be_sent_to_another_process(ana, bare, python, finish):
    hook(bare, "pre-receive", "cat >/dev/null; echo no >&2; exit 1")
    script = (
        "import pickle, sys; from tablevault import TableVault\n"
        "try: TableVault(sys.argv[1], 'Ana').push()\n"
        "except Exception as error: print(pickle.loads(pickle.dumps(error)))"
    )
    assert "It says: no." in finish(python(script, path_of(ana)))
