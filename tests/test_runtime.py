"""What the hardware is asked, and that the answer is used as stated."""

import sys

import pytest

from simgan.runtime import has_fast_bfloat16, keep_freed_pages


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_the_allocator_can_be_told_on_linux():
    assert keep_freed_pages() is True


def test_the_probe_of_bfloat16_gives_one_answer_a_process():
    answer = has_fast_bfloat16()
    assert answer in (True, False)
    assert all(has_fast_bfloat16() is answer for _ in range(3))
