"""What an SVG of matplotlib shows."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree


def texts(file: Path) -> set[str]:
    """Its texts, which matplotlib keeps as comments beside their outlines."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    every = ElementTree.parse(file, parser).iter()
    return {one.text.strip() for one in every if one.tag is ElementTree.Comment and one.text}
