"""`penstroke export`: a run in other formats."""

from dataclasses import fields
from pathlib import Path
from typing import Literal

from penstroke.cli.console import exit_json, say
from penstroke.cli.options import JSON, argument, option
from penstroke.inference.bundled import DEFAULT_MODEL


def command(
    run: str = argument("Bundled model, or name or path of a run or study. By default digits.",
                        default=DEFAULT_MODEL, metavar="[MODEL|RUN|STUDY]"),
    to: Literal["onnx", "csv", "web"] = option(
        "Format: onnx (the model), csv (the history; of a study each seed of each trial) or web "
        "(an offline page).", "onnx"),
    output: Path | None = option("File to write; for web, the folder.", None, "--output", "-o"),
    runtime: Path | None = option(
        "For web: ONNX Runtime Web as an npm .tgz, to avoid the download.", metavar="FILE"),
    as_json: bool = JSON,
) -> None:  # fmt: skip
    """Export a run as an ONNX file, a table or an offline page; a study as a table."""
    from penstroke.files import write_atomically
    from penstroke.runs.run import find_run, history_csv

    if to == "csv" and (content := _study_csv(run)):
        path = output or Path(f"{Path(run).absolute().name}.csv")
        write_atomically(path, content)
        exit_json({"study": run, "file": str(path), "size_bytes": len(content)})
        say(str(path))
        return
    chosen = find_run(run)
    if to == "web":
        from penstroke.serve.offline_export import export_web

        folder = output or Path(f"{chosen.name}-web")
        size = export_web(chosen.path, folder, runtime)
        exit_json({"run": str(chosen.path), "folder": str(folder), "size_bytes": size})
        say(f"{folder}  {size / 1e6:.1f} MB, of which ONNX Runtime Web is most\n"
            f"next: python -m http.server --bind 127.0.0.1 --directory {folder}")  # fmt: skip
        return
    path = output or Path(f"{chosen.name}.{to}")
    content = chosen.read_model() if to == "onnx" else history_csv(chosen)
    write_atomically(path, content)
    exit_json({"run": str(chosen.path), "file": str(path), "size_bytes": len(content)})
    say(f"{path}  {len(content) / 1e6:.2f} MB")


def _study_csv(name: str) -> bytes | None:
    """Return the runs of the study of this name as CSV, one line each; None if it is no study."""
    from penstroke.files import csv_of
    from penstroke.search.study import Study, TrialRun

    study = Study.find(name)
    if study is None:
        return None
    columns = [field.name for field in fields(TrialRun) if field.name != "settings"]
    rows = (vars(run) | run.settings for run in study.trial_runs())
    return csv_of([*columns, *study.space.parameters], rows)
