"""The flow: Markdown files in, a search index and a report out.

split ──► extract (a task for each section) ──┬──► index ───────┬──► report
                                              └──► check_links ─┘
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import TypedDict

import psycopg

from pgflow import Context, Flow


class Payload(TypedDict):
    folder: str


class Section(TypedDict):
    document: str
    heading: str
    anchor: str
    text: str


class Extract(TypedDict):
    words: dict[str, int]
    links: list[str]
    languages: list[str]


class Index(TypedDict):
    terms: int
    top_terms: dict[str, list[str]]


class Links(TypedDict):
    checked: int
    outside: int
    broken: list[str]


flow = Flow(
    "documents",
    description="Sections of Markdown files, their words and links, a search index and a report",
    max_attempts=3,
    base_delay=1,
    output_step_slug="report",
)

HEADING = re.compile(r"^(#{1,6}) +(.+?) *#*$")
FENCE = re.compile(r"^\s*(```+|~~~+)(\w*)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
WORD = re.compile(r"[a-z]{3,}")
# A section whose first attempt fails on purpose, so that there is a retry to be seen.
UNLUCKY = 7
COMMON = """
the and for that this with are not has have from its one can was what who when which all any but each does then than
them than they there these those will would may must more most only also into out over how where without
"""


@flow.step
def split(run: Payload) -> list[Section]:
    """Reads the files; a section begins at each heading."""
    folder = Path(run["folder"])
    sections: list[Section] = []
    for path in sorted(folder.rglob("*.md")):
        document = str(path.relative_to(folder))
        seen: Counter[str] = Counter()
        section = Section(document=document, heading=document, anchor="", text="")
        fence = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            mark = FENCE.match(line)
            if mark and (not fence or line.strip() == fence):
                fence = "" if fence else mark[1]
            found = None if fence else HEADING.match(line)
            if found:
                if section["text"].strip():
                    sections.append(section)
                anchor = re.sub(r"[^\w\- ]", "", found[2].lower()).replace(" ", "-")
                count, seen[anchor] = seen[anchor], seen[anchor] + 1
                anchor = f"{anchor}-{count}" if count else anchor
                section = Section(document=document, heading=found[2], anchor=anchor, text="")
            section["text"] += line + "\n"
        sections.append(section)
    return sections


@flow.map(over="split")
def extract(section: Section, index: int, ctx: Context) -> Extract:
    """Words, links and languages of code of one section. An ordinary function: it runs in a thread."""
    if index == UNLUCKY and ctx.attempt == 1:
        raise ConnectionError("the first attempt at this section fails on purpose")
    prose, languages, fence, common = [], [], "", set(COMMON.split())
    for line in section["text"].splitlines():
        mark = FENCE.match(line)
        if mark and (not fence or line.strip() == fence):
            if not fence and mark[2]:
                languages.append(mark[2])
            fence = "" if fence else mark[1]
        elif not fence:
            prose.append(line)
    text = re.sub(r"`[^`\n]*`", " ", "\n".join(prose))
    return Extract(
        words=Counter(word for word in WORD.findall(LINK.sub(" ", text).lower()) if word not in common),
        links=LINK.findall(text),
        languages=languages,
    )


@flow.step
def index(run: Payload, split: list[Section], extract: list[Extract], ctx: Context) -> Index:
    """Writes how much each word says about each section (tf-idf) into a table, for `main.py search`."""
    sections_with = Counter(word for one in extract for word in one["words"])
    rows, by_document = [], defaultdict[str, defaultdict[str, float]](lambda: defaultdict(float))
    for number, (section, one) in enumerate(zip(split, extract, strict=True)):
        length = sum(one["words"].values()) or 1
        for word, count in one["words"].items():
            weight = count / length * math.log(len(extract) / sections_with[word])
            rows.append((str(ctx.run_id), word, number, section["document"], section["heading"], weight))
            by_document[section["document"]][word] += count * math.log(len(extract) / sections_with[word])
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        # A second attempt must find what the first one would have: written for this run, all or nothing.
        connection.execute("DELETE FROM search_index WHERE run_id = %s", (ctx.run_id,))
        with connection.cursor().copy(
            "COPY search_index (run_id, word, section, document, heading, weight) FROM STDIN"
        ) as copy:
            for row in rows:
                copy.write_row(row)
    top = {document: sorted(words, key=lambda word: -words[word])[:4] for document, words in by_document.items()}
    return Index(terms=len(sections_with), top_terms=top)


@flow.step
def check_links(run: Payload, split: list[Section], extract: list[Extract]) -> Links:
    """Follows the links between the files, beside `index`."""
    folder = Path(run["folder"])
    anchors = {(section["document"], section["anchor"]) for section in split}
    checked, outside, broken = 0, 0, []
    for section, one in zip(split, extract, strict=True):
        for link in one["links"]:
            if re.match(r"[a-z]+:", link):
                outside += 1
                continue
            checked += 1
            target, _, anchor = link.partition("#")
            path = (folder / section["document"]).parent / target if target else folder / section["document"]
            document = os.path.relpath(path, folder)
            is_there = path.exists() and (not anchor or document.startswith("..") or (document, anchor) in anchors)
            if not is_there:
                broken.append(f"{section['document']}: {link}")
    return Links(checked=checked, outside=outside, broken=broken)


@flow.step
def report(split: list[Section], extract: list[Extract], index: Index, check_links: Links) -> str:
    """The report, as Markdown."""
    sections, words = Counter[str](), Counter[str]()
    languages = Counter(language for one in extract for language in one["languages"])
    for section, one in zip(split, extract, strict=True):
        sections[section["document"]] += 1
        words[section["document"]] += sum(one["words"].values())
    width = max(map(len, sections), default=8)
    lines = [
        f"{len(sections)} documents, {len(split)} sections, {sum(words.values()):,} words, "
        f"{index['terms']:,} different ones",
        "",
        f"| {'document':{width}} | sections |  words | is about |",
        f"| {'-' * width} | -------: | -----: | --- |",
        *(
            f"| {document:{width}} | {sections[document]:8} | {count:6,} | "
            f"{', '.join(index['top_terms'].get(document, []))} |"
            for document, count in words.most_common()
        ),
        "",
        "Code: " + ", ".join(f"{count} × {language}" for language, count in languages.most_common()),
        f"Links: {check_links['checked']} between documents, {check_links['outside']} to elsewhere, "
        f"{len(check_links['broken'])} lead nowhere",
        *(f"  {link}" for link in check_links["broken"]),
    ]
    return "\n".join(lines)
