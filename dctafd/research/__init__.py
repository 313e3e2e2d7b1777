"""Statistics, drift, evaluation, training, figures and reports."""
