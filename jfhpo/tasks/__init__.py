"""The tasks: prompts, splits, worked solutions and exact answer checking. `TASKS` maps a name to its task."""

from jfhpo.tasks.four_choices import FourChoices
from jfhpo.tasks.last_digit import LastDigit
from jfhpo.tasks.linear_equation import LinearEquation
from jfhpo.tasks.sorting import Sorting
from jfhpo.tasks.text_task import TextTask

TASKS: dict[str, TextTask] = {task.name: task for task in (LastDigit(), LinearEquation(), Sorting(), FourChoices())}
