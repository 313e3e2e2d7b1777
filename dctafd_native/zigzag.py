"""The order of a block's coefficients in a file (T.81 Figure A.6)."""

ZIGZAG = tuple(sorted(range(64), key=lambda n: (n // 8 + n % 8, n // 8 if (n // 8 + n % 8) % 2 else n % 8)))
"""Natural index (row * 8 + column) of the k-th coefficient in zigzag order."""
