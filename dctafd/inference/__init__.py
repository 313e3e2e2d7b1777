"""The classifier, the stream of batches that feeds it, and its results."""
