"""Choose anew the drift up to which a module leaves photos alone, and write it into its weights file.

    python -m tools.choose_quiet_drift resnet18_ktb --photos ../shared/images/train --held-out 48

`dctafd train` does this itself at its end; modules that were trained before have none.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from dctafd.inputs.pictures import decode_picture
from dctafd.nets.afd_weights import afd_path, load_afd, read_afd_card, save_afd
from dctafd.nets.registry import get_spec
from dctafd.training.data import find_photos
from dctafd.training.quiet_drift import choose_quiet_drift, quiet_drift_of_older_module
from dctafd.training.validation import split_photos

_FOLDER: click.Path = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("modules", nargs=-1, required=True)
@click.option("--photos", type=_FOLDER, required=True, help="Photos, of which a part was held out.")
@click.option("--held-out", default=100, show_default=True, help="How many, as in the training.")
def main(modules: tuple[str, ...], photos: Path, held_out: int) -> None:
    """Choose the drift up to which shipped modules leave photos alone."""
    _, held = split_photos(find_photos([photos]), held_out)
    for module in modules:
        path = afd_path(module)
        card = read_afd_card(path)
        afd = load_afd(path)
        pictures = (decode_picture(photo.read_bytes()) for photo in held)
        choose = choose_quiet_drift if card.config.reads_surviving else quiet_drift_of_older_module
        quiet = choose(afd, pictures, get_spec(card.model))
        save_afd(path, afd, replace(card, config=replace(card.config, quiet_drift=quiet)))
        click.echo(f"{module}: {card.config.quiet_drift:g} -> {quiet:g}")


if __name__ == "__main__":
    main()
