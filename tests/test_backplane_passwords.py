"""Passwords in the URL of a backplane: they may have any signs, and are never shown."""

import urllib.parse
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backplane_support import bridged, nats_server, redis_server
from fastwsh.backplane import engines
from fastwsh.config_error import ConfigError
from fastwsh.publish import main as publish
from waiting import wait_until


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "is no backplane"),
        ("redis", "it names no host"),
        ("redi", "is no backplane"),
        ("http://a", "is no backplane"),
        ("unix:", "is no backplane"),
        ("unix:///", "is no backplane"),
        (f"unix:/tmp/{'x' * 100}", "at most 103 bytes"),
        ("unix:/none/such/bus", "its folder does not exist"),
        ("redis://", "it names no host"),
        ("nats://:4222", "it names no host"),
        ("redis://a:x", "its port is no number"),
        ("redis://u:secret@a:x", "its port is no number"),
        ("redis://u:secret@a:65536", "its port is no number"),
        ("redis://u:secret", "its port is no number"),
        ("redis://:secret/secret@a", "write %2F, %3F and %23"),
        ("redis://u:sec/secret@a:1/0", "write %2F, %3F and %23"),
        ("redis://u:sec?secret@a", "write %2F, %3F and %23"),
        ("nats://u:sec#secret@a", "write %2F, %3F and %23"),
        ("redis://u:se[cret@a", "its host cannot be read"),
        ("redis://u:sec\u2100ret@a", "its host cannot be read"),
        ("nats://u:secret@a,nats://u:secret@b", "several hosts"),
        ("nats://u:secret@a/path", "mean nothing to NATS"),
        ("redis://u:secret@a/zero", "no number of a database"),
        ("redis://a?password=secret&db=x", "Invalid value for 'db'"),
        ("redis://a?password=secret&bogus=1", "does not know one of its words.*bogus"),
        ("redis://a?password=secret&cluster=1&bogus=1", "does not know one of its words.*bogus"),
        ("redis://u:secret@a/1?cluster=1", "'db' must be 0"),
        ("redis://u:secret@a?cluster=yes", "neither 0 nor 1"),
        ("redis://u:secret@a?decode_responses=1", "decode_responses cannot be chosen"),
        ("unix:a\0b", "no zero byte"),
    ],
)
def test_bad_urls_are_told_without_their_password(url: str, why: str):
    with pytest.raises(ConfigError, match=why) as raised:
        engines.check(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://:secret@h:1/0?a=b", "redis://:***@h:1/0?a=b"),
        ("nats://ann:s%40cret@h", "nats://ann:***@h"),
        ("redis://ann@h", "redis://ann@h"),
        # what stands alone is a token
        ("nats://secret@h:4222", "nats://***@h:4222"),
        ("tls://secret@h", "tls://***@h"),
        ("redis://[::1]:6379/3", "redis://[::1]:6379/3"),
        ("redis://:secret@[::1]:6379/3", "redis://:***@[::1]:6379/3"),
        ("redis://h?password=secret&db=1", "redis://h?password=***&db=1"),
        ("rediss://h/0?ssl_password=secret", "rediss://h/0?ssl_password=***"),
        # signs that nobody has escaped
        ("redis://:sec/ret@h", "redis://***@h"),
        ("redis://u:sec/ret@h:1/0?cluster=1", "redis://***@h:1/0?cluster=1"),
        ("redis://u:sec?ret@h", "redis://***@h"),
        ("redis://u:sec#ret@h", "redis://***@h"),
        ("redis://u:s@cret@h", "redis://***@h"),
        ("redis://u:secret", "redis://u:***"),
        ("redis:secret", "redis:***"),
        ("redis://:sec/ret", "redis://:***"),
        ("redis://[::1", "redis://***"),
        ("redis://u:sec[ret@h", "redis://u:***@h"),
        ("http://u:secret@h", "http://u:***@h"),
        ("unix:a:b@c?password=d", "unix:a:b@c?password=d"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str):
    assert engines.without_password(url) == shown
    assert engines.has_password(url) == (url != shown)


@given(
    st.sampled_from(["redis", "rediss", "nats", "tls", "http"]),
    st.sampled_from(["ann:", ":", ""]),
    st.text(min_size=1, max_size=12),
    st.sampled_from(["host", "[::1]:1", "h:1/0", "h/0?cluster=1&db=2", "h?client_name=a@b", ""]),
)
def test_no_password_is_shown_whatever_its_signs(scheme: str, user: str, text: str, place: str):
    if not user and scheme not in {"nats", "tls"}:
        # what stands alone is the name of a user
        user = ":"
    # in a token a colon would end the name of a user
    password = f"\u2020{text if user else text.replace(':', '')}\u2021"
    url = f"{scheme}://{user}{password}@{place}"
    shown = engines.without_password(url)
    assert "***" in shown
    assert not {"\u2020", "\u2021"} & set(shown)
    try:
        engines.check(url)
    except ConfigError as error:
        assert not {"\u2020", "\u2021"} & set(str(error))  # noqa: PT017 (few URLs are wrong)


@pytest.mark.parametrize("kind", ["redis", "nats"])
def test_wrong_password(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture):
    wrong = "x:wrong@"
    serving = (
        redis_server(tmp_path, "--requirepass", "right", user=wrong)
        if kind == "redis"
        else nats_server("--user", "x", "--pass", "right", user=wrong)
    )
    with serving as engine, bridged(engine.url, "ann"):
        wait_until(lambda: "No connection to the backplane" in caplog.text, "nothing is logged")
    assert "wrong" not in caplog.text
    assert ":***@" in caplog.text


@pytest.mark.parametrize("has_user", [True, False])
@pytest.mark.parametrize("kind", ["redis", "nats"])
def test_passwords_with_any_signs(tmp_path: Path, kind: str, has_user: bool):
    user, password = "us\u00e9r", "p@s/w:r?d#%25 &+\u00fc"
    escaped = urllib.parse.quote(password, safe="")
    login = f"{urllib.parse.quote(user)}:{escaped}@"
    if kind == "redis" and has_user:
        serving = redis_server(
            tmp_path, "--user", user, "on", f">{password}", "~*", "&*", "+@all", user=login
        )
    elif kind == "redis":
        serving = redis_server(tmp_path, "--requirepass", password, user=f":{escaped}@")
    elif has_user:
        serving = nats_server("--user", user, "--pass", password, user=login)
    else:
        # what stands alone is a token
        serving = nats_server("--auth", password, user=f"{escaped}@")
    with serving as engine:
        assert publish(["--backplane", engine.url, "t", "hello"]) == 0
