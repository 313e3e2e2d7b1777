"""The gallery page: what it holds, and that nothing from outside becomes markup in it."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from dctafd.analysis.gallery import Gallery
from dctafd.inference.results import Failure, Prediction, Result

HOSTILE = (
    '</script><script>document.title="owned"</script><!--<img src=x onerror=alert(1)>&amp;\u2028\u202e\x07"\''
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Elements(HTMLParser):
    """Collects start tags, and the text of each element with an id."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple]] = []
        self.data = ""
        self._inside: str | None = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(attrs)))
        self._inside = dict(attrs).get("id", "")

    def handle_data(self, data: str) -> None:
        if self._inside == "data":
            self.data += data
            self._inside = ""


def result(name: str = "a.jpg", label: str = "cat", **others: Any) -> Result:
    return Result(name, width=40, height=30, quality=75, predictions=(Prediction(0, label, 0.5),), **others)


def page(results: Sequence[Result], model: str = "tiny", **options: Any) -> str:
    gallery = Gallery(model, "its weights", None, **options)
    return gallery.begin() + "".join(gallery.batch([one]) for one in results) + gallery.end()


def data(text: str) -> list:
    return json.loads(Elements(text).data)


def test_a_line_per_photo_and_the_run_at_the_end() -> None:
    rows = data(page([result(thumbnail=b"\xff\xd8"), Result("b.jpg", error=Failure("OSError", "gone"))]))
    assert rows[0][:2] == ["a.jpg", [["cat", 0.5]]]
    assert base64.b64decode(rows[0][-1]) == b"\xff\xd8"
    assert rows[1][:3] == ["b.jpg", [], "OSError: gone"]
    assert rows[2]["photos"] == 2


def test_an_empty_run_is_a_page() -> None:
    assert data(page([]))[0]["photos"] == 0


def test_text_from_outside_adds_no_element_and_survives_as_text() -> None:
    hostile = [
        result(HOSTILE, HOSTILE, member=HOSTILE, warnings=(HOSTILE,)),
        Result(HOSTILE, error=Failure("OSError", HOSTILE)),
    ]
    harmless = [result(member="m", warnings=("w",)), Result("b.jpg", error=Failure("OSError", "gone"))]
    text = page(hostile, HOSTILE)
    assert Elements(text).tags == Elements(page(harmless)).tags
    name, predictions = data(text)[0][:2]
    assert '</script><script>document.title="owned"' in predictions[0][0]
    assert "\\u202e" in name  # an escape that is seen, no change of direction
    assert "\\x07" in name


def test_the_policy_lets_the_own_script_run_and_no_other() -> None:
    text = page([result()])
    (policy,) = [dict(attrs)["content"] for tag, attrs in Elements(text).tags if "http-equiv" in dict(attrs)]
    script = re.findall(r"<script>(.*?)</script>", text, re.S)
    assert len(script) == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_the_page_needs_no_other_file() -> None:
    assert not re.search(r"(src|href)=|@import|url\(|https?:", page([result()]))


def test_a_page_holds_so_many_photos_and_says_how_many_there_were() -> None:
    rows = data(page([result(f"{i}.jpg") for i in range(5)], most=3))
    assert [row[0] for row in rows[:-1]] == ["0.jpg", "1.jpg", "2.jpg"]
    assert (rows[-1]["photos"], rows[-1]["most"]) == (5, 3)


def test_a_page_that_is_continued_is_the_undisturbed_one() -> None:
    results = [result(f"{i}.jpg") for i in range(5)]
    first, second = Gallery("tiny", "", None, most=4), Gallery("tiny", "", None, written=2, most=4)
    pieces = first.begin() + first.batch(results[:2]) + second.batch(results[2:]) + second.end()
    undisturbed = Gallery("tiny", "", None, most=4)
    assert pieces == undisturbed.begin() + undisturbed.batch(results) + undisturbed.end()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_shows_the_cards(tmp_path: Path) -> None:
    file = tmp_path / "gallery.html"
    file.write_text(page([result(HOSTILE, HOSTILE), *(result(f"{i}.jpg") for i in range(5000))], HOSTILE))
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
    ]
    flags += [
        "--disable-component-update",
        "--disable-sync",
        "--disable-quic",
        f"--user-data-dir={tmp_path}/user",
    ]
    assert CHROMIUM is not None
    command = [CHROMIUM, *flags, "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    shown = re.search(r'<ul id="cards".*?</ul>', done.stdout, re.S)
    assert shown is not None
    assert 3 < shown[0].count("<li>") < 200  # those in view, not 5,001
    assert "&lt;/script&gt;&lt;script&gt;" in shown[0]
    assert re.search(r"<title>5,001 photos, classified by &lt;/script&gt;", done.stdout)
