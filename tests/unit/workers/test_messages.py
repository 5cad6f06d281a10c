"""Messages between a worker and its slots, and the names of slots."""

import socket
import threading
from uuid import uuid4

import pytest

from workers.messages import Channel, Do, Say, SlotName


@pytest.fixture
def ends():
    links = socket.socketpair()
    channels = [Channel(link) for link in links]
    yield channels
    for channel in channels:
        channel.close()


def test_messages_arrive_whole_and_in_order(ends):
    a, b = ends
    texts = ["", "é\n" * 100_000, "last"]
    sender = threading.Thread(target=lambda: [a.send(Say.CLAIMED, text=text) for text in texts], daemon=True)
    sender.start()
    assert [b.receive(10) for _ in texts] == [{"kind": "claimed", "text": text} for text in texts]
    sender.join()


def test_receive_gives_none_where_nothing_comes_in_time(ends):
    assert ends[0].receive(0.01) is None


def test_end_of_the_other_side_raises_after_its_last_message(ends):
    a, b = ends
    a.send(Do.WORK)
    a.close()
    assert b.receive() == {"kind": "work"}
    with pytest.raises(EOFError):
        b.receive()
    assert not b.send(Say.IDLE)


def test_messages_of_several_threads_do_not_mix(ends):
    a, b = ends
    threads = [threading.Thread(target=lambda: [a.send(Say.IDLE, text="x" * 500) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert all(b.receive(5) == {"kind": "idle", "text": "x" * 500} for _ in range(200))
    for thread in threads:
        thread.join()


def test_slot_name_survives_the_command_line():
    name = SlotName(uuid4(), "gpu", 3)
    assert SlotName.from_arguments(name.to_arguments()) == name
    assert str(name) == f"worker {name.worker_id.hex[:8]} slot 3"
