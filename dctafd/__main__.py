"""`python -m dctafd` is the `dctafd` command."""

from dctafd.cli.main import main

if __name__ == "__main__":
    main()
