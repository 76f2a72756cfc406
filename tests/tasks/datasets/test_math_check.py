"""MATH answers: what counts as the same, and that no answer can hold a trainer up."""

from __future__ import annotations

import os
import resource
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from jfhpo.tasks.datasets import reward
from jfhpo.tasks.datasets.math_check import HELPERS, MathChecker, checker, math_right

pytest.importorskip("math_verify")

SAME = [
    ("\\frac{1}{2}", "0.5"),
    ("\\frac{1}{2}", "1/2"),
    ("\\frac12", "\\dfrac{2}{4}"),
    ("-\\frac12", "\\frac{-1}{2}"),
    ("6\\frac{1}{2}", "6.5"),
    ("-3", "-3"),
    ("-3", "−3"),
    ("1000", "1,000"),
    ("1,\\!000", "1000"),
    ("\\$18.50", "18.5"),
    ("5", "5\\text{ cm}"),
    ("36", "36\\text{ ft}^2"),
    ("90^\\circ", "90"),
    ("10\\%", "10"),
    ("10", "10\\%"),
    ("5", "5."),
    ("5", "x = 5"),
    ("2\\sqrt{3}", "\\sqrt{12}"),
    ("x^2+2x+1", "(x+1)^2"),
    ("(1,2)", "(1, 2)"),
    ("[1,2)", "\\left[1,2\\right)"),
    ("1,2", "2,1"),
    ("\\{1,2\\}", "2, 1"),
    ("\\pm 5", "5,-5"),
    ("\\text{even}", "even"),
    ("\\text{(A)}", "A"),
    ("11_2", "11_{2}"),
    ("11_2", "11"),
    ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}"),
    ("\\frac{}{}\\sqrt ]", "\\frac{}{} \\sqrt]"),  # what cannot be parsed is itself
]
DIFFERENT = [
    ("\\frac{1}{2}", "\\frac{1}{3}"),
    ("\\frac13", "0.33"),
    ("-3", "3"),
    ("1000", "1,00"),
    ("12345678901234567890", "12345678901234567891"),
    ("5", "5 \\text{ or } 6"),
    ("5", "x > 5"),
    ("5", "\\pm 5"),
    ("10\\%", "0.1"),
    ("(1,2)", "(2,1)"),
    ("[1,2)", "(1,2]"),
    ("\\text{even}", "\\text{odd}"),
    ("\\text{(A)}", "B"),
    ("11_2", "11_3"),
    ("11_{2}", "11_{3}"),
    ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}2\\\\1\\end{pmatrix}"),
    ("\\pi", "3.14"),
    ("5", "five"),
    ("5", "\\"),
    ("5", "\\frac{"),
]


@pytest.mark.parametrize(("gold", "given"), SAME)
def test_the_same_answer_in_another_form_is_right(gold, given):
    assert math_right(f"I think that it is $\\boxed{{{given}}}$.", gold)


@pytest.mark.parametrize(("gold", "given"), DIFFERENT)
def test_another_answer_is_wrong(gold, given):
    assert not math_right(f"I think that it is $\\boxed{{{given}}}$.", gold)


@pytest.mark.parametrize(
    ("completion", "strict", "flexible"),
    [
        ("\\boxed{4} or rather \\boxed{0.5}", 1.0, 1.0),
        ("\\boxed{0.5} or rather \\boxed{4}", 0.0, 0.0),
        ("\\boxed{4} or \\boxed{0.5", 0.0, 0.0),
        ("the final answer is $\\frac{1}{2}$", 0.0, 1.0),
        ("the final answer is 0.5", 0.0, 1.0),
        ("the final answer is 4", 0.0, 0.0),
        ("no idea", 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_where_the_answer_is_looked_for(completion, strict, flexible):
    assert reward("math", completion, "\\frac12") == strict
    assert reward("math", completion, "\\frac12", "flexible") == flexible


def cpu_of_ended_helpers() -> float:
    """Seconds: wall time would depend on what else the machine does."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture(scope="module")
def hasty():
    """One helper that has a second of CPU time per answer."""
    checker = MathChecker(helpers=1, cpu_seconds=1, wall_seconds=300, megabytes=512)
    yield checker
    checker.close()


MALICIOUS = {
    "power tower": "10^{10^{10^{10}}}",
    "factorial": "9999999!",
    "nested fractions": "\\frac{" * 90 + "1" + "}{2}" * 90,
    "nested braces": "{" * 450 + "1" + "}" * 450,
    "binomial": "\\binom{10^9}{5\\cdot 10^8}",
}


@pytest.mark.parametrize("answer", MALICIOUS.values(), ids=MALICIOUS)
def test_malicious_latex_is_wrong_in_bounded_time_and_the_next_answer_is_checked_as_ever(hasty, answer):
    assert hasty.same("\\frac12", "\\boxed{0.5}")
    began = cpu_of_ended_helpers()
    assert not hasty.same("x^2+1", f"\\boxed{{{answer}}}")
    assert 1.0 < cpu_of_ended_helpers() - began < 5.0  # one that ended: its start, one second, and what rounding adds
    assert hasty.same("\\frac12", "\\boxed{0.5}")


def test_the_limit_on_wall_time_ends_a_helper_too():
    checker = MathChecker(helpers=1, cpu_seconds=600, wall_seconds=1.0)
    began = cpu_of_ended_helpers()
    assert not checker.same("5", "\\boxed{9999999!}")
    assert 0 < cpu_of_ended_helpers() - began < 4.0
    checker.close()


def test_a_helper_that_dies_between_two_answers_is_replaced(hasty):
    assert hasty.same("1", "\\boxed{1.0}")
    helper = hasty._idle.queue[0]
    helper.process.kill()
    helper.process.wait()
    assert hasty.same("1", "\\boxed{1.0}")
    assert hasty._idle.queue[0].process.pid != helper.process.pid


def test_answers_are_checked_from_threads_as_from_the_main_one():
    cases = [("\\frac12", f"\\boxed{{\\frac{{{n}}}{{8}}}}") for n in range(1, 9)]
    with ThreadPoolExecutor(8) as threads:
        assert threading.current_thread() is threading.main_thread()
        rights = list(threads.map(lambda case: math_right(case[1], case[0]), cases))
    assert rights == [n == 4 for n in range(1, 9)]


def test_a_process_forked_while_every_helper_is_busy_has_helpers_of_its_own():
    assert math_right("\\boxed{2/4}", "0.5")
    busy = [checker()._idle.get() for _ in range(HELPERS)]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(120)  # where it waits for its parent's helpers, it waits for ever
        os.write(writing, str(math_right("\\boxed{3/6}", "0.5")).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    assert os.read(reading, 10) == b"True"
    for helper in busy:
        checker()._idle.put(helper)
    assert math_right("\\boxed{4/8}", "0.5")
