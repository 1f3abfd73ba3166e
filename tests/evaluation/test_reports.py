import re
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest

from steer_env.evaluation import plots, statistics
from steer_env.evaluation.reports import Report, Section, steering_report
from steer_env.traces import SteeringTrace, traces_to_frame
from tests.markdown import compact
from tests.steer_env.test_traces import TRACE


@pytest.fixture(scope="module")
def traces() -> list[SteeringTrace]:
    rng = np.random.default_rng(0)
    return [
        replace(
            TRACE,
            policy=policy,
            task_index=task,
            similarities=np.sort(rng.random(5)).tolist(),
            judged={"pixel-correlation": rng.random(5).tolist()},
        )
        for policy in ("random bucket", "learned <b>")
        for task in range(12)
    ]


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.sources: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th") and data.strip():
            self.cells.append(data.strip())


def test_the_page_needs_no_other_file_and_holds_the_tables_of_the_terminal(traces: list[SteeringTrace]) -> None:
    figure = plots.training_curve(np.linspace(0, 1, 50))
    learning = [Section("What was learned", "text", figures=[figure])]
    report = steering_report(traces, "random bucket", 0.8, learning, strips=[figure])
    page = _Page(report.html())
    assert len(page.sources) >= 4
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    rows = [line for line in report.markdown().splitlines() if line.startswith("| ")]
    cells = [unescape(cell.strip()) for row in rows for cell in row.strip("|").split("|")]
    assert cells == page.cells
    assert any("<b>" in cell for cell in cells), "names with markup in them are escaped in both"


def test_saving_writes_page_tables_and_figures(traces: list[SteeringTrace], tmp_path: Path) -> None:
    figure = plots.training_curve(np.linspace(0, 1, 50))
    report = steering_report(traces, "random bucket", 0.8, strips=[figure, figure])
    report.save(tmp_path / "new")
    assert (tmp_path / "new" / "report.html").read_text() == report.html()
    names = {path.name for path in (tmp_path / "new" / "figures").iterdir()}
    assert {"similarity-at-each-attempt-figure-9.png", "episodes-1.png", "episodes-2.png"} <= names


def test_figures_are_the_tables_own_numbers(traces: list[SteeringTrace]) -> None:
    frame = traces_to_frame(traces)
    report = steering_report(traces, "random bucket", 0.8)
    change = statistics.summary(frame, 0.8).loc["learned <b>", "change"]
    assert str(change) in report.markdown()
    difference = statistics.paired_difference(frame, "learned <b>", "random bucket")
    assert re.search(rf"\| {re.escape(str(difference))} \|", report.markdown())
    assert "12 tasks of tiles-val-v1" in report.markdown()


def test_cost_stands_beside_gain(traces: list[SteeringTrace]) -> None:
    """Files from before images were counted give a dash, or no column; a mean that isn't whole has a decimal."""
    counted = [replace(trace, images=59 + (trace.task_index == 0) * 6) for trace in traces[:12]]
    (table,) = steering_report([*counted, *traces[12:]], "random bucket", 0.8).sections[0].tables
    assert dict(zip(table["policy"], table["images"], strict=True)) == {"random bucket": "59.5", "learned <b>": "–"}
    (table,) = steering_report([replace(trace, images=10) for trace in traces], "random bucket", 0.8).sections[0].tables
    assert table["images"].tolist() == ["10", "10"]
    assert "passes" not in table.columns
    both = [replace(trace, images=10, passes=194.5) for trace in traces]
    (table,) = steering_report(both, "random bucket", 0.8).sections[0].tables
    assert table["passes"].tolist() == ["194.5", "194.5"]
    first = steering_report(traces, "random bucket", 0.8).sections[0]
    assert "images" not in first.tables[0].columns
    assert "Images:" not in first.text


@pytest.mark.parametrize("stayed", [False, True])
def test_the_value_function_leaves_out_what_was_never_played(stayed: bool) -> None:
    counts = np.zeros((2, 2, 10), dtype=int)
    counts[:, 0, 2:] = 5
    counts[1, 1, :] = 3 * stayed
    figure = plots.value_function(np.ones((2, 2, 10)), np.ones((2, 2, 10)), counts)
    assert isinstance(figure, matplotlib.figure.Figure)
    curves = [len(np.asarray(line.get_xdata())) for line in figure.axes[1].lines if line.get_marker() == "o"]
    assert curves == ([8, 10] if stayed else [8])


def test_the_training_curve_averages_windows() -> None:
    figure = plots.training_curve(np.repeat([0.0, 1.0], 500), window=100)
    (line,) = figure.axes[0].lines
    assert np.asarray(line.get_ydata()).tolist() == [0.0] * 5 + [1.0] * 5


class TestTextSteering:
    """Episodes without scales and choices."""

    @staticmethod
    def written(traces: list[SteeringTrace]) -> list[SteeringTrace]:
        return [
            replace(t, policy="text blind", mechanism="text", human="writer", scales=[], choices=[], prompts=["a"] * 5)
            for t in traces[:12]
        ]

    def test_it_stands_beside_image_steering_but_neither_stays_nor_has_scales(
        self, traces: list[SteeringTrace]
    ) -> None:
        report = steering_report([*self.written(traces), *traces], "text blind", 0.8)
        text = compact(report.markdown())
        assert report.title == "Text and image steering"
        assert "## Text and image steering (Table 1)" in text
        assert text.count("| text blind |") == 1
        assert "user greedy, mechanism mixture, generator" in text
        assert "3 policies on 12 tasks of tiles-val-v1: 4 rounds" in text
        stays, scales = report.sections[3:5]
        assert stays.tables[0]["policy"].tolist() == ["random bucket", "learned <b>"]
        assert [label.get_text() for label in scales.figures[0].axes[0].get_legend().get_texts()] == [
            "random bucket",
            "learned <b>",
        ]
        curves = report.sections[2].figures[0].axes[0].get_legend_handles_labels()[1]
        assert curves[0] == "text blind"

    def test_alone_it_has_no_section_about_choices(self, traces: list[SteeringTrace]) -> None:
        written = self.written(traces)
        other = [replace(trace, policy="text feedback") for trace in written]
        report = steering_report([*written, *other], "text blind", 0.8)
        assert report.title == "Text steering"
        assert [section.title for section in report.sections] == [
            "Text steering (Table 1)",
            "Paired differences from “text blind”",
            "Similarity at each attempt (Figure 9)",
        ]


def test_what_strangers_wrote_is_text_in_both_pages() -> None:
    words = "a|b <script>alert(1)</script>\x1b[2J\n# heading"
    report = Report("T", words, [Section(words, words, [pd.DataFrame({"policy": [words]})])])
    markdown = report.markdown()
    assert "<script>" not in markdown
    assert "\x1b" not in markdown
    assert [line for line in markdown.splitlines() if line.startswith("# ")] == ["# T"]
    assert "a\\|b" in [line for line in markdown.splitlines() if line.startswith("|")][-1]
    assert "<script>alert" not in report.html()
