"""A study with real people, in a browser: ``python -m experiments.people folder=outputs/people``."""

from __future__ import annotations

from typing import Any

from experiments.people.options import PeopleOptions
from experiments.run import Run, command


@command(PeopleOptions)
def main(options: PeopleOptions, run: Run) -> dict[str, Any] | None:
    """Serve the study until Ctrl-C; or export what is there, or send bots."""
    from experiments.people.export import export
    from experiments.people.serve import check_address, serve
    from experiments.people.study import Study

    if options.mode == "bots":
        from experiments.people.bots import run_bots

        return run_bots(options, run)
    study = Study(options)
    if options.mode == "export":
        export(study, run)
        return None
    check_address(options.web)
    folder = run.open()
    serve(study, options, folder)
    return None


if __name__ == "__main__":
    main()
