"""Places to listen on: the notation of `--bind`, Unix sockets, and inherited descriptors."""

import argparse
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastwsh.config_error import ConfigError
from fastwsh.listening.listeners import descriptor, take_inherited
from fastwsh.listening.places import Place, Tcp, Unix, open_all, parse_bind


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1:80", Tcp("127.0.0.1", 80)),
        ("example.org:0", Tcp("example.org", 0)),
        ("[::1]:80", Tcp("::1", 80)),
        ("[fe80::1%eth0]:80", Tcp("fe80::1%eth0", 80)),
        (":80", Tcp("", 80)),
        ("unix:/run/x.sock", Unix("/run/x.sock")),
        ("unix:x.sock", Unix("x.sock")),
        ("unix:80", Tcp("unix", 80)),
    ],
)
def test_place_is_understood(text: str, place: Place):
    assert parse_bind(text) == place


@pytest.mark.parametrize("text", ["", "80", "localhost", "::1", "::1:80", "[::1]", "[::1]80"])
def test_place_is_not_understood(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match=r"host:port, \[IPv6 address\]:port"):
        parse_bind(text)


@pytest.mark.parametrize("text", ["h:", "h:http", "h:65536", "h:-1"])
def test_port_of_a_place_is_a_number(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a port number"):
        parse_bind(text)


@pytest.mark.parametrize("text", ["", "-1", "3000000000", "9" * 20, "9" * 5000])
def test_a_descriptor_is_a_number_that_the_system_can_have(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="is not the number of a descriptor"):
        descriptor(text)


def test_a_unix_socket_has_a_name():
    with pytest.raises(argparse.ArgumentTypeError, match="the path of the Unix socket is empty"):
        parse_bind("unix:")


@pytest.mark.parametrize("place", ["127.0.0.1:80", "[::1]:80", ":80", "unix:/x"])
def test_place_is_shown_as_it_was_given(place: str):
    assert str(parse_bind(place)) == place


class Opened:
    """What `open_all` returned; closes it."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []

    def __call__(self, **options: object) -> list[socket.socket]:
        opened = open_all(argparse.Namespace(request_queue_size=5, **options))
        sockets = [listener for listener, _ in opened]
        self.sockets += sockets
        return sockets


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Opens places, and closes them when the test ends."""
    opened = Opened()
    yield opened
    for listener in opened.sockets:
        listener.close()


def test_every_address_shares_the_port(opened: Opened):
    sockets = opened(bind=[Tcp("", 0)])
    assert len({listener.getsockname()[1] for listener in sockets}) == 1
    assert len({listener.family for listener in sockets}) == len(sockets)


def test_ipv4_and_ipv6_can_be_named_side_by_side(opened: Opened):
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    first = opened(bind=[Tcp("::", 0)])[0]
    opened(bind=[Tcp("0.0.0.0", first.getsockname()[1])])


def test_port_is_opened_only_if_it_was_given(opened: Opened, tmp_path: Path):
    path = str(tmp_path / "s")
    port = {"server_host": "127.0.0.1", "port": 0}
    assert len(opened(uds=path, port_is_named=False, **port)) == 1
    assert len(opened(uds=f"{path}2", port_is_named=True, **port)) == 2


def test_nothing_listens_if_one_place_cannot_be_had(opened: Opened, tmp_path: Path):
    path = tmp_path / "s"
    taken = opened(bind=[Tcp("127.0.0.1", 0)])[0].getsockname()[1]
    with pytest.raises(ConfigError) as caught:
        opened(bind=[Unix(str(path)), Tcp("127.0.0.1", taken)])
    assert not path.exists()
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{taken} ({os.strerror(errno.EADDRINUSE)}); name another place "
        "with --bind"
    )


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b", "192.0.2.1"])
def test_host_that_is_not_ours_is_an_error(opened: Opened, host: str):
    with pytest.raises(ConfigError, match=f"^cannot listen on {host}:0 "):
        opened(bind=[Tcp(host, 0)])


class TestUnixSocket:
    """The file of a Unix socket."""

    def test_goes_with_the_socket(self, opened: Opened, tmp_path: Path):
        path = tmp_path / "s"
        (listener,) = opened(uds=str(path))
        assert path.is_socket()
        listener.close()
        assert not path.exists()

    def test_goes_also_after_a_change_of_folder(
        self, opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.chdir(tmp_path)
        (listener,) = opened(uds="s")
        monkeypatch.chdir("/")
        listener.close()
        assert not (tmp_path / "s").exists()

    def test_of_another_server_stays(self, opened: Opened, tmp_path: Path):
        path = tmp_path / "s"
        (first,) = opened(uds=str(path))
        path.unlink()
        opened(uds=str(path))
        first.close()
        assert path.is_socket()

    def test_is_replaced_when_nobody_listens(self, opened: Opened, tmp_path: Path):
        path = tmp_path / "s"
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        opened(uds=str(path))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))

    def test_is_an_error_when_somebody_listens(self, opened: Opened, tmp_path: Path):
        path = tmp_path / "s"
        opened(uds=str(path))
        with pytest.raises(ConfigError, match=r"\(another server listens there\); .* with --uds$"):
            opened(uds=str(path))
        assert path.is_socket()

    def test_never_replaces_another_file(self, opened: Opened, tmp_path: Path):
        path = tmp_path / "s"
        path.write_text("precious", encoding="utf-8")
        with pytest.raises(ConfigError, match="the file exists and is no socket"):
            opened(uds=str(path))
        assert path.read_text(encoding="utf-8") == "precious"

    @pytest.mark.parametrize(
        ("name", "reason"), [("none/s", "No such file or directory"), ("x" * 200, "too long")]
    )
    def test_cannot_be_made(self, opened: Opened, tmp_path: Path, name: str, reason: str):
        with pytest.raises(ConfigError, match=reason):
            opened(bind=[Unix(f"{tmp_path}/{name}")])


class TestInheritedDescriptor:
    """`--fd`: sockets that somebody else opened."""

    @staticmethod
    def number(listener: socket.socket) -> int:
        """A duplicate, which the server takes over."""
        return os.dup(listener.fileno())

    def test_of_a_listening_socket(self, opened: Opened):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            number = self.number(listener)
            os.set_inheritable(number, True)
            (adopted,) = opened(fd=[number, number])
            assert adopted.getsockname() == listener.getsockname()
            assert not adopted.get_inheritable()

    def test_of_a_bound_socket_listens(self, opened: Opened):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            opened(fd=[self.number(listener)])
            assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1

    def test_of_a_unix_socket_leaves_its_file(self, opened: Opened, tmp_path: Path):
        path = tmp_path / "s"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            (adopted,) = opened(fd=[self.number(listener)])
            adopted.close()
            assert path.is_socket()

    @pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
    def test_of_a_socket_that_cannot_serve(self, opened: Opened, kind: socket.SocketKind):
        with socket.socket(type=kind) as unbound:
            number = self.number(unbound)
            with pytest.raises(ConfigError, match=rf"^cannot listen on descriptor {number} \("):
                opened(fd=[number])

    def test_of_a_file(self, opened: Opened, tmp_path: Path):
        with (
            (tmp_path / "f").open("w") as file,
            pytest.raises(ConfigError, match=os.strerror(errno.ENOTSOCK)),
        ):
            opened(fd=[file.fileno()])

    def test_that_is_closed(self, opened: Opened):
        with socket.socket() as listener:
            number = listener.fileno()
        with pytest.raises(ConfigError, match=r"\(Bad file descriptor\); .* with --fd$"):
            opened(fd=[number])


class TestListenFds:
    """LISTEN_FDS and LISTEN_PID, sd_listen_fds(3)."""

    def test_names_descriptors_from_3_on(self):
        environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}
        assert take_inherited(environ) == [3, 4]
        assert environ == {}

    def test_of_another_process_is_passed_over(self):
        environ = {"LISTEN_PID": "1", "LISTEN_FDS": "2", "PATH": "/bin"}
        assert take_inherited(environ) == []
        assert environ == {"PATH": "/bin"}

    def test_is_not_there(self):
        assert take_inherited({}) == []

    def test_is_no_number(self):
        with pytest.raises(ConfigError, match=r"^LISTEN_FDS='many' is not a number of sockets"):
            take_inherited({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many"})
