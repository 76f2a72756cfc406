"""NOMAD 4 (Audet, Le Digabel, Rochon Montplaisir and Tribes 2022, ACM TOMS 48(3)): mesh adaptive direct search.

Every point is a full run on the target, the first one the recipe; the objective is 1 − validation accuracy. The library
is the authors', with its defaults: OrthoMADS with n+1 directions, the last from a quadratic model, opportunistic polls,
quadratic-model, speculative and Nelder-Mead searches. Tribes et al. (arXiv 2312.00949) tune LoRA fine-tuning with it;
the encoding of the space is theirs (`baselines.nomad_space`).

MADS evaluates one point at a time: there is nothing else to run while one is pending. Where it ends, because its mesh
is at its finest or its starting point failed, it starts again from a random configuration that was not tried. No
configuration is trained twice: NOMAD is told what is known of it.

With ``method.warm_start=<folder of an earlier study>`` the first run has no starting point: NOMAD is given that study's
full runs as its cache, and goes on from the best of them, as in Tribes et al.'s second round. What was found there is
not recommended here.

Not implemented: blocks of points for parallel evaluation, constraints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from baselines import earlier
from baselines.full_runs import FullRuns
from baselines.nomad_run import NomadRun
from baselines.nomad_space import Encoding
from jfhpo.core.errors import UsageError, check_choices
from jfhpo.core.optimizer import Optimizer
from jfhpo.core.optional import optional
from jfhpo.core.problem import Problem
from jfhpo.core.space import config_key
from jfhpo.core.trial import Config, Status, Trial, TrialResult

DIRECTIONS = {
    "ortho_n+1_quad": "ORTHO N+1 QUAD",
    "ortho_n+1_neg": "ORTHO N+1 NEG",
    "ortho_2n": "ORTHO 2N",
    "n+1_uni": "N+1 UNI",
}
"""Setting -> NOMAD's DIRECTION_TYPE."""
MAX_SEED = 2**16
"""NOMAD draws as many random numbers as its SEED says before it begins: half a minute for the largest."""


@dataclass
class NomadSettings:
    frame_size: float = 0.1
    """Initial frame, as a share of each variable's range; 1 at least for integers and indices."""
    directions: str = "ortho_n+1_quad"
    """Of a poll: ortho_n+1_quad, ortho_n+1_neg, ortho_2n or n+1_uni."""
    anisotropic_mesh: bool = True
    """Whether the mesh may become finer in some variables than in others."""
    quad_model_search: bool = True
    """Search at the optimum of a quadratic model before polling."""
    vns_search: bool = False
    """Variable neighbourhood search, to leave local optima, before polling."""
    warm_start: str = ""
    """Folder of an earlier study, or of its seeds, whose full runs NOMAD knows from the beginning."""


class Nomad(Optimizer):
    name: ClassVar[str] = "nomad"
    Settings: ClassVar[type] = NomadSettings

    def __init__(self, problem, *, seed, settings=None):
        super().__init__(problem, seed=seed, settings=settings)
        s = self.settings
        check_choices(s, directions=DIRECTIONS)
        if not 0 < s.frame_size <= 1:
            raise UsageError(f"method.frame_size={s.frame_size:g} must be above 0 and at most 1: a share of the range")
        optional("PyNomad", "baselines", "method=nomad")
        self.rng = np.random.default_rng(seed)
        self.encoding = Encoding(problem.space)
        self.answers: dict[str, float | None] = {}
        """By configuration, 1 − accuracy, or None where there is none."""
        self.cache = earlier.full_runs(s.warm_start, problem, seed) if s.warm_start else []
        self.answers |= {config_key(config): 1.0 - score for config, score in self.cache}
        self.run: NomadRun | None = None
        """The one under way."""
        self.runs = FullRuns()

    @classmethod
    def unsupported(cls, problem: Problem) -> str | None:
        if conditional := list(problem.space.conditions):
            return (
                f"{', '.join(conditional)} is not in every configuration, and NOMAD's mesh has no place for that; "
                "use tpe, smac or random_search"
            )
        if not Encoding(problem.space).variables:
            return "its space holds a single configuration; use recipe"
        return None

    # -- proposing ---------------------------------------------------------------------------------------------

    def propose(self) -> Trial | None:
        if self.pending:
            return None
        if len(self.answers) == self.encoding.size:
            if self.run is not None:
                self.run.end()
            return None
        if self.run is None and self.cache:
            self.run = self._run(None)
        config = self.run.proposal() if self.run is not None else None
        if config is None:
            config = self._restart()
        return self.trial(config, self.problem.full)

    def _run(self, start: Config | None) -> NomadRun:
        """From a starting point, or from the cache."""
        cache = self.cache if start is None else ()
        seed = int(self.rng.integers(MAX_SEED))
        return NomadRun(self.encoding, start, self.answers, self._parameters(), seed, cache)

    def _restart(self) -> Config:
        """The starting point of a new run."""
        first = self.run is None and self.problem.recipe_first
        start = self.problem.recipe if first else self._untried()
        self.run = self._run(start)
        return start

    def _untried(self) -> Config:
        while True:
            (config,) = self.problem.space.sample(self.rng, 1)
            if config_key(config) not in self.answers:
                return config

    def _parameters(self) -> list[str]:
        s, sizes = self.settings, []
        for variable in self.encoding.variables:
            low, high = variable.bounds
            size = s.frame_size * (high - low)
            # NOMAD refuses a fraction where a variable has whole values only, and ends.
            sizes.append(size if variable.letter == "R" else max(float(round(size)), 1.0))
        return [
            f"INITIAL_FRAME_SIZE ( {' '.join(map(repr, sizes))} )",
            f"DIRECTION_TYPE {DIRECTIONS[s.directions]}",
            f"ANISOTROPIC_MESH {s.anisotropic_mesh}",
            f"QUAD_MODEL_SEARCH {s.quad_model_search}",
            f"VNS_MADS_SEARCH {s.vns_search}",
        ]

    # -- observing and recommending ----------------------------------------------------------------------------

    def observe(self, result: TrialResult) -> None:
        """A trial that a rule stopped counts with its score. One that the budget cut is a failed evaluation, for NOMAD
        knows no third way."""
        self.runs.add(result)
        unknown = result.score is None or result.status is Status.CUT
        self.answers[config_key(result.trial.config)] = None if unknown else 1.0 - result.score

    def recommend(self) -> Config:
        """The best validation score among completed runs; before there is one, the recipe."""
        return dict(self.runs.best() or self.problem.recipe)
