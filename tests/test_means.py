"""What the machine lacks is said in words, beside the system's own."""

import errno
import os

import pytest

from aurora_circus import means


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no room is left on the disk ([Errno"),
        (errno.EROFS, "the file system is read-only ([Errno"),
        (errno.EFBIG, "the file may not grow any further (ulimit -f) ([Errno"),
        (errno.EMFILE, "this process has no file descriptor left (ulimit -n) ([Errno"),
    ],
)
def test_what_is_lacking_is_said(number: int, words: str) -> None:
    """With the number, the system's words and the file, for who searches for them."""
    error = OSError(number, os.strerror(number), "/x/y")
    assert means.told(error) == f"{words} {number}] {os.strerror(number)}: '/x/y')"
    assert means.lacks(error) is not None


@pytest.mark.parametrize("error", [OSError("nothing"), PermissionError(errno.EACCES, "Permission denied", "/x")])
def test_what_is_of_another_kind_is_left_as_it_is(error: OSError) -> None:
    """The system's own words."""
    assert means.told(error) == str(error)
    assert means.lacks(error) is None
