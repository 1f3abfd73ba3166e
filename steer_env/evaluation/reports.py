"""One evaluation as a page: the same tables in Markdown for the terminal and in a self-contained HTML file."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from steer_env.evaluation import plots, statistics
from steer_env.evaluation.uncertainty import UNKNOWN
from steer_env.files import printable, write_atomically
from steer_env.traces import PERSON, SteeringTrace, traces_to_frame

_COST = (
    " Images: made in an episode, goal, first image and what the mechanism makes beyond those shown included. Passes: "
    "of the denoiser, for these images and for the mechanism's previews or predictions. A dash: not counted."
)


@dataclass
class Section:
    """A heading, a sentence that says how to read what follows, and tables or figures."""

    title: str
    text: str
    tables: list[pd.DataFrame] = field(default_factory=list)
    figures: list[plots.Figure] = field(default_factory=list)


@dataclass
class Report:
    """Sections under a title."""

    title: str
    lead: str
    sections: list[Section]

    def markdown(self) -> str:
        """Title, texts and tables; figures are left to the HTML page."""
        parts = [f"# {plain(self.title)}", plain(self.lead)]
        for section in self.sections:
            if section.tables:
                parts += [f"## {plain(section.title)}", plain(section.text), *map(markdown_table, section.tables)]
        return "\n\n".join(parts) + "\n"

    def html(self) -> str:
        """A page that needs no other file."""
        from jinja2 import Environment, FileSystemLoader, select_autoescape

        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(), trim_blocks=True
        )
        return environment.get_template("report.html").render(report=self, picture=_address)

    def save(self, folder: Path | str) -> None:
        """Write ``report.html``, ``report.md`` and every figure as ``figures/NAME.png``."""
        folder = Path(folder)
        write_atomically(folder / "report.html", self.html())
        write_atomically(folder / "report.md", self.markdown())
        for section in self.sections:
            name = re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-")
            for i, figure in enumerate(section.figures):
                number = f"-{i + 1}" if len(section.figures) > 1 else ""
                write_atomically(folder / "figures" / f"{name}{number}.png", png(figure))


def steering_report(
    traces: Sequence[SteeringTrace],
    baseline: str,
    threshold: float,
    learning: Sequence[Section] = (),
    strips: Sequence[plots.Figure] = (),
) -> Report:
    """The paper's Table 1, Figure 9 and what belongs to them, for image steering, text steering or both.

    Args:
        traces: every policy and prompter on the same tasks.
        baseline: the one that the others are compared with.
        threshold: similarity whose reaching is counted.
        learning: sections about how a policy was learned.
        strips: pictures of episodes.
    """
    frame = traces_to_frame(traces)
    chosen, summary = statistics.by_choosing(frame), statistics.summary(frame, threshold)
    cost, rounds = statistics.cost(frame), len(traces[0].similarities) - 1
    kinds = "Text and image steering" if len(chosen) < len(frame) else "Image steering"
    if chosen.empty:
        kinds = "Text steering"
    sections = [
        Section(
            f"{kinds} (Table 1)",
            f"Change of similarity from first to last {_made(frame)}, share of episodes that improved, and the same "
            f"change under metrics that no policy was trained on. Rounds: until similarity {threshold} is reached, "
            f"{rounds + 1} where it isn't.{_COST if cost['images'].notna().any() else ''}",
            [_summary_table(summary, cost)],
        ),
        Section(
            f"Paired differences from “{baseline}”",
            "On the same tasks with the same noise; 95 % intervals and two-sided p-values of Student's t, not "
            "corrected for the number of rows.",
            [_difference_table(frame, summary.index, baseline)],
        ),
        Section(
            "Similarity at each attempt (Figure 9)",
            "Means with one standard error.",
            figures=[plots.attempts_curve(statistics.attempts(frame))],
        ),
    ]
    if not chosen.empty:
        stays = statistics.stay_rates(chosen).map("{:.1%}".format).reset_index()
        sections.append(
            Section("How often the user stays", "Share of rounds in which no proposal was picked.", [stays])
        )
    scaled = chosen[chosen["scales"].map(len) > 0]
    if not scaled.empty:
        reading = "Mean, and 10th to 90th percentile."
        sections.append(Section("Mixture scales played", reading, figures=[plots.scale_choices(scaled)]))
    sections += learning
    if strips:
        sections.append(examples(strips))
    lead = f"{conditions(frame)} Standard errors in parentheses; their units are tasks and, where a policy was "
    lead += "trained several times, training seeds."
    return Report(kinds, lead, sections)


def examples(strips: Sequence[plots.Figure]) -> Section:
    """Pictures of episodes."""
    text = "Goal in blue on the left; then the image held and the proposals, or the image of the new prompt. What the "
    text += "user went on with is framed in green."
    return Section("Episodes", text, figures=list(strips))


def _made(frame: pd.DataFrame) -> str:
    """What the generator makes."""
    return "text" if len(frame["texts"].iloc[0]) else "image"


def conditions(frame: pd.DataFrame) -> str:
    """A sentence on what was played, and with which parts."""
    first, chosen = frame.iloc[0], statistics.by_choosing(frame)
    parts = {} if chosen.empty else {"user": chosen["human"], "mechanism": chosen["mechanism"]}
    users = "".join(f"{name} {_named(list(ids.unique()))}, " for name, ids in parts.items())
    return (
        f"{frame['policy'].nunique()} policies on {frame['task_index'].nunique()} tasks of {first['suite']}: "
        f"{len(first['similarities']) - 1} rounds, {users}generator {first['generator']}, metric {first['metric']}. "
        f"Every policy met the same goals, first {_made(frame)}s and noise."
    )


def _named(ids: Sequence[str]) -> str:
    """The ids of parts, or how many people there are."""
    people = [part for part in ids if part.startswith(PERSON)]
    others = [part for part in ids if part not in people]
    return ", ".join([*others, *([f"{len(people)} people"] if people else [])])


def _summary_table(summary: pd.DataFrame, cost: pd.DataFrame) -> pd.DataFrame:
    columns = {"policy": summary.index, "episodes": [change.episodes for change in summary["change"]]}
    for title, name, digits in (
        ("avg. change", "change", ""),
        ("% improved", "improved", ".1%"),
        ("% reached", "reached", ".1%"),
        ("rounds", "rounds", ".2f"),
    ):
        columns[title] = [format(mean, digits) for mean in summary[name]]
    for kind in ("images", "passes"):
        if cost[kind].notna().any():
            columns[kind] = [count(mean) for mean in cost[kind].loc[summary.index]]
    judged = summary.filter(like=" change").map(str)
    return pd.DataFrame(columns).join(judged.reset_index(drop=True))


def _difference_table(frame: pd.DataFrame, policies: Iterable[str], baseline: str) -> pd.DataFrame:
    rows = []
    for policy in policies:
        if policy != baseline:
            difference = statistics.paired_difference(frame, policy, baseline)
            interval = difference.interval().brackets("+.4f")
            rows.append((policy, str(difference), interval, f"{difference.p_value:.2g}"))
    return pd.DataFrame(rows, columns=["policy", "difference", "95 % interval", "p"])


def count(mean: float) -> str:
    """A mean of whole numbers: 10, 9.5, or a dash where it isn't known."""
    return UNKNOWN if mean != mean else f"{mean:.1f}".removesuffix(".0")


def markdown_table(table: pd.DataFrame) -> str:
    """A pipe table; every cell as it prints.

    >>> print(markdown_table(pd.DataFrame({"policy": ["a"], "n": [1.50]})))
    | policy   | n   |
    |:---------|:----|
    | a        | 1.5 |
    """
    shown = table.map(lambda cell: plain(str(cell)).replace("|", "\\|"))
    return shown.to_markdown(index=False, disable_numparse=True)


def plain(text: str) -> str:
    r"""Text on one line that is no HTML, and that a terminal prints and doesn't obey, even if a stranger wrote it.

    >>> plain("<b>\x1b[2J")
    '&lt;b>?[2J'
    """
    return printable(" ".join(text.split())).replace("<", "&lt;")


def png(figure: plots.Figure) -> bytes:
    """A figure as a file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _address(figure: plots.Figure) -> str:
    """A figure as a data address."""
    return "data:image/png;base64," + base64.b64encode(png(figure)).decode()
