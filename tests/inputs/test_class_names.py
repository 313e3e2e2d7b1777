"""Class names: what people call a class and the index that it has."""

import pytest

from dctafd.inputs.class_names import ClassNames, imagenet_wnids, wnid_in_name


def imagenet_names() -> tuple[str, ...]:
    from torchvision.models import ResNet50_Weights

    return tuple(ResNet50_Weights.IMAGENET1K_V1.meta["categories"])


def test_the_wordnet_ids_are_a_thousand_in_alphabetical_order() -> None:
    wnids = imagenet_wnids()
    assert len(wnids) == len(set(wnids)) == 1000
    assert list(wnids) == sorted(wnids)
    known = {"n01440764": 0, "n02123045": 281, "n02504458": 386, "n03126707": 517, "n15075141": 999}
    assert {wnid: wnids.index(wnid) for wnid in known} == known


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("n01440764", 0),
        ("n02123045_tabby", 281),
        (" n02504458 ", 386),
        ("tench", 0),
        ("Tench", 0),
        ("tench, Tinca tinca", 0),
        ("great_white_shark", 2),
        ("GREAT WHITE-SHARK", 2),
        ("Cardigan", 264),
        ("cardigan", 474),
        ("crane bird", 134),
        ("crane", 517),
        ("maillot tank suit", 639),
        ("n99999999", None),
        ("n014407641", None),
        ("281", None),
        ("CARDIGAN", None),
        ("", None),
    ],
)
def test_imagenets_classes_are_found_by_id_and_name(text: str, index: int | None) -> None:
    assert ClassNames(imagenet_names()).index_of(text) == index


def test_a_name_that_two_classes_have_finds_none_and_says_so() -> None:
    labels = [{134: "crane", 639: "maillot"}.get(i, name) for i, name in enumerate(imagenet_names())]
    names = ClassNames(labels)
    assert names.index_of("crane") is names.index_of("maillot") is None
    assert names.index_of("n02012849") == 134
    assert names.index_of("n03126707") == 517
    assert "134 and 517" in names.why_unknown("crane")
    assert "638 and 639" in names.why_unknown("Maillot")


def test_numbers_are_indices_only_where_they_are_said_to_be() -> None:
    names = ClassNames(("ant", "bee", "7"))
    assert names.index_of("7") == 2
    assert names.index_of("1", numbers=True) == 1
    assert names.index_of("3", numbers=True) is None
    assert names.index_of("\u0661", numbers=True) is None  # a digit, but not one that people mean
    assert "3 classes" in names.why_unknown("3", numbers=True)
    assert "3 classes" in names.why_unknown("-1", numbers=True)


def test_a_network_for_some_of_imagenets_classes_knows_their_ids() -> None:
    names = ClassNames(("golf ball", "tench", "crane"))
    assert names.index_of("n01440764") == 1
    assert names.index_of("n03445777") == 0
    assert names.index_of("n01443537") is None
    by_id = ClassNames(("n01443537", "n01440764"))
    assert by_id.index_of("n01440764") == 1
    assert by_id.index_of("n03445777") is None


def test_other_thousand_classes_are_not_imagenets() -> None:
    names = ClassNames([f"species {number}" for number in range(1000)])
    assert names.index_of("n01440764") is None
    assert names.index_of("species_12") == 12


@pytest.mark.parametrize(
    ("name", "wnid"),
    [
        ("n01440764_10026.JPEG", "n01440764"),
        ("ILSVRC2012_val_00000293_n01440764.JPEG", "n01440764"),
        ("n01440764_n01443537.jpg", None),
        ("dawn01440764.jpg", None),
        ("n014407641.jpg", None),
        ("IMG_1234.jpg", None),
    ],
)
def test_ids_in_file_names(name: str, wnid: str | None) -> None:
    assert wnid_in_name(name) == wnid
