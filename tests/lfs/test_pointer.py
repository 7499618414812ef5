"""Pointers, held against stock git-lfs."""

from __future__ import annotations

import hashlib
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault.lfs.pointer import EMPTY, LONGEST_POINTER, Pointer, decode_pointer
from tablevault.names import ObjectId

OID = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
TEXT = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 12345\n".encode()

pointers = st.builds(
    lambda content, size: Pointer(oid=ObjectId(hashlib.sha256(content).hexdigest()), size=size),
    st.binary(max_size=8),
    st.integers(1, 10**18),
)


def git_lfs_accepts(blob, tmp_path):
    """Return whether git-lfs takes `blob` for a canonical pointer."""
    file = tmp_path / "pointer"
    file.write_bytes(blob)
    command = ["git", "lfs", "pointer", "--check", "--strict", "--file", str(file)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("content", [b"a", b"\0" * 5000, b"x" * 70_000])
def test_a_pointer_is_what_git_lfs_makes_of_the_file(content, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(content)
    made = subprocess.run(
        ["git", "lfs", "pointer", f"--file={file}"], capture_output=True, check=True
    ).stdout
    pointer = Pointer(oid=ObjectId(hashlib.sha256(content).hexdigest()), size=len(content))
    assert pointer.encode() == made
    assert git_lfs_accepts(pointer.encode(), tmp_path)


def test_the_pointer_of_an_empty_file_is_empty():
    assert Pointer(oid=EMPTY, size=0).encode() == b""
    assert decode_pointer(b"") == Pointer(oid=EMPTY, size=0)
    assert hashlib.sha256(b"").hexdigest() == EMPTY


@given(pointers)
def test_a_pointer_is_read_as_it_was_written(pointer):
    blob = pointer.encode()
    assert decode_pointer(blob) == pointer
    assert len(blob) < LONGEST_POINTER


@pytest.mark.parametrize(
    "blob",
    [
        TEXT[:-1],
        TEXT + b"\n",
        TEXT.replace(b"\n", b"\r\n"),
        TEXT.replace(OID.encode(), OID.upper().encode()),
        TEXT.replace(b"12345", b"-1"),
        TEXT.replace(b"12345", b"1x"),
        TEXT.replace(b"12345", b""),
        TEXT.replace(b"sha256:", b"sha1:"),
        TEXT.replace(b"spec/v1", b"spec/v2"),
        TEXT.replace(b"size", b"x-extra 1\nsize"),
        b"\xef\xbb\xbf" + TEXT,
        TEXT + b" " * 1000,
        b"PAR1",
        b"\n",
    ],
)
def test_anything_else_is_no_pointer(blob, tmp_path):
    assert decode_pointer(blob) is None
    assert not git_lfs_accepts(blob, tmp_path)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(blob):
    pointer = decode_pointer(blob)
    assert pointer is None or pointer.encode() == blob
