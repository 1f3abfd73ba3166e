"""Each command, as a user runs it, on the embedded model at the smallest size."""

import json
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from hydra import compose, initialize_config_dir

from experiments import compare, evaluate, train
from experiments.run.command import _quoted
from experiments.run.options import CONF, PARTS, groups_of
from steer_env.files import DamagedError
from steer_env.policies import read_policy
from steer_env.traces import read_traces
from tests.markdown import compact

pytestmark = pytest.mark.usefixtures("blots")

EXPERIMENTS = Path(train.__file__).parent
COMMANDS = [
    import_module(".".join(("experiments", *path.relative_to(EXPERIMENTS).with_suffix("").parts)))
    for path in sorted(EXPERIMENTS.rglob("*.py"))
    if "\n@command(" in path.read_text()
]


SHORT = ("env.rounds=2", "env.proposals=1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "learned"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train", f"folder={folder}", "episodes=16", "batch=8"])
        train.main()
    return folder


def test_training_leaves_policy_result_traces_and_plots(trained: Path) -> None:
    policy = read_policy(trained / "policy")
    assert policy.name == "learned"
    assert policy.card.training is not None
    assert (policy.card.training.suite, policy.card.training.episodes) == ("tiles-train-v1", 16)
    assert policy.card.training.settings["prior_variance"] == 1.0
    result = json.loads((trained / "result.json").read_text())
    assert result["episodes"] == 16
    assert result["scales"] == read_policy(trained / "policy").scales.tolist()
    assert len(read_traces(trained / "traces")) == 16
    for name in ("config.yaml", "checkpoint.json", "training.png", "values.png"):
        assert (trained / name).stat().st_size > 0


@pytest.mark.parametrize("agent", ["thompson-eq9", "planning", "ppo", "a2c", "dqn"])
def test_every_agent_trains_and_its_learning_is_reported(
    agent: str, tmp_path: Path, command: Callable[..., None]
) -> None:
    run, table = tmp_path / "run", tmp_path / "table"
    command(train.main, f"agent={agent}", f"folder={run}", "episodes=32", "batch=8", "seed=2")
    assert read_policy(run / "policy").training_seed == 2
    command(evaluate.main, f"folder={table}", f"policies=[random-bucket,{run}]", "tasks=2", "strips=0")
    assert list((table / "figures").glob("what-was-learned*.png"))


def test_a_finished_run_is_never_overwritten_without_being_told_to(trained: Path, command: Callable[..., None]) -> None:
    before = (trained / "result.json").read_bytes()
    with pytest.raises(FileExistsError, match="holds a finished run: choose another folder, or overwrite=true"):
        command(train.main, f"folder={trained}", "episodes=16", "batch=8")
    assert (trained / "result.json").read_bytes() == before


def test_an_unfinished_run_of_another_configuration_is_refused(tmp_path: Path, command: Callable[..., None]) -> None:
    command(train.main, f"folder={tmp_path}", "episodes=8", "batch=8")
    (tmp_path / "result.json").unlink()
    with pytest.raises(FileExistsError, match="unfinished run with other seed"):
        command(train.main, f"folder={tmp_path}", "episodes=8", "batch=8", "seed=1")
    command(train.main, f"folder={tmp_path}", "episodes=8", "batch=8", "seed=1", "overwrite=true")
    assert read_policy(tmp_path / "policy").training_seed == 1


@pytest.mark.parametrize("content", [b"\x00\xff", b"a: [", b"- 1", b"&a [*a]"])
def test_a_damaged_configuration_is_refused_by_name(
    content: bytes, tmp_path: Path, command: Callable[..., None]
) -> None:
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(DamagedError, match=r"config\.yaml is damaged: [^\n]+$"):
        command(train.main, f"folder={tmp_path}", "episodes=8")


def test_a_run_may_go_on_with_a_bank_of_goals_elsewhere(tmp_path: Path, command: Callable[..., None]) -> None:
    options = (f"folder={tmp_path / 'run'}", "episodes=8", "batch=4", "env.rounds=1")
    command(train.main, *options, f"env.goal_bank={tmp_path / 'one'}")
    assert len(list((tmp_path / "one").glob("*/*.safetensors"))) == 2 * 8
    (tmp_path / "run" / "result.json").unlink()
    with pytest.raises(FileExistsError, match="unfinished run with other env"):
        command(train.main, *options)
    command(train.main, *options, f"env.goal_bank={tmp_path / 'two'}")
    assert (tmp_path / "run" / "result.json").exists()


def test_overwriting_deletes_a_runs_own_files_alone(tmp_path: Path, command: Callable[..., None]) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for episodes in (16, 8):
        command(train.main, f"folder={tmp_path}", f"episodes={episodes}", "batch=8", "overwrite=true")
    assert len(read_traces(tmp_path / "traces")) == 8
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_evaluation_leaves_a_report_and_goes_on_where_it_stopped(
    trained: Path, tmp_path: Path, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    options = [f"folder={tmp_path}", f"policies=[random-bucket,{trained}]", "tasks=6", "tasks_per_batch=2", "strips=1"]
    command(evaluate.main, *options)
    assert "random bucket" in capsys.readouterr().out
    report = (tmp_path / "report.html").read_text()
    assert report.count("data:image/png;base64,") == 5
    markdown = (tmp_path / "report.md").read_text()
    assert "| learned | 6 |" in compact(markdown)
    first, *rest = sorted((tmp_path / "traces").iterdir())
    untouched = first.stat().st_mtime_ns
    for path in (*rest, tmp_path / "result.json"):
        path.unlink()
    command(evaluate.main, *options)
    assert first.stat().st_mtime_ns == untouched
    assert (tmp_path / "report.md").read_text() == markdown


def test_episodes_are_drawn_where_judges_have_options(tmp_path: Path, command: Callable[..., None]) -> None:
    options = (
        "tasks=2",
        "strips=1",
        "policies=[random-bucket]",
        "env.judges=[{name: pixel-correlation, grid: 8}]",
        *SHORT,
    )
    command(evaluate.main, f"folder={tmp_path}", *options)
    assert (tmp_path / "figures" / "episodes.png").stat().st_size > 0


def test_table_1_comes_from_one_command(trained: Path, tmp_path: Path, command: Callable[..., None]) -> None:
    players = f"policies=[{trained},random-session,text:blind,text:feedback,text:attribute]"
    options = [f"folder={tmp_path / 'one'}", players, "baseline=text attribute", "tasks=4", "tasks_per_batch=3"]
    command(evaluate.main, *options, "strips=1")
    report = (tmp_path / "one" / "report.md").read_text()
    for name in ("text attribute", "text blind", "text feedback", "random scale per session", "learned"):
        assert f"| {name} | 4 |" in compact(report)
    assert "## Paired differences from “text attribute”" in report
    assert (tmp_path / "one" / "figures" / "episodes.png").stat().st_size > 0
    (tmp_path / "one" / "result.json").unlink()
    (tmp_path / "one" / "traces" / "00000003.parquet").unlink()
    command(evaluate.main, *options, "strips=1")
    assert (tmp_path / "one" / "report.md").read_text() == report
    other = ["policies=[random-session]", "baseline=random scale per session", "mechanism=fresh"]
    command(evaluate.main, f"folder={tmp_path / 'two'}", *other, "tasks=4", "strips=0")
    both = f"evaluations=[{tmp_path / 'one'},{tmp_path / 'two'}]"
    command(compare.main, f"folder={tmp_path / 'both'}", both, "baseline=text attribute")
    compared = compact((tmp_path / "both" / "report.md").read_text())
    assert "| random scale per session, fresh | 4 |" in compared
    assert "| text blind | 4 |" in compared


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("env.suite=tiles-test-v9", "unknown suite 'tiles-test-v9'"),
        ("policies=[text:atribute]", "unknown prompter 'atribute'; did you mean 'attribute'"),
        ("policies=[random-bucket,no/such/run]", "holds no policy: train one there first"),
        ("baseline=published", "the baseline 'published' isn't among the policies evaluated: random bucket"),
        ("tasks=1", "tasks must be at least 2, got 1"),
        ("folder=", "folder must be a path, got ''"),
        ("folder=/dev/null/run", "folder=/dev/null/run can't be made: /dev/null is no folder"),
        ("threads=100000000", "threads must be from 0 to 1024, got 100000000"),
        ("generator.steps=0", "generator.steps must be from 1 to 1000, got 0"),
        ("generator.guidance_scale=nan", "generator.guidance_scale must be a finite number, got nan"),
        ("tasks=2001", "tasks must be 2 to 2000, the size of tiles-test-v1, got 2001"),
    ],
)
def test_errors_come_before_any_work(tmp_path: Path, command: Callable[..., None], override: str, message: str) -> None:
    with pytest.raises((ValueError, NotADirectoryError), match=message):
        command(evaluate.main, *([] if override.startswith("folder") else [f"folder={tmp_path / 'new'}"]), override)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "agent.prior_varianse=2",
            "unknown option of agent thompson 'prior_varianse'; did you mean 'prior_variance'? There are: ",
        ),
        (
            "+epochs=3",
            "unknown option of train 'epochs'; .*There are: threads, folder, overwrite, device, dtype, generator",
        ),
        ("env.suit=x", "did you mean 'suite'"),
    ],
)
def test_a_typo_is_an_error_that_lists_what_exists(command: Callable[..., None], override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", "[?]")):
        command(train.main, "folder=x", override)


def test_an_evaluation_never_overwrites_the_training_that_it_evaluates(
    trained: Path, command: Callable[..., None]
) -> None:
    with pytest.raises(ValueError, match=r"is where the policy .* is kept: choose another folder"):
        command(evaluate.main, f"folder={trained}", f"policies=[random-bucket,{trained}]", "overwrite=true", "tasks=2")
    assert read_policy(trained / "policy").name == "learned"


def test_the_shell_may_complete(command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    with suppress(SystemExit):
        command(train.main, "-sc", "install=bash")
    assert "hydra_bash_completion" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["published", "'a|b'"])
def test_a_training_has_a_name_that_its_policy_may_have(refuses: Callable[..., None], name: str) -> None:
    refuses(train.main, r"like a built-in one|name must be 1 to 80 plain characters", f"agent.name={name}")


def test_a_configuration_is_printed_without_any_work(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(train.main, "--cfg", "job", "seed=3")
    assert "\nseed: 3\n" in capsys.readouterr().out


@pytest.mark.parametrize("experiment", COMMANDS)
def test_help_explains_every_option(
    experiment: ModuleType, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command(experiment.main, "--help")
    printed = capsys.readouterr().out
    for option in fields(experiment.main.options):
        assert re.search(
            rf"^  {option.name}  \(|^{option.name}=|^{option.name}$|, {option.name}$", printed, re.MULTILINE
        )
    for head in re.findall(r"^  \S+  \(.*\)\n(.*)", printed, re.MULTILINE):
        assert head.strip(), "an option isn't explained"
    for group in groups_of(experiment.main.options).keys() & PARTS.keys():
        for member in PARTS[group].values():
            assert all(f"  {group}.{option.name}  (" in printed for option in fields(member.options))


@pytest.mark.parametrize("experiment", COMMANDS)
def test_no_librarys_warnings_are_silenced(experiment: ModuleType) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = compose(experiment.main.command, return_hydra_config=True).hydra
    for logging in (hydra.job_logging, hydra.hydra_logging):
        assert not logging.disable_existing_loggers


@pytest.mark.parametrize("value", ["~/sets/é.csv", "a!b#c", "/data/100%/a b", "@home/x=1", "ü"])
def test_paths_of_all_kinds_reach_the_options(value: str) -> None:
    """Hydra's own language refuses home folders and letters that aren't English ones, but in quotes."""
    with initialize_config_dir(str(CONF), version_base=None):
        words = [f"env.suite={value}", f"policies=[random-bucket,{value.replace('=', '-')}]"]
        config = compose("evaluate", ["folder=x", *map(_quoted, words)])
    assert config.env.suite == value
    assert config.policies == ["random-bucket", value.replace("=", "-")]


def test_a_path_may_hold_whatever_a_file_system_takes() -> None:
    place = "/data/a b,c=d%e[f]{ü}\"'(1)"
    with initialize_config_dir(str(CONF), version_base=None):
        assert compose("evaluate", ["folder=x", _quoted(f"env.suite={place}")]).env.suite == place
        assert compose("evaluate", ["folder=x", _quoted("tasks=int(3.0)")]).tasks == 3


def test_sweeps_over_such_paths_are_sweeps() -> None:
    assert _quoted("env.suite=~/a,~/b") == 'env.suite="~/a","~/b"'
    assert _quoted("seed=0,1") == "seed=0,1"
