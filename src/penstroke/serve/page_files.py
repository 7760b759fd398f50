"""The files of the pages, which the service sends and the offline export copies."""

from importlib import resources

_LOOK = resources.files("penstroke.reports") / "templates"
"""What the reports and these pages share."""


def page_files(*folders: str) -> dict[str, bytes]:
    """Return the files of the pages in `folders` of this package by name, the logo in its place."""
    package, logo = resources.files("penstroke.serve"), (_LOOK / "logo.svg").read_bytes().strip()
    shared = [_LOOK / "icon.svg", _LOOK / "palette.css"]
    return {
        entry.name: entry.read_bytes().replace(b"<!-- logo -->", logo)
        for entry in (*shared, *(one for name in folders for one in (package / name).iterdir()))
        if entry.is_file()
    }
