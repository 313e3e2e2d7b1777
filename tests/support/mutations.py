"""Ways to spoil a JPEG file: bytes flipped, segments cut, doubled and swapped, sizes lied about."""

import random
from collections.abc import Callable, Sequence

from dctafd.jpeg.markers import parse_markers

Mutation = Callable[[bytearray, random.Random], None]

_INTERESTING = (0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 63, 64, 127, 128, 254, 255)
_MARKERS = (0xC0, 0xC1, 0xC2, 0xC4, 0xC9, 0xCC, 0xD0, 0xD3, 0xD8, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xE1, 0xEE)


def segment_spans(data: bytes | bytearray) -> list[tuple[int, int]]:
    """Return (start, end) of the marker segments up to the first one that does not parse, SOI left out."""
    spans, position = [], 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        if data[position + 1] == 0xD9:
            break
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if data[position + 1] == 0xDA:
            following = min(end, len(data))
            while following + 1 < len(data) and not (
                data[following] == 0xFF
                and data[following + 1] >= 0xC0
                and not 0xD0 <= data[following + 1] <= 0xD7
            ):
                following += 1
            spans += [(position, min(end, len(data))), (min(end, len(data)), following)]
            position = following
            continue
        spans.append((position, min(end, len(data))))
        position = end
    return [span for span in spans if span[1] > span[0]]


def flip_bytes(data: bytearray, rng: random.Random) -> None:
    """Overwrite a few bytes anywhere."""
    for _ in range(rng.choice((1, 2, 8))):
        data[rng.randrange(2, len(data))] = rng.randrange(256)


def flip_header_bytes(data: bytearray, rng: random.Random) -> None:
    """Overwrite a byte of a marker segment with a value at some limit."""
    start, end = rng.choice(segment_spans(data) or [(2, len(data))])
    data[rng.randrange(start, min(end, start + 40))] = rng.choice(_INTERESTING)


def lie_about_size(data: bytearray, rng: random.Random) -> None:
    """Change height, width or sampling factors of the frame header."""
    for marker in (0xC0, 0xC1, 0xC2, 0xC9):
        place = data.find(bytes([0xFF, marker]))
        if 0 <= place < len(data) - 12:
            kind = rng.randrange(3)
            if kind < 2:
                size = rng.choice((0, 1, 7, 8, 9, 255, 256, 1000, 4000, 65500, 65535))
                data[place + 5 + 2 * kind : place + 7 + 2 * kind] = size.to_bytes(2, "big")
            else:
                data[place + 11] = rng.choice((0x11, 0x12, 0x21, 0x22, 0x41, 0x14, 0x44, 0x00, 0x51))
            return


def cut(data: bytearray, rng: random.Random) -> None:
    """End the file early."""
    del data[rng.randrange(2, len(data)) :]


def drop_segment(data: bytearray, rng: random.Random) -> None:
    """Remove a segment or a piece of the entropy-coded data."""
    start, end = rng.choice(segment_spans(data) or [(2, len(data))])
    del data[start : rng.choice((end, rng.randrange(start, end) + 1))]


def double_segment(data: bytearray, rng: random.Random) -> None:
    """Repeat a segment, once or often."""
    start, end = rng.choice(segment_spans(data) or [(2, min(len(data), 100))])
    piece = bytes(data[start : min(end, start + 2000)])
    data[end:end] = piece * rng.choice((1, 2, 30))


def swap_segments(data: bytearray, rng: random.Random) -> None:
    """Exchange two segments."""
    spans = segment_spans(data)
    if len(spans) < 2:
        return
    (a, b), (c, d) = sorted(rng.sample(spans, 2))
    data[a:d] = data[c:d] + data[b:c] + data[a:b]


def insert_marker(data: bytearray, rng: random.Random) -> None:
    """Put a marker, with or without a short segment, anywhere."""
    place = rng.randrange(2, len(data))
    data[place:place] = bytes([0xFF, rng.choice(_MARKERS)]) + rng.choice((b"", b"\0\2", b"\0\4\0\1"))


MUTATIONS: Sequence[Mutation] = (
    flip_bytes,
    flip_bytes,
    flip_header_bytes,
    flip_header_bytes,
    lie_about_size,
    cut,
    drop_segment,
    double_segment,
    swap_segments,
    insert_marker,
)


def mutated(data: bytes, seed: int) -> bytes:
    """Return `data` after one to three mutations chosen by `seed`; it still starts with SOI."""
    rng = random.Random(seed)
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        if len(changed) < 20:
            break
        rng.choice(MUTATIONS)(changed, rng)
    return bytes(changed)


def damaged_scan(data: bytes, rng: random.Random) -> bytes:
    """Cut, overwrite, remove, repeat bytes of a scan, or put a restart marker into it."""
    scan = rng.choice([scan for scan in parse_markers(data).scans if scan.end > scan.start])
    place = rng.randrange(scan.start, scan.end)
    kind = rng.randrange(5)
    changed = bytearray(data)
    if kind == 0:
        return data[:place]
    if kind == 1:
        for _ in range(rng.choice([1, 5])):
            changed[rng.randrange(scan.start, scan.end)] = rng.randrange(256)
    elif kind == 2:
        del changed[place : min(scan.end, place + rng.randrange(1, 40))]
    elif kind == 3:
        changed[place:place] = changed[place : min(scan.end, place + 30)]
    else:
        changed[place:place] = bytes([0xFF, 0xD0 + rng.randrange(8)])
    return bytes(changed)
