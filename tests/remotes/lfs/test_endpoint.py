"""Where objects are: the same place as for git-lfs, but for what a committed file must not say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tablevault.errors import TVRemoteError
from tablevault.history.git.git_config import read_committed_settings, read_settings
from tablevault.remotes.lfs.endpoint import (
    BucketAddress,
    LocalAddress,
    SshAddress,
    WebAddress,
    classify,
    find_endpoint,
    find_remote,
    parse_bucket,
)

HERE = Path("/vault")


def endpoint(place, operation="download", remote="origin"):
    settings, committed = read_settings(place.path), read_committed_settings(place.path)
    found = find_remote(settings, remote, place.path)
    return find_endpoint(found, operation, settings, committed, place.path)


def url_of(place, **options):
    found = endpoint(place, **options).address
    return found.url if isinstance(found, WebAddress) else found


def url_of_git_lfs(place, remote="origin"):
    """Ask git-lfs, which only tells of downloads."""
    said = place.git("lfs", "env")
    name = "" if remote == "origin" else rf" \({re.escape(remote)}\)"
    return re.search(rf"^Endpoint{name}=(\S+) ", said, re.MULTILINE)[1]


@pytest.mark.parametrize(
    "url",
    [
        "https://host/ana/papers",
        "https://host/ana/papers/",
        "https://host/ana/papers.git",
        "http://host:8080/papers.git",
        "https://host/ana/papers.git/",
        "git://host/ana/papers.git",
    ],
)
def test_the_server_is_beside_the_repository(here, url):
    here.git("remote", "add", "origin", url)
    expected = url_of_git_lfs(here)
    if not url.startswith("git:"):
        assert url_of(here) == expected
    # git-lfs 3.3 leaves out "/info/lfs" here, and finds no server.
    assert url_of(here) in (expected, f"{expected}/info/lfs")


def test_settings_count_in_the_order_of_git_lfs(here):
    here.git("remote", "add", "origin", "https://host/x")
    here.git("remote", "add", "backup", "https://backup/x")
    config = here.path / ".lfsconfig"
    assert url_of(here) == url_of_git_lfs(here) == "https://host/x.git/info/lfs"
    config.write_text('[remote "origin"]\n\tlfsurl = https://committed/origin\n')
    assert url_of(here) == url_of_git_lfs(here) == "https://committed/origin"
    assert endpoint(here).is_committed
    here.set("remote.origin.lfsurl", "https://set/origin")
    assert url_of(here) == url_of_git_lfs(here) == "https://set/origin"
    assert not endpoint(here).is_committed
    assert url_of(here, remote="backup") == url_of_git_lfs(here, "backup")
    config.write_text("[lfs]\n\turl = https://committed/all\n")
    assert url_of(here) == url_of_git_lfs(here) == "https://committed/all"
    assert endpoint(here).is_committed
    here.set("lfs.url", "https://set/all")
    assert url_of(here) == url_of_git_lfs(here) == "https://set/all"
    assert not endpoint(here).is_committed
    assert url_of(here, remote="backup") == url_of_git_lfs(here, "backup") == "https://set/all"


def test_pushing_may_go_elsewhere(here):
    here.git("remote", "add", "origin", "https://host/x")
    here.set("remote.origin.pushurl", "https://push/x")
    up = {"operation": "upload"}
    assert url_of(here, **up) == "https://push/x.git/info/lfs"
    here.set("remote.origin.lfsurl", "https://lfs/x")
    assert url_of(here, **up) == "https://lfs/x"
    here.set("remote.origin.lfspushurl", "https://lfspush/x")
    assert url_of(here, **up) == "https://lfspush/x"
    here.set("lfs.url", "https://all/x")
    assert url_of(here, **up) == "https://all/x"
    (here.path / ".lfsconfig").write_text("[lfs]\n\tpushurl = https://committed/x\n")
    assert url_of(here, **up) == "https://committed/x"
    assert endpoint(here, "upload").is_committed
    here.set("lfs.pushurl", "https://allpush/x")
    assert url_of(here, **up) == "https://allpush/x"
    assert url_of(here) == "https://all/x"


def test_a_url_has_its_short_form(here):
    here.git("remote", "add", "origin", "lab:x")
    here.set("url.https://host/.insteadOf", "lab:")
    assert url_of(here) == url_of_git_lfs(here) == "https://host/x.git/info/lfs"
    here.set("lfs.url", "lab:lfs")
    assert url_of(here) == url_of_git_lfs(here) == "https://host/lfs"


@pytest.mark.parametrize(
    "value",
    ["file:///etc", "/etc", "../other", "ssh://host/x", "git@host:x", "ext::sh -c x", "git://h/x"],
)
@pytest.mark.parametrize("key", ["lfs.url", "lfs.pushurl", "remote.origin.lfsurl"])
def test_a_committed_file_names_no_place_but_on_the_web(here, key, value):
    here.git("remote", "add", "origin", "https://host/x")
    here.git("config", "--file", ".lfsconfig", key, value)
    with pytest.raises(TVRemoteError, match=rf'"\.lfsconfig" sets {key} .*set it yourself'):
        endpoint(here, "upload")


def test_other_keys_of_a_committed_file_have_no_effect(here):
    here.git("remote", "add", "origin", "https://host/x")
    (here.path / ".lfsconfig").write_text(
        '[remote "origin"]\n\turl = https://evil/x\n\tlfspushurl = https://evil/y\n'
        '[url "https://evil/"]\n\tinsteadOf = https://host/\n'
        "[core]\n\tsshCommand = touch /tmp/x\n[http]\n\tproxy = http://evil\n"
    )
    for operation in ("upload", "download"):
        assert url_of(here, operation=operation) == "https://host/x.git/info/lfs"


# -- kinds of URLs ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/srv/papers.git", "/srv/papers.git"),
        ("../papers", "/vault/../papers"),
        ("papers", "/vault/papers"),
        ("./a:b", "/vault/a:b"),
        ("file:///srv/a%20b", "/srv/a b"),
        ("file://localhost/srv/x", "/srv/x"),
    ],
)
def test_a_path_is_one_of_this_machine(url, path):
    assert classify(url, HERE) == LocalAddress(path=Path(path))


@pytest.mark.parametrize(
    ("url", "user", "host", "port", "path"),
    [
        ("git@host:ana/x.git", "git", "host", "", "ana/x.git"),
        ("host:/srv/x", "", "host", "", "/srv/x"),
        ("host:~ana/x", "", "host", "", "~ana/x"),
        ("git@[::1]:x", "git", "::1", "", "x"),
        ("[git@host:2222]:x", "git", "host", "2222", "x"),
        ("git@[host:2222]:x", "git", "host", "2222", "x"),
        ("ssh://host/srv/x", "", "host", "", "/srv/x"),
        ("ssh://git@host:2222/srv/a%20b", "git", "host", "2222", "/srv/a b"),
        ("ssh://git:pw@host/x", "git", "host", "", "/x"),
        ("ssh://git@[::1]:22/x", "git", "::1", "22", "/x"),
        ("ssh://host/~ana/x", "", "host", "", "~ana/x"),
        ("git+ssh://host/x", "", "host", "", "/x"),
        ("ana@lab@host:x", "ana@lab", "host", "", "x"),
        ("[ana@lab@host:22]:x", "ana@lab", "host", "22", "x"),
    ],
)
def test_an_ssh_host_is_taken_apart(url, user, host, port, path):
    assert classify(url, HERE) == SshAddress(user=user, host=host, port=port, path=path)


@pytest.mark.parametrize(
    "url",
    [
        "ssh://-oProxyCommand=touch x/y",
        "ssh://-x@host/y",
        "-oProxyCommand=x:y",
        "-x@host:y",
        "host:-y",
        "[-x:22]:y",
        "ssh://host:-1/x",
        "ssh://host:2x/x",
        "ssh:///x",
        "host:",
        "ssh://host%0aX/x",
        "ssh://host/x%0ay",
    ],
)
def test_what_a_program_would_take_for_an_option_is_refused(url):
    with pytest.raises(TVRemoteError, match="cannot be used"):
        place = classify(url, HERE)
        assert not place.host.startswith("-"), place


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c x",
        "foo::bar",
        "ftp://host/x",
        "rsync://h/x",
        "fd::17/x",
        "https:///x",
        "https://",
    ],
)
def test_other_kinds_are_named(url):
    with pytest.raises(TVRemoteError):
        classify(url, HERE)


@pytest.mark.parametrize("url", ["https://h/a\nb", "host:a\nb", "/a\nb", "https://h%0a/x"])
def test_a_control_character_is_in_no_url(url):
    with pytest.raises(TVRemoteError):
        found = classify(url, HERE)
        assert "\n" not in found.url


def test_a_login_in_a_url_is_kept_apart_and_never_shown():
    place = classify("https://ana:s%3Acret@host:8443/x?y", HERE)
    assert place.url == "https://host:8443/x?y"
    assert (place.login.username, place.login.password) == ("ana", "s:cret")
    assert "cret" not in repr(place)
    assert "ana" not in repr(place)


# -- names of remotes -------------------------------------------------------------------------


def test_a_remote_has_a_name_a_url_or_a_path(here, tmp_path):
    here.git("remote", "add", "origin", "https://host/x")
    settings = read_settings(here.path)
    assert find_remote(settings, "origin", here.path).name == "origin"
    for url in ("https://h/x", "host:x", "../x", str(tmp_path)):
        assert find_remote(settings, url, here.path).url == url
    (here.path / "folder").mkdir()
    assert find_remote(settings, "folder", here.path).url == "folder"
    with pytest.raises(TVRemoteError, match=r'no remote "orgin". There are: "origin"') as caught:
        find_remote(settings, "orgin", here.path)
    assert caught.value.remote == "orgin"
    with pytest.raises(TVRemoteError, match='no remote ""'):
        find_remote(settings, "", here.path)


def test_a_repository_without_remotes_says_how_to_add_one(here):
    with pytest.raises(TVRemoteError, match=r"add_remote\(.origin., url=...\)"):
        find_remote(read_settings(here.path), "origin", here.path)


# -- buckets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["lfs.url", "lfs.pushurl", "remote.origin.lfsurl"])
def test_a_committed_bucket_counts_once_it_is_confirmed(here, key):
    here.git("remote", "add", "origin", "https://host/x")
    here.git("config", "--file", ".lfsconfig", key, "s3://bucket/x/")
    with pytest.raises(TVRemoteError, match="Nobody has confirmed") as caught:
        endpoint(here, "upload")
    assert caught.value.bucket == "s3://bucket/x"
    here.set("tablevault.trustedbucket", "s3://bucket/x")
    assert endpoint(here, "upload").address == BucketAddress(bucket="bucket", prefix="x")


def test_a_bucket_that_git_is_configured_for_needs_no_confirmation(here):
    here.git("remote", "add", "origin", "https://host/x")
    here.set("remote.origin.lfsurl", "s3://bucket/x")
    assert endpoint(here).address == BucketAddress(bucket="bucket", prefix="x")


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket",
        "s3://bucket/a b/ü#1/%41+c",
        "s3://bucket/x?endpoint=http://127.0.0.1:9000",
        "s3://bucket?endpoint=https://minio.example.org/s3&region=eu-west-1",
    ],
)
def test_the_url_of_a_bucket_is_its_address(url):
    assert parse_bucket(url).url == url


def test_options_of_a_bucket_may_be_encoded():
    found = parse_bucket("s3://bucket?endpoint=http%3A%2F%2Fhost%3A9000%2F&region=lab-1")
    assert (found.endpoint, found.region) == ("http://host:9000", "lab-1")


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("s3:/bucket", "does not begin with s3://"),
        ("s3://", "no bucket can have the name ''"),
        ("s3://Bucket", "no bucket can have the name"),
        ("s3://-b-", "no bucket can have the name"),
        ("s3://user:pw@host/x", "no bucket can have the name"),
        ("s3://bucket//x", "the prefix '/x' has an empty part"),
        ("s3://bucket/../x", "dots alone"),
        ("s3://bucket/a\nb", "a control character"),
        ("s3://bucket?endpoint=file:///etc", "is not an http or https URL"),
        ("s3://bucket?endpoint=http://user:pw@host", "without a login"),
        ("s3://bucket?endpoint=http://host?x", "is not an http or https URL"),
        ("s3://bucket?region=../x", "no region can have the name"),
        ("s3://bucket?profile=root", "there is no option 'profile'"),
    ],
)
def test_an_address_that_is_no_bucket_is_refused(url, fault):
    with pytest.raises(TVRemoteError, match=re.escape(fault)):
        parse_bucket(url)
