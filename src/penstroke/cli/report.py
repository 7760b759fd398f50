"""`penstroke report`: the report of a run or a study."""

from penstroke.cli.console import exit_json, say
from penstroke.cli.options import JSON, argument


def command(
    name: str = argument("Name or path (see `penstroke runs list`).", metavar="RUN|STUDY"),
    as_json: bool = JSON,
) -> None:
    """Write the HTML report of a run or a study."""
    from penstroke.search.study import Study

    if study := Study.find(name):
        from penstroke.reports.search_report import write_search_report
        from penstroke.search.workflow import result_so_far

        folder, page = study.path, write_search_report(study, result_so_far(study))
    else:
        from penstroke.runs.run import writable_run

        run = writable_run(name)
        folder = run.path
        if run.record.config.reads_lines:
            from penstroke.reports.line_report import write_line_report
            from penstroke.runs.trained import evaluate_lines, summary_of_lines

            lines = evaluate_lines(run)
            page = write_line_report(run, lines, summary_of_lines(run, lines))
        else:
            from penstroke.reports.run_report import write_run_report
            from penstroke.runs.trained import evaluate, summary_of

            evaluation = evaluate(run)
            page = write_run_report(run, evaluation, summary_of(run, evaluation))
    exit_json({"run": str(folder), "report": str(page)})
    say(str(page))
