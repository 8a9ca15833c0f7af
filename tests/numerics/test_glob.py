"""Patterns of plans against Python's fnmatch, on random patterns and names."""
import fnmatch
import random

import bridge as bridge_module
import pytest

BRIDGE = bridge_module.load()


@pytest.mark.parametrize("alphabet, letters", [("ab*?", "ab"), ("ab*?[]!-", "ab-]["),
                                               ("abc[a-c]*[!", "abc"), ("kqv-0.*?", "kqv-0.")])
def test_as_fnmatch(alphabet, letters, seed, full_tier):
    """But for sets with a range that runs backwards, an empty one: Python 3.11 drops it before it
    looks for the set's '!', so '[b-a!x]' is '[!x]' to it; to us, as to POSIX, it is not negated."""
    assert BRIDGE.glob_matches("[b-a!x]", "!") and not fnmatch.fnmatchcase("x", "[b-a!x]")
    chance = random.Random(seed)
    matched = 0
    tries = 1000000 if full_tier else 30000
    for _ in range(tries):
        pattern = "".join(chance.choices(alphabet, k=chance.randrange(1, 9)))
        if any(b == "-" and a > c for a, b, c in zip(pattern, pattern[1:], pattern[2:])):
            continue
        name = "".join(chance.choices(letters, k=chance.randrange(0, 8)))
        expected = fnmatch.fnmatchcase(name, pattern)
        matched += expected
        assert BRIDGE.glob_matches(pattern, name) == expected, (pattern, name)
    assert matched > tries // 100


@pytest.mark.parametrize("pattern, name, expected", [
    ("blk.*.attn_q.weight", "blk.12.attn_q.weight", True),
    ("blk.?.attn_q.weight", "blk.12.attn_q.weight", False),
    ("blk.[0-3].*", "blk.2.ffn_up.weight", True),
    ("blk.[!0-3].*", "blk.2.ffn_up.weight", False),
    ("kq", "kq-0", False),
    ("kq*", "kqv-0", True),
    ("*", "", True),
    ("", "", True),
    ("[", "[", True),
    ("a[", "a[", True),
    ("[]]", "]", True),
    ("*.weight", "output.weight.weight", True),
    (".", "a", False),
])
def test_directed(pattern, name, expected):
    assert BRIDGE.glob_matches(pattern, name) == expected == fnmatch.fnmatchcase(name, pattern)
