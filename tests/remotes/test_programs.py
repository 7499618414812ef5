"""Programs that may ask a person."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tablevault.errors import TVRemoteError
from tablevault.remotes import programs
from tablevault.remotes.programs import run
from tests.looking import until


def test_a_program_is_given_text_and_heard(tmp_path):
    said = run(["sh", "-c", "cat; echo oops >&2; exit 3"], tmp_path, text="häh\n")
    assert (said.code, said.out, said.err) == (3, "häh\n".encode(), b"oops\n")
    assert "h" not in repr(said).replace("out", "").removeprefix("ProgramResult(code=3)")


def test_it_has_no_terminal_where_we_have_none(tmp_path):
    said = run(
        ["sh", "-c", "exec 3</dev/tty && echo terminal; echo $GIT_TERMINAL_PROMPT"], tmp_path
    )
    assert said.out == b"0\n" or b"tty" in said.err


@pytest.mark.parametrize("stream", [1, 2])
def test_what_two_programs_write_at_one_place_is_kept(tmp_path, stream):
    write = f"import os; os.lseek({stream}, 0, 0); os.write({stream}, b'a line\\n')"
    said = run(["sh", "-c", f'echo first >&{stream}; {sys.executable} -c "{write}"'], tmp_path)
    assert (said.out + said.err) == b"first\na line\n"


def test_it_need_not_listen(tmp_path):
    assert run(["true"], tmp_path, text="x" * 1_000_000).code == 0


def test_a_daemon_that_it_leaves_does_not_hold_us(tmp_path):
    said = run(["sh", "-c", "sleep 1000 & echo $!"], tmp_path)
    daemon = int(said.out)
    assert state_of(daemon) not in ("", "Z")
    os.kill(daemon, signal.SIGKILL)


def test_one_that_hangs_is_ended_with_its_children(tmp_path, monkeypatch, caplog):
    begun, wait = tmp_path / "begun", subprocess.Popen.communicate

    def communicate(*arguments, **more):
        until(begun.exists)
        return wait(*arguments, **more)

    monkeypatch.setattr(subprocess.Popen, "communicate", communicate)
    monkeypatch.setattr(programs, "_UNATTENDED_S", 0.3)
    said = run(["sh", "-c", f"sleep 1000 & echo $!; touch {begun}; wait"], tmp_path)
    assert said.code == 124
    assert "did not answer" in caplog.text
    child = int(said.out)
    # A process that nobody has waited for yet is still listed, as a zombie.
    until(lambda: state_of(child) in ("", "Z"))


def state_of(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_an_interrupt_ends_it_too(tmp_path):
    code = (
        "import subprocess, sys; from pathlib import Path\n"
        "from tablevault.remotes.programs import run\n"
        "here, communicate = Path(sys.argv[1]), subprocess.Popen.communicate\n"
        "def wait(process, *arguments, **more):\n"
        "    (here / 'pid').write_text(str(process.pid))\n"
        "    return communicate(process, *arguments, **more)\n"
        "subprocess.Popen.communicate = wait\n"
        "run(['sleep', '1000'], here)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stderr=subprocess.PIPE
    ) as process:
        pid = tmp_path / "pid"
        until(lambda: pid.exists() and pid.read_text())
        process.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in process.stderr.read()
    # Nobody waits for it any more: on some machines it stays listed as a zombie.
    until(lambda: state_of(int(pid.read_text())) in ("", "Z"))


def test_an_interrupt_that_wakes_nobody_ends_a_transfer(tmp_path):
    """It reaches another thread: the one that waits is not woken by it."""
    begun = tmp_path / "begun"

    def interrupt():
        until(begun.exists)
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run(["sh", "-c", f"touch {begun}; exec sleep 1000"], tmp_path, is_transfer=True)
    thread.join()


def test_a_missing_program_is_reported(tmp_path):
    with pytest.raises(TVRemoteError, match='program "no-such" cannot be run: No such file'):
        run(["no-such"], tmp_path)


def test_where_input_is_closed_there_is_nobody(monkeypatch):
    closed = io.StringIO()
    closed.close()
    for stream in (None, closed, io.StringIO()):
        monkeypatch.setattr(sys, "stdin", stream)
        assert not programs.is_terminal()


def test_threads_may_ask_at_once(tmp_path):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(run(["cat"], tmp_path, text="x").out))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"x"] * 8
