from typing import Any

import numpy as np
import pytest

import dctafd
from dctafd.jpeg.huffman_tables import STANDARD_AC, STANDARD_DC
from dctafd.jpeg.markers import parse_markers
from dctafd.jpeg.structure import HuffmanSpec
from dctafd_native import entropy_tables as tables
from dctafd_native.entropy_data import find_restart, tail_space
from dctafd_native.entropy_segments import find_scan_end, unstuff
from dctafd_native.jit import kernel
from tests.native.reference_entropy import (
    Bits,
    code_table,
    decode_progressive_blocks,
    decode_sequential_block,
    segments,
)
from tests.support.jpeg_files import all_kinds, encode, photo_like

ONE_COMPONENT = {
    "gray": all_kinds()["gray"],
    "restarts": encode(photo_like(60, 40, 1), 95, restart_marker_blocks=7),
    "noise": encode(np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8), 100),
}


def given(spec: HuffmanSpec | None) -> HuffmanSpec:
    assert spec is not None
    return spec


@pytest.mark.parametrize("name", ONE_COMPONENT)
def test_sequential_scan_equals_the_flow_charts(name: str) -> None:
    data = ONE_COMPONENT[name]
    structure = parse_markers(data)
    scan = structure.scans[0]
    rows, columns = structure.frame.blocks[0]
    dc, ac = code_table(given(scan.dc_tables[0])), code_table(given(scan.ac_tables[0]))
    expected = np.zeros((rows * columns, 64), dtype=np.int16)
    parts = segments(data, scan)
    bits, prediction = next(parts), 0
    for number, block in enumerate(expected):
        if scan.restart_interval and number and number % scan.restart_interval == 0:
            bits, prediction = next(parts), 0
        prediction += decode_sequential_block(bits, dc, ac, block)
        block[0] = prediction
    found = dctafd.read(data, engine="numba").components[0].coefficients
    np.testing.assert_array_equal(found.reshape(-1, 64), expected)


@pytest.mark.parametrize("restart", [0, 5])
def test_progressive_scans_equal_the_flow_charts(restart: int) -> None:
    data = encode(photo_like(70, 50, 1), 90, progressive=True, restart_marker_blocks=restart)
    structure = parse_markers(data)
    rows, columns = structure.frame.blocks[0]
    expected = np.zeros((rows * columns, 64), dtype=np.int16)
    refinements = 0
    for scan in structure.scans:
        if scan.spectral_start:
            decode_progressive_blocks(data, scan, code_table(given(scan.ac_tables[0])), expected)
            refinements += scan.approximation_high > 0
    assert refinements > 0
    found = dctafd.read(data, engine="numba").components[0].coefficients.reshape(-1, 64)
    np.testing.assert_array_equal(found[:, 1:], expected[:, 1:])


def derived(spec: Any, kind: int) -> tuple[int, Any]:
    symbols = np.zeros(256, dtype=np.uint8)
    symbols[: len(spec.symbols)] = list(spec.symbols)
    table = np.zeros(1, dtype=tables.TABLE)
    status = tables.derive_table(np.frombuffer(spec.counts, np.uint8), symbols, kind, table)
    return status, table


@pytest.mark.parametrize("spec", [*STANDARD_AC, HuffmanSpec(bytes([1] * 15 + [0]), bytes(range(0x21, 0x30)))])
def test_every_code_has_its_entry(spec: HuffmanSpec) -> None:
    status, table = derived(spec, tables.SEQUENTIAL_AC)
    assert status == tables.VALID
    places = table["symbols"][0]
    long_codes = 0
    for code, symbol in code_table(spec).items():
        length, run, size = len(code), symbol >> 4, symbol & 15
        if size == 0 and run != 15:
            run = tables.END_OF_BLOCK
        expected = (length + size, 64 - length - size, run, size, (1 << size) - 1, 1 - (1 << size))
        if length <= tables.LOOKUP_BITS:
            first = int(code.ljust(tables.LOOKUP_BITS, "0"), 2)
            last = int(code.ljust(tables.LOOKUP_BITS, "1"), 2)
            assert {tuple(place) for place in places[first : last + 1].tolist()} == {expected}
            continue
        long_codes += 1
        window = int(code.ljust(64, "1"), 2)
        assert tuple(places[long_code_place(table, np.uint64(window))].tolist()) == expected
        assert places["used"][window >> (64 - tables.LOOKUP_BITS)] == 0
    assert long_codes > 0


@kernel
def long_code_place(table: Any, window: Any) -> Any:
    """Call `code_place`, which takes a record."""
    return tables.code_place(table[0], window)


@pytest.mark.parametrize(("kind", "run"), [(tables.SEQUENTIAL_AC, tables.END_OF_BLOCK), (tables.DC, 0)])
def test_bits_that_are_no_code_are_symbol_0_with_17_bits(kind: int, run: int) -> None:
    _, table = derived(STANDARD_DC[0], kind)
    place = long_code_place(table, np.uint64((1 << 64) - 1))
    assert place == tables.NO_CODE
    assert tuple(table["symbols"][0, place].tolist()) == (17, 47, run, 0, 0, 0)


@pytest.mark.parametrize(
    ("counts", "symbols", "kind", "status"),
    [
        ([0] * 16, b"", tables.DC, tables.VALID),
        ([1] + [0] * 15, b"\x0f", tables.DC, tables.VALID),
        ([1] + [0] * 15, b"\x10", tables.DC, tables.BAD_DC_SIZE),
        ([1] + [0] * 15, b"\xff", tables.PROGRESSIVE_AC, tables.VALID),
        ([2] + [0] * 15, b"\1\2", tables.DC, tables.OVERFULL_CODE),
        ([1, 2] + [0] * 14, b"\1\2\3", tables.DC, tables.OVERFULL_CODE),
        ([0] * 15 + [255], bytes(255), tables.DC, tables.VALID),
        ([0] * 7 + [255, 255] + [0] * 7, bytes(256), tables.DC, tables.OVERFULL_CODE),
    ],
)
def test_tables_that_are_no_code(counts: list[int], symbols: bytes, kind: int, status: int) -> None:
    assert derived(HuffmanSpec(bytes(counts), symbols), kind)[0] == status
    assert derived(STANDARD_DC[0], tables.DC)[0] == tables.VALID


OPTIMIZED_AC = HuffmanSpec(
    bytes([0, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0]), bytes.fromhex("01f0001102035142e1310804f1")
)


def symbols_in(prefix: int, size: int, codes: dict[str, int]) -> list[tuple[int, int, int]]:
    """Return run, value and the bits up to its end of each symbol that lies in a prefix as a whole.

    The run of EOB, always the last, is END_OF_BLOCK; codes of more than LOOKUP_BITS end the list, too.
    """
    bits = Bits(b"")
    bits.bits = f"{prefix:0{size}b}"
    found: list[tuple[int, int, int]] = []
    try:
        while not found or found[-1][0] != tables.END_OF_BLOCK:
            start = bits.position
            run, bits_of_value = divmod(bits.decode(codes), 16)
            if bits.position > start + tables.LOOKUP_BITS:
                break
            value = bits.receive_extend(bits_of_value)
            if bits.position > size:
                break
            found.append((run if bits_of_value or run == 15 else tables.END_OF_BLOCK, value, bits.position))
    except ValueError:
        pass
    return found


@pytest.mark.parametrize("spec", [*STANDARD_AC, OPTIMIZED_AC])
def test_pairs_are_what_single_symbols_give(spec: HuffmanSpec) -> None:
    _, table = derived(spec, tables.SEQUENTIAL_AC)
    tables.derive_pairs(table)
    codes = code_table(spec)
    seconds = 0
    for prefix, pair in enumerate(table["pairs"][0]):
        symbols = symbols_in(prefix, tables.PAIR_BITS, codes)[:2]
        if not symbols:
            assert pair.tolist() == (0, tables.NOTHING, 0, 0, 0, 0)
            continue
        (run, value, used), *second = symbols
        if run == tables.END_OF_BLOCK:
            run, second = 0, symbols
        ended = bool(second) and second[0][0] == tables.END_OF_BLOCK
        step = tables.BEYOND if ended else second[0][0] + 1 if second else 1
        used = second[0][2] if second else used
        assert pair.tolist() == (used, run, step, len(second), value, second[0][1] if second else 0)
        seconds += len(second)
    assert seconds > 100


@pytest.mark.parametrize("spec", [*STANDARD_AC, OPTIMIZED_AC])
def test_skips_are_where_single_symbols_lead(spec: HuffmanSpec) -> None:
    _, table = derived(spec, tables.SEQUENTIAL_AC)
    tables.derive_skips(table)
    codes = code_table(spec)
    longest = 0
    for prefix, skip in enumerate(table["skips"][0].tolist()):
        used = passed = count = 0
        ended = False
        for run, _, end in symbols_in(prefix, tables.SKIP_BITS, codes):
            ended = run == tables.END_OF_BLOCK
            if not ended and passed + run + 1 >= tables.NOTHING:
                break
            passed += 0 if ended else run + 1
            used, count = end, count + 1
        if used == 0:
            passed = tables.NOTHING
        assert (skip & 15, (skip >> 4) & 63) == (used, passed)
        assert skip >> 10 == (tables.NOTHING if ended else passed)
        longest = max(longest, count)
    assert longest > 2


def reference_scan_end(data: bytes) -> int:
    for i in range(len(data) - 1):
        if (
            data[i] == 0xFF
            and data[i + 1] >= 0xC0
            and data[i + 1] != 0xFF
            and not 0xD0 <= data[i + 1] <= 0xD7
        ):
            return i
    return len(data)


def reference_unstuff(data: bytes, most: int) -> tuple[bytes, list[int], list[int]]:
    out, ends, markers, i = bytearray(), [], [], 0
    while i < len(data):
        if data[i] != 0xFF:
            out.append(data[i])
            i += 1
            continue
        while i < len(data) and data[i] == 0xFF:
            i += 1
        if i == len(data):
            break
        if data[i] == 0:
            out.append(0xFF)
        else:
            ends.append(len(out))
            markers.append(data[i])
            if len(ends) == most:
                return bytes(out), ends, markers
        i += 1
    return bytes(out), [*ends, len(out)], [*markers, 0xD9]


@pytest.mark.parametrize("common", [[0xFF, 0xD0, 0], [0xFF, 0x00], [0xFF, 0xD9, 0x12], [0x12]])
def test_segments_equal_their_references(common: list[int]) -> None:
    rng = np.random.default_rng(len(common))
    for _ in range(200):
        size = int(rng.integers(0, 300))
        rare = rng.random(size) < rng.choice([0.02, 0.3])
        data = np.where(rare, rng.choice(common, size), rng.integers(0, 255, size)).astype(np.uint8)
        data[data == 0xFF] = rng.choice([0xFF, 0x80])
        assert find_scan_end(data, 0) == reference_scan_end(data.tolist())
        most = int(rng.integers(1, 6))
        out = np.zeros(size, dtype=np.uint8)
        ends, markers = np.zeros(most, dtype=np.int64), np.zeros(most, dtype=np.uint8)
        count = unstuff(data, 0, size, out, ends, markers)
        expected, expected_ends, expected_markers = reference_unstuff(data.tolist(), most)
        assert ends[:count].tolist() == expected_ends
        assert markers[:count].tolist() == expected_markers
        assert bytes(out[: ends[count - 1]]) == expected[: expected_ends[-1]]


@pytest.mark.parametrize(
    ("markers", "expected", "result"),
    [
        ([0xD0, 0xD9], 0, (1, 10, 0)),  # the one that should come
        ([0xD1, 0xD9], 0, (0, -1, 1)),  # one ahead: this interval is lost
        ([0xD2, 0xD9], 0, (0, -1, 1)),
        ([0xD7, 0xD0, 0xD9], 0, (2, 20, 1)),  # one behind: passed over
        ([0xD6, 0xD0, 0xD9], 0, (2, 20, 1)),
        ([0xD4, 0xD9], 0, (1, 10, 1)),  # far away: taken
        ([0x05, 0xD3, 0xD9], 3, (2, 20, 1)),  # a reserved code
        ([0xD9], 0, (0, -1, 1)),
        ([0xD0], 0, (0, -1, 1)),
    ],
)
def test_restart_resynchronisation_follows_libjpeg(
    markers: list[int], expected: int, result: tuple[int, int, int]
) -> None:
    ends = np.arange(1, len(markers) + 1, dtype=np.int64) * 10
    assert find_restart(ends, np.array(markers, dtype=np.uint8), 0, expected) == result


def test_tail_space_holds_two_longest_mcus() -> None:
    assert tail_space(10) >= 2 * 10 * 249 + 16
