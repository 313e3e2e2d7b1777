"""From sources to predictions: reading, preparing, classifying, writing results."""
