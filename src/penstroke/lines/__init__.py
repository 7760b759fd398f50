"""Writing of several characters: from a picture to lines, and what they say. No torch."""

from penstroke.lines.reading import CharacterReading, LineReading, PageReading, read_page

__all__ = ["CharacterReading", "LineReading", "PageReading", "read_page"]
