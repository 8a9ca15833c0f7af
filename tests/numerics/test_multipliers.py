"""Multipliers that are neither exact nor sums of patterns: tables from files, and REALM."""
import bridge as bridge_module
import numpy as np
import pytest

BRIDGE = bridge_module.load()
CODES = np.arange(256)


def pairs():
    return np.repeat(CODES, 256), np.tile(CODES, 256)


def write(path, table, kind):
    if kind == "text":
        np.savetxt(path, table, fmt="%d")
    elif kind == "csv":
        np.savetxt(path, table, fmt="%d", delimiter=",")
    else:
        path.write_bytes(table.astype({"16": "<u2", "f32": "<f4"}[kind]).tobytes())
    return path


def truncated(x, w):
    """A multiplier without the four lowest columns of partial products."""
    total = np.zeros(np.broadcast(x, w).shape, np.int64)
    for i in range(8):
        for j in range(8):
            if i + j >= 4:
                total += (((x >> i) & 1) * ((w >> j) & 1)) << (i + j)
    return total


@pytest.mark.parametrize("kind", ["text", "csv", "16", "f32"])
def test_unsigned_tables(kind, tmp_path):
    x, w = pairs()
    expected = truncated(x, w)
    path = write(tmp_path / f"mul8u.{kind}", expected.reshape(256, 256), kind)
    ours = BRIDGE.multiply(f"x=uint8/w=uint8/mul=table(file={path})", x, w).doubles()
    assert (ours == expected).all()


@pytest.mark.parametrize("kind", ["text", "16", "f32"])
def test_signed_tables(kind, tmp_path):
    """A product of zero that is not zero, too: tables have the last word."""
    x, w = pairs()
    signed = (np.where(x < 128, x, x - 256) * np.where(w < 128, w, w - 256)) | 5
    table = signed % 65536 if kind == "16" else signed
    path = write(tmp_path / f"mul8s.{kind}", table.reshape(256, 256), kind)
    ours = BRIDGE.multiply(f"x=int8/w=int8/mul=table(file={path})", x, w).doubles()
    assert (ours == signed).all() and ours[0] == 5


@pytest.mark.parametrize("content, word", [
    (b"", "0 bytes"), (b"\x00" * 131071, "131071 bytes"), (b"1 " * 65535, "65535 numbers"),
    (b"1 " * 65537, "65537 numbers"), (b"1 nan " + b"1 " * 65534, "not a finite number"),
    (b"1 two " + b"1 " * 65534, "'two'"), (b"1 1e39 " + b"1 " * 65534, "f32 does not hold"),
    (np.full(65536, np.nan, "<f4").tobytes(), "not a finite number")],
                         ids=["empty", "bytes", "few", "many", "nan", "word", "huge", "nans"])
def test_bad_tables(content, word, tmp_path):
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=word) as error:
        BRIDGE.multiply(f"x=int8/w=int8/mul=table(file={path})", [1], [1])
    assert str(path) in str(error.value)


@pytest.mark.parametrize("text, word", [
    ("x=int8/w=int8/mul=table", "file"), ("x=int8/w=int8/mul=table(file=/no/such)", "cannot"),
    ("x=e4m3/w=int8/mul=table(file={})", "8 bits"),
    ("x=int8@row(f32,minmax)/w=int8/mul=table(file={})", "zero point"),
    ("x=int9/w=int8/mul=table(file={})", "8 bits")])
def test_tables_that_do_not_fit(text, word, tmp_path):
    x, w = pairs()
    path = write(tmp_path / "table", (x * w).reshape(256, 256), "f32")
    with pytest.raises(ValueError, match=word):
        BRIDGE.multiply(text.format(path), [1], [1])


def realm(x, w, segments, bits):
    """REALM of mantissas 1 + xm, 1 + wm, constants by a grid finer than ours."""
    points = (np.arange(segments * 256) + 0.5) / (segments * 256)
    a, b = np.meshgrid(points, points, indexing="ij")
    product = (1 + a) * (1 + b)
    mitchell = np.where(a + b < 1, 1 + a + b, 2 * (a + b))
    blocks = lambda v: v.reshape(segments, 256, segments, 256).sum(axis=(1, 3))  # noqa: E731
    constant = blocks((product - mitchell) / product) / blocks(1 / product)
    constant = np.rint(constant * 2**bits) / 2**bits
    xm, wm = x - 1, w - 1
    c = constant[(xm * segments).astype(int), (wm * segments).astype(int)]
    return np.where(xm + wm < 1, 1 + xm + wm + c, 2 * (xm + wm + c / 2))


@pytest.mark.parametrize("segments, bits", [(1, 4), (4, 6), (8, 6), (16, 6)])
def test_realm(segments, bits):
    x, w = pairs()
    name = "e1m8nonenosubu"  # 1 + m/256 and its double
    codes = (x + 256, w + 256)
    xm, wm = 1 + x / 256, 1 + w / 256
    scale = BRIDGE.decode(name, [256]).doubles()[0]
    ours = BRIDGE.multiply(f"x={name}/w={name}/mul=realm(segments={segments},bits={bits}):f64",
                           *codes).doubles() / scale**2
    theirs = realm(xm, wm, segments, bits)
    # A constant may lie on the edge of a rounding for one grid and not for the other.
    assert (ours == theirs).mean() > 0.98
    relative = (ours - xm * wm) / (xm * wm)
    if segments >= 4:  # the paper's abstract: mean error 0.4 to 1.6 %, peak 2.08 to 7.4 %
        assert 0.0035 < np.abs(relative).mean() < 0.017
        assert np.abs(relative).max() < 0.075 and abs(relative.mean()) < 0.0006
