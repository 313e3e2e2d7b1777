"""Machine-code kernels of dctafd: NumPy arrays in, NumPy arrays filled, no files and no torch."""
