"""What the benchmarks read of /proc and of HTTP, and what they write for our fleet."""

import os
import sys
import time
import tomllib

import pytest

from benchmarks import about, client, proc
from benchmarks.peers import KINDS
from benchmarks.peers.aurora import toml

SMAPS = """\
55d0c0000000-7ffe00000000 ---p 00000000 00:00 0                          [rollup]
Rss:               20480 kB
Pss:               10240 kB
Pss_Dirty:          9000 kB
"""
TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2EE0 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0
   1: 0100007F:2EE0 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0 20 4 30 10 -1
   2: 0100007F:2EE1 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1 0 100 0 0 10 0
"""


def test_a_process_may_have_any_name() -> None:
    """Brackets and blanks in it do not move the state that stands behind it."""
    assert proc.state_in(b"12 (a) R (b) S 1 12 12 0 -1") == "S"
    assert proc.state_in(b"") == ""


def test_the_proportional_share_is_the_one_that_is_read() -> None:
    """In bytes; nothing of a process that is gone."""
    assert proc.pss_in(SMAPS) == 10240 * 1024
    assert proc.pss_in("") == 0


def test_only_listeners_count() -> None:
    """A connection of the same port, and a listener on another one, do not."""
    assert proc.listening_in(TCP, 12000) == {"111"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the clock's number is Linux's")
def test_the_clock_of_a_process_is_the_one_that_it_reads_itself() -> None:
    """It lies between two of our own readings."""
    first = time.process_time()
    read = proc.cpu_seconds(os.getpid())
    assert first <= read <= time.process_time()


@pytest.mark.parametrize(
    ("received", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Le", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1234", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\n\r\nhow long?", None),
    ],
)
def test_an_answer_is_whole_by_its_own_words(received: bytes, whole: object) -> None:
    """Without a length only the connection's end can tell."""
    assert client.answered(received) is whole


def test_a_connection_is_kept_where_both_versions_say_so() -> None:
    """1.1 keeps it unless told otherwise, 1.0 the other way round."""
    assert client.kept(b"HTTP/1.1 200 OK\r\n\r\n")
    assert not client.kept(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    assert not client.kept(b"HTTP/1.0 200 OK\r\n\r\n")
    assert client.kept(b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n\r\n")


def test_a_request_names_the_length_of_what_it_carries() -> None:
    """And nothing where it carries nothing."""
    assert client.request("/x") == b"GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    assert b"Content-Length: 3\r\n\r\nabc" in client.request("/x", body="abc", method="POST")


def test_our_fleet_file_is_toml() -> None:
    """Nested tables come out as they went in."""
    tables = {"fleet": {"builtin": False}, "system": {"a": {"command": 'x "y"', "depends_on": ["b"]}, "b": {"port": 1}}}
    assert tomllib.loads(toml(tables)) == tables


def test_the_processor_has_a_name() -> None:
    """Or is unknown."""
    assert about.processor("processor\t: 0\nmodel name\t: A: B\n") == "A: B"
    assert about.processor("") == "unknown"


def test_every_kind_of_peer_says_what_it_is_set_to() -> None:
    """For the page."""
    assert all(kind.notes and kind.name == name for name, kind in KINDS.items())
