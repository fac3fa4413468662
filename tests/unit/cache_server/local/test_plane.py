import os
import select
import socket
import stat
import threading
import time
from pathlib import Path

import pytest

from cache_protocol.errors import DiskError
from cache_protocol.local import Question, ask
from cache_protocol.routes import DIGESTS
from cache_server.local import guest
from cache_server.local.place import listen
from cache_server.local.plane import FOR_ALL, FOR_US, LocalPlane, open_plane
from cache_server.local.register import Register
from cache_server.local.rights import Rights
from tests.fakes.local_peer import LEASE, LIMIT, local_node
from tests.fakes.reader import target as url
from tests.fakes.shelf import GENERATION, FakeShelf
from tests.fakes.weights import chunks

BODY = chunks(1, more=5)


@pytest.fixture
def node(tmp_path):
    with local_node(tmp_path) as node:
        node.shelf.add("w.dat", BODY)
        yield node


def settled(true) -> bool:
    deadline = time.monotonic() + LIMIT
    while not true() and time.monotonic() < deadline:
        time.sleep(0.001)
    return bool(true())


def test_who_may_read_a_file_is_lent_it_to_read(node):
    with node.peer() as peer:
        assert peer.ask(url("w.dat")) == {"size": len(BODY)}
        (fd,) = peer.fds
        assert os.pread(fd, len(BODY) + 1, 0) == BODY
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(fd, b"x")


def test_the_node_itself_keeps_no_descriptor_of_what_it_lends(node):
    path = str(node.shelf.find(GENERATION, "m", "w.dat").path)
    with node.peer() as peer:
        peer.ask(url("w.dat"))
        peer.ask(url("w.dat"))
        assert settled(lambda: _descriptors(path) == len(peer.fds) == 2)


def _descriptors(path: str) -> int:
    links = Path("/proc/self/fd").iterdir()
    return sum(os.path.lexists(link) and os.path.realpath(link) == path for link in links)


def test_a_file_that_is_not_whole_yet_is_not_lent_and_may_be_asked_for_again(node):
    file = node.shelf.add("new.dat", BODY, present={0})
    with node.peer() as peer:
        assert peer.ask(url("new.dat")) == {"size": None}
        assert not peer.fds
        file.land(1)
        file.confirm()
        assert peer.ask(url("new.dat")) == {"size": len(BODY)}


def test_a_disk_that_fails_is_an_answer(node, monkeypatch):
    file = node.shelf.find(GENERATION, "m", "w.dat")

    def fail():
        raise DiskError("w.dat: Input/output error")

    monkeypatch.setattr(file, "lend", fail)
    with node.peer() as peer:
        assert peer.ask(url("w.dat"))["code"] == "disk"


def test_without_a_lease_on_it_nothing_is_lent(node):
    node.leases["other"] = "f" * 32
    for lease in ("never-was", "other", ""):
        with node.peer() as peer:
            assert peer.ask(url("w.dat"), lease)["code"] == "generation-gone"
            assert not peer.fds


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (url("w.dat").replace("ticket=", "ticket=x"), "ticket"),
        (url("w.dat").partition("?")[0], "ticket"),
        (url("other.dat").replace("other", "w"), "ticket"),
        (url("w.dat", tenant="b").replace("tenant=b", "tenant=default"), "ticket"),
        (url("nothing.dat"), "malformed"),
        (url("w.dat", kind=DIGESTS), "malformed"),
        (url("w.dat", generation="f" * 32), "generation-gone"),
        ("/etc/passwd", "ticket"),
        ("\ud800", "ticket"),
    ],
)
def test_what_is_no_right_to_a_file_is_refused_and_a_stranger_has_to_go(node, target, code):
    with node.peer() as peer:
        answer = peer.ask(target)
        assert answer["code"] == code
        assert peer.hear() is None
        assert not peer.fds


def test_who_was_lent_something_may_ask_wrongly_once_and_go_on(node):
    with node.peer() as peer:
        peer.ask(url("w.dat"))
        assert peer.ask(url("nothing.dat"))["code"] == "malformed"
        assert peer.ask(url("w.dat")) == {"size": len(BODY)}


@pytest.mark.parametrize(
    "words", [b"GET / HTTP/1.1\r\n\r\n", b"\xff\xfe\n", b"{}\n", b"[1]\n", b"\n"]
)
def test_nonsense_is_refused(node, words):
    with node.peer() as peer:
        peer.say(words)
        assert peer.hear()["code"] == "malformed"
        assert peer.hear() is None


def test_a_line_without_end_ends_the_connection(node):
    with node.peer() as peer:
        with pytest.raises(OSError, match=r"Broken pipe|Connection reset"):  # noqa: PT012
            while True:
                peer.say(b"x" * 8192)
        assert settled(lambda: not node.register.guests)


def test_who_asks_for_nothing_has_to_go(node, monkeypatch):
    monkeypatch.setattr(guest, "STRANGER", 0.05)
    with node.peer() as peer:
        assert peer.hear() is None


def test_a_question_that_comes_byte_by_byte_has_to_be_whole_in_time(node, monkeypatch):
    monkeypatch.setattr(guest, "LINE_TIME", 0.2)
    with node.peer() as peer:
        peer.ask(url("w.dat"))
        peer.say(b"{")
        assert peer.hear() is None


def test_who_takes_no_answers_is_lent_nothing(node):
    with node.peer(greeted=False) as peer:
        peer.say(ask(Question(url("w.dat"), LEASE)))
        assert _hung_up(peer.sock)
        assert peer.hear() == {"warmline": "local", "version": 1}
        assert peer.hear()["code"] == "busy"
        assert peer.hear() is None
        assert not peer.fds


def _hung_up(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return bool(poll.poll(LIMIT * 1000))


def test_a_lease_that_ends_cuts_off_who_read_under_it(node):
    with node.peer() as reader, node.peer() as other:
        node.leases["another"] = GENERATION
        reader.ask(url("w.dat"))
        other.ask(url("w.dat"), "another")
        node.plane.look()
        del node.leases["another"]
        node.plane.look()
        assert other.hear() is None
        assert reader.ask(url("w.dat")) == {"size": len(BODY)}


def test_a_connection_is_for_one_lease_or_what_was_lent_first_would_not_end(node):
    with node.peer() as peer:
        node.leases["another"] = GENERATION
        peer.ask(url("w.dat"))
        assert "for one lease" in peer.ask(url("w.dat"), "another")["detail"]
        assert len(peer.fds) == 1
        del node.leases[LEASE]
        node.plane.look()
        assert peer.hear() is None


def test_too_many_are_told_so_and_those_that_are_there_go_on(tmp_path):
    with local_node(tmp_path, guests=2) as node:
        node.shelf.add("w.dat", BODY)
        with node.peer() as first, node.peer(), node.peer(greeted=False) as third:
            assert third.hear()["code"] == "busy"
            assert first.ask(url("w.dat")) == {"size": len(BODY)}


def test_one_user_cannot_take_every_place(tmp_path):
    with local_node(tmp_path, of_user=1) as node, node.peer(), node.peer(greeted=False) as second:
        assert f"user {os.getuid()} has 1" in second.hear()["detail"]


def test_a_tenant_has_as_many_connections_as_its_quota_says(tmp_path):
    limits = {"small": 1}
    with local_node(tmp_path, connections_of=limits.get) as node:
        node.shelf.add("w.dat", BODY)
        with node.peer() as first, node.peer() as second, node.peer() as third:
            assert first.ask(url("w.dat", tenant="small")) == {"size": len(BODY)}
            assert second.ask(url("w.dat", tenant="small"))["code"] == "quota"
            assert third.ask(url("w.dat", tenant="large")) == {"size": len(BODY)}


def test_a_place_is_free_again_when_its_peer_has_left(tmp_path):
    with local_node(tmp_path, guests=1) as node:
        node.peer().sock.close()
        assert settled(lambda: not node.register.guests)
        with node.peer():
            pass


def test_closing_ends_who_waits_and_who_reads(node):
    with node.peer() as idle, node.peer() as reader:
        reader.ask(url("w.dat"))
        node.plane.close()
        assert idle.hear() is None
        assert reader.hear() is None


def test_many_ask_side_by_side(node):
    failed: list[object] = []

    def read():
        with node.peer() as peer:
            for _ in range(20):
                answer = peer.ask(url("w.dat"))
                if answer != {"size": len(BODY)} or os.pread(peer.fds[-1], 9, 1) != BODY[1:10]:
                    failed.append(answer)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_the_socket_of_a_node_that_was_killed_is_replaced(tmp_path):
    listen(tmp_path / "socket", 0o600).close()  # leaves its name
    with local_node(tmp_path) as node, node.peer():
        pass


def test_where_another_node_listens_nobody_else_does(tmp_path):
    with local_node(tmp_path) as node:
        with pytest.raises(OSError, match="another node listens there"):
            listen(node.path, 0o600)
        with node.peer():
            pass


def test_what_is_no_socket_is_left_alone(tmp_path):
    (tmp_path / "socket").write_text("precious")
    with pytest.raises(FileExistsError, match="no socket"):
        listen(tmp_path / "socket", 0o600)
    assert (tmp_path / "socket").read_text() == "precious"


def test_a_path_that_is_longer_than_an_address_works(tmp_path):
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    with local_node(deep) as node, socket.socket(socket.AF_UNIX) as sock:
        fd = os.open(deep, os.O_PATH)
        sock.connect(f"/proc/self/fd/{fd}/{node.path.name}")
        os.close(fd)


def opened(where: str | None, root: Path) -> LocalPlane | None:
    rights = Rights(FakeShelf(root), dict, {}.get, time.time)  # type: ignore[arg-type]
    return open_plane(where, root, rights, Register())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_in_root_it_is_for_the_nodes_user_and_elsewhere_for_all_that_get_there(tmp_path):
    own, chosen = opened(None, tmp_path), opened(str(tmp_path / "chosen"), tmp_path)
    assert own is not None
    assert chosen is not None
    assert mode(tmp_path / "local.sock") == FOR_US
    assert mode(tmp_path / "chosen") == FOR_ALL
    own.close()
    chosen.close()


def test_off_means_that_there_is_none(tmp_path):
    assert opened("off", tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_a_root_without_room_for_a_socket_is_no_reason_not_to_start(tmp_path, caplog):
    (tmp_path / "local.sock").mkdir()
    assert opened(None, tmp_path) is None
    assert "read over the network" in caplog.text


def test_a_path_that_was_chosen_must_work(tmp_path):
    with pytest.raises(OSError, match="No such file or directory"):
        opened(str(tmp_path / "nowhere" / "socket"), tmp_path)
