"""From coefficients to what a classifier reads: geometry, crop, block grid, batches."""
