"""What is in Le Courrier de la Place today. The words are in ``articles.toml``."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Article:
    """An article, each text by language ("fr", "en"); the ``teaser`` is free, the ``body`` is what is sold."""

    slug: str
    author: str
    kicker: Mapping[str, str]
    title: Mapping[str, str]
    teaser: Mapping[str, str]
    body: Mapping[str, Sequence[str]]


def _articles() -> dict[str, Article]:
    raw = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    found = {}
    for each in raw["article"]:
        paragraphs = {language: each[language]["text"].strip().split("\n\n") for language in ("fr", "en")}
        found[each["slug"]] = Article(
            slug=each["slug"],
            author=each["author"],
            kicker={language: each[language]["kicker"] for language in paragraphs},
            title={language: each[language]["title"] for language in paragraphs},
            teaser={language: texts[0] for language, texts in paragraphs.items()},
            body={language: texts[1:] for language, texts in paragraphs.items()},
        )
    return found


ARTICLES: Mapping[str, Article] = _articles()
