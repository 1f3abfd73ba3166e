"""Options of a study with people: its conditions, its texts, and the server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from experiments.run import EnvOptions, RunOptions, option, part, test_env
from experiments.run.options import PartsOptions, PlanningOptions, SentenceMetricOptions, ThompsonOptions
from steer_env import limits
from steer_env.registry import Part, Parts, Registry

LEARNERS: Parts = Registry("bandit", {"thompson": Part(ThompsonOptions, ""), "planning": Part(PlanningOptions, "")})
"""What learns from people while they play, with the options of experiments.train."""


@dataclass
class ImagesOptions(limits.Limited):
    """People keep the current image or pick a proposal (paper, Figure 15).

    Args:
        policy: decides the mixture scale of each round, as for experiments.evaluate.
        learn: in place of a policy, a bandit that learns from each session as it ends: thompson, thompson:cells=round
            or planning.
        mechanism: how proposals are drawn, such as bayesian:pool=192; by default the option mechanism.
        first: task, the first image is of the task's prompt; or own, the person writes one.
        suite, rounds, proposals: by default those of env.
    """

    policy: str = ""
    learn: str = ""
    mechanism: str = ""
    first: str = option("task", among=("task", "own"))
    suite: str = ""
    rounds: int = option(0, least=0)
    proposals: int = option(0, least=0)


@dataclass
class TextOptions(limits.Limited):
    """People write prompts (paper, Figure 14).

    Args:
        attempts: prompts that a person writes.
        choose: what else they may set with each: seed, guidance.
        suite: by default that of env.
    """

    attempts: int = option(5, least=2)
    choose: list[str] = field(default_factory=list)
    suite: str = ""


@dataclass
class HeadlinesOptions(limits.Limited):
    """People write instructions by which a language model rewrites a headline (paper, B.2).

    Args:
        suite: as for experiments.headlines.
        attempts: instructions that a person writes.
    """

    suite: str
    attempts: int = option(5, least=2)


@dataclass
class RatingsOptions(limits.Limited):
    """People rate what others made (paper, Figures 16 to 19).

    Args:
        question: similarity, how similar the image is to the goal, from 1 to 10; satisfaction, how satisfied they are
            with it, from 1 to 4; improvement, which of the first and the last image is closer to the goal; or prompt,
            which of the goal and the image the prompt describes better.
        of: folder of a study with people, whose finished sessions are rated.
        goals: sessions that a person rates.
        attempt: of the question prompt: first or last.
    """

    question: str = limits.option(among=("similarity", "satisfaction", "improvement", "prompt"))
    of: str = limits.option()
    goals: int = option(6, least=1)
    attempt: str = option("last", among=("first", "last"))


CONDITIONS: Parts = Registry(
    "condition",
    {
        "images": Part(ImagesOptions, "", "policy"),
        "text": Part(TextOptions, ""),
        "headlines": Part(HeadlinesOptions, "", "suite"),
        "ratings": Part(RatingsOptions, "", "question"),
    },
)
"""What people may do in a session, by the options of each."""


@dataclass
class WebOptions:
    """The server.

    Args:
        host: address that it listens on; 127.0.0.1 can be reached from this machine alone.
        port: 0 for any that is free.
        password: of the researcher's pages, for the user researcher; needed as soon as the address isn't loopback.
        proxy: address of the reverse proxy before the server, whose word on where a request comes from is taken.
        requests_per_second: of one person, or of one address that isn't a person's yet; 20 times as many at once.
        arrivals_per_minute: new people from one address; a third of them at once.
        people: at a time; more are asked to come back later.
    """

    host: str = "127.0.0.1"
    port: int = option(8000, least=0, most=65535)
    password: str = ""
    proxy: str = ""
    requests_per_second: float = option(10.0, least=0.1)
    arrivals_per_minute: float = option(60.0, least=0.1)
    people: int = option(200, least=1)


@dataclass
class CodesOptions:
    """What people paste into the platform that recruited them, or are sent back to it with.

    Args:
        platform: none; prolific, with PROLIFIC_PID, STUDY_ID and SESSION_ID in the address; or mturk, as an
            ExternalQuestion.
        completed, screened_out, failed_attention: completion codes.
    """

    platform: str = option("none", among=("none", "prolific", "mturk"))
    completed: str = ""
    screened_out: str = ""
    failed_attention: str = ""


@dataclass
class BotsOptions:
    """Simulated users over HTTP (mode=bots): a pilot of the study, and its load test.

    Args:
        url: of the server.
        people: in all.
        at_once: of them.
        human: who chooses; it sees the images that the server sends, and nothing else.
        think: seconds before an answer, on average.
        drop: share of them who leave in the middle.
        seed: of what they draw.
    """

    url: str = "http://127.0.0.1:8000"
    people: int = option(50, least=1)
    at_once: int = option(50, least=1)
    human: str = "greedy"
    think: float = option(0.0, least=0)
    drop: float = option(0.0, least=0, most=1)
    seed: int = option(0, least=0)


@dataclass
class PeopleOptions(PartsOptions, RunOptions):
    """Run a study in which real people steer, in a browser; see docs/people.md.

    The option human has no effect. The same command goes on with a study that was stopped.

    Args:
        mode: serve, until Ctrl-C; export, traces, ratings and the report of a study's folder, then end; or bots,
            simulated users for a server that runs elsewhere.
        conditions: images, text, headlines or ratings with their options, such as images:published or
            text:choose=[seed]. People aren't shown which one they have.
        goals: tasks of a suite that each condition plays once, from the first.
        sessions: that a person plays.
        design: between, all sessions of a person in one condition; or within, each in another, in counterbalanced
            order.
        attention: share of sessions of choosing images in which one screen more has the goal itself among the options.
        failures: attention checks that a person may fail.
        patience: minutes without a sign of a person, after which the cell is given to another person.
        ahead: whether the worker, where none waits for it, makes the next proposals after each choice that people may
            make; it takes as many images more as a round has choices.
        gather: milliseconds for which requests are gathered into one batch of images.
        places: sessions of one mechanism whose state is kept in memory; others are played again when they go on.
        seed: of the assignment.
        title: of the study, on every page.
        consent: file with the text that people agree to, blank lines between paragraphs; an example by default.
        instructions: likewise, in place of the usual ones, which say how to do what the conditions ask for.
        contact: whom people may write to.
        writer: the language model that people of the condition headlines steer.
        sentences: the similarity of headlines.
    """

    mode: str = option("serve", among=("serve", "export", "bots"))
    conditions: list[str] = option(["images:random-bucket", "images:published"], length=1, unique=True)
    goals: int = option(50, least=1)
    sessions: int = option(4, least=1)
    design: str = option("between", among=("between", "within"))
    attention: float = option(0.0, least=0, most=1)
    failures: int = option(1, least=0)
    patience: float = option(30.0, least=0.01)
    ahead: bool = False
    gather: float = option(100.0, least=0, most=1000)
    places: int = option(64, least=1)
    seed: int = option(0, least=0)
    title: str = "Steering images"
    consent: str = ""
    instructions: str = ""
    contact: str = ""
    writer: Any = part("none")
    sentences: SentenceMetricOptions = field(default_factory=lambda: SentenceMetricOptions(path=""))
    env: EnvOptions = test_env()
    codes: CodesOptions = field(default_factory=CodesOptions)
    web: WebOptions = field(default_factory=WebOptions)
    bots: BotsOptions = field(default_factory=BotsOptions)
