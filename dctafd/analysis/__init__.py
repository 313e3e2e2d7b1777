"""Evaluation, drift, dataset statistics, inspection, figures, export."""
