"""`python -m tests.support.tiny_cli classify ...`: the command line, and the tiny network for any model.

$TINY_CHECKPOINTS is the number of seconds between checkpoints, for runs that are shorter than the usual ones.
"""

import os

import dctafd.batch.run as run_module
import dctafd.inference.loading as loading_module
from dctafd.cli.main import main
from tests.support.tiny_classifier import tiny_classifier

if __name__ == "__main__":
    loading_module.load_classifier = lambda *arguments, **options: tiny_classifier()
    if seconds := os.environ.get("TINY_CHECKPOINTS"):
        for name in run_module._SECONDS_BETWEEN_CHECKPOINTS:
            run_module._SECONDS_BETWEEN_CHECKPOINTS[name] = float(seconds)
    main()
