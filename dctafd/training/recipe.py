"""A training as a TOML file tells it: what is trained and how, what is held out, what the card will say.

Every key is optional and stands for what `TrainingConfig` has by default::

    stage_widths = [24, 48, 64, 96]
    batch_size = 32
    cutmix = 0.5
    teachers = ["mobilenet_v2_coral=mobilenet.pth"]

    [losses]
    stem = 0.3

    [degradations]
    highest = 50

    [preprocessing]
    mean = [0.5, 0.5, 0.5]

    [validation]
    held_out = 48

    [card]
    licence = "CC BY-NC 4.0"
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from dctafd.config import UNCHANGED, PreprocessingChanges
from dctafd.training.config import OLD_NAMES, TrainingConfig

_Built = TypeVar("_Built")


@dataclass(frozen=True, slots=True)
class ValidationPlan:
    """What is held out.

    Attributes:
        held_out: photos kept apart for validation and for the report at the end; None for a fifth.
        every: steps between validations.
    """

    held_out: int | None = None
    every: int = 1000

    def __post_init__(self) -> None:
        if (self.held_out or 0) < 0 or self.every < 1:
            raise ValueError("held_out is 0 or more, every 1 or more")


@dataclass(frozen=True, slots=True)
class CardPlan:
    """What the weights file will say of itself.

    Attributes:
        licence: of the weights, None for Apache-2.0.
    """

    licence: str | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole training but for photos, classifier and runtime.

    Attributes:
        config: what is trained and how; keys of its own stand at the top of the file.
        validation: what is held out.
        card: what the weights file will say.
        preprocessing: what the classifier expects where it is not what its model usually expects.
        compile: whether to use torch.compile.
    """

    config: TrainingConfig = field(default_factory=TrainingConfig)
    validation: ValidationPlan = field(default_factory=ValidationPlan)
    card: CardPlan = field(default_factory=CardPlan)
    preprocessing: PreprocessingChanges = UNCHANGED
    compile: bool = False


def read_recipe(path: Path, **changes: Any) -> Recipe:
    """Read a recipe.

    Args:
        path: a TOML file.
        changes: fields of `TrainingConfig` that take the place of the file's; None for none.

    Raises:
        ValueError: it is no TOML, or a key or value is not one of a recipe's; the message says which.
        OSError: the file cannot be read.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML file: {error}") from error
    try:
        return recipe_of(table, **changes)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def recipe_of(table: dict[str, Any], **changes: Any) -> Recipe:
    """Return the recipe that a table of TOML tells; see `read_recipe`."""
    table = dict(table)
    names = ("validation", "card", "preprocessing", "compile")
    own = {name: table.pop(name) for name in names if name in table}
    for old in OLD_NAMES.keys() & table.keys():
        table.setdefault(OLD_NAMES[old], table.pop(old))
    table |= {name: value for name, value in changes.items() if value is not None}
    if "steps" not in table and "minutes" in table:
        table["steps"] = None
    known = [item.name for item in (*fields(TrainingConfig), *fields(Recipe)) if item.name != "config"]
    return Recipe(
        _built(TrainingConfig, table, "", known),
        _built(ValidationPlan, own.get("validation", {}), "validation"),
        _built(CardPlan, own.get("card", {}), "card"),
        _built(PreprocessingChanges, own.get("preprocessing", {}), "preprocessing"),
        _checked(bool, own.get("compile", False), "compile"),
    )


def _built(kind: type[_Built], table: Any, where: str, known: list[str] | None = None) -> _Built:
    """Build a dataclass of a table, checking every key and value."""
    if not isinstance(table, dict):
        raise ValueError(f"[{where}] is a table")
    hints = get_type_hints(kind)
    values = {}
    for key, value in table.items():
        name = f"{where}.{key}" if where else key
        if key not in hints:
            names = known or list(hints)
            close = difflib.get_close_matches(key, names, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names)}"
            raise ValueError(f"there is no key {name!r}: {hint}")
        values[key] = _checked(hints[key], value, name)
    return kind(**values)


def _checked(hint: Any, value: Any, name: str) -> Any:
    """Return a value as its annotation wants it."""
    if hint in (bool, str) and isinstance(value, hint):
        return value
    if hint in (int, float) and isinstance(value, hint | int) and not isinstance(value, bool):
        return hint(value)
    if is_dataclass(hint) and isinstance(hint, type):
        return _built(hint, value, name)
    arguments = get_args(hint)
    if get_origin(hint) is Literal and value in arguments:
        return value
    if get_origin(hint) in (Union, UnionType):
        return _optional(arguments, value, name)
    if get_origin(hint) is tuple and isinstance(value, list | tuple):
        if arguments[-1] is Ellipsis:
            return tuple(_checked(arguments[0], item, name) for item in value)
        if len(value) == len(arguments):
            return tuple(_checked(kind, item, name) for kind, item in zip(arguments, value, strict=True))
    if get_origin(hint) is dict and isinstance(value, dict):
        return {
            _checked(arguments[0], key, name): _checked(arguments[1], v, name) for key, v in value.items()
        }
    raise ValueError(f"{name} = {value!r} is not {_described(hint)}")


def _optional(arguments: tuple[Any, ...], value: Any, name: str) -> Any:
    """TOML has no null: false stands for it."""
    if value is None or value is False:
        return None
    (kind,) = (kind for kind in arguments if kind is not NoneType)
    return _checked(kind, value, name)


def _described(hint: Any) -> str:
    arguments = get_args(hint)
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if get_origin(hint) is tuple:
        return "a list of " + ("numbers" if arguments[0] in (int, float) else "texts")
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    return names.get(hint, "a table")
