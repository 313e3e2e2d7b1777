"""`python -m tests.support.tiny_cli classify ...`: the command line, and the tiny network for any model."""

import dctafd.inference.loading as loading_module
from dctafd.cli.main import main
from tests.support.tiny_classifier import tiny_classifier

if __name__ == "__main__":
    loading_module.load_classifier = lambda *arguments, **options: tiny_classifier()
    main()
