"""The last lines of a log, and texts as Postgres can keep them."""

import io

from workers.logs import Tail, TailedStream, storable


def test_tail_keeps_the_last_lines_and_the_unfinished_one():
    tail = Tail(n_lines=2)
    for piece in ("one\ntw", "o\nthree\nfo", "ur"):
        tail.add(piece)
    assert tail.text() == "two\nthree\nfour"
    tail.clear()
    assert tail.text() is None


def test_tail_of_an_endless_line_stays_short():
    tail = Tail()
    for _ in range(100):
        tail.add("x" * 1000)
    assert len(tail.text()) == 2000


def test_stream_passes_everything_on_and_keeps_the_end():
    below, tail = io.StringIO(), Tail(n_lines=1)
    stream = TailedStream(below, tail)
    print("a\nb", file=stream)
    assert below.getvalue() == "a\nb\n"
    assert tail.text() == "b"


def test_stored_text_has_no_nul_no_lone_surrogate_and_is_not_too_long():
    assert storable("a\x00b\udcff") == "ab?"
    assert storable("12345", longest=3) == "345"
    assert storable(None) is None
