"""One JPEG file: markers, coefficients, pixels, and what they tell of its compression."""
