import pytest

from experiments.study.comparison import PAPER, Printed, value_row


def test_printed_numbers_are_parsed_with_their_digits() -> None:
    assert Printed.parse("0.52 (0.01)") == Printed(0.52, 0.01, 2, False)
    assert Printed.parse("2,770") == Printed(2770, None, 0, False)
    found = Printed.parse("54.7% (3.6%)")
    assert (found.value, found.error, found.digits) == (pytest.approx(0.547), pytest.approx(0.036), 1)


def test_what_is_no_printed_number_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"'about half' isn't a number as the paper prints it"):
        Printed.parse("about half")


@pytest.mark.parametrize(
    ("ours", "error", "printed", "agrees"),
    [
        (0.5249, 0.0149, "0.52 (0.01)", "yes"),
        (0.5249, 0.0151, "0.52 (0.01)", "value"),
        (0.5251, 0.01, "0.52 (0.01)", "no"),
        (0.6249, 0.2, "62%", "yes"),
        (0.6251, 0.2, "62%", "no"),
        (0.6251, 0.2, "", ""),
    ],
)
def test_agreement_is_to_the_printed_digit(ours: float, error: float, printed: str, agrees: str) -> None:
    assert value_row("row", "measure", ours, error, error, 9, printed)["agrees"] == agrees


def test_every_number_of_the_paper_can_be_parsed() -> None:
    numbers = [printed for measures in PAPER.values() for rows in measures.values() for printed in rows.values()]
    assert len(numbers) == 102
    assert all(Printed.parse(printed).value > 0 for printed in numbers)
