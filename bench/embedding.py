"""Compares the embedder of the embedded mode with a bare loop over the same model, in calls as the worker makes them.

Floor and embedder take turns within one process, so that a busy neighbour disturbs both alike; the ratio is taken
within each round and its median is reported. `bench.skeleton` reports it; `embedder_floor` explains the floor.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench import embedder_floor
from bench.embedder_floor import Cost, Floor
from bench.report import Aim, Goal
from lectern_runtime.adapters.onnx import OnnxMiniLm

BOUND = 0.9
WALL = Aim("embedding", "embedder, passages a second", ">=", BOUND, "/s", of_floor=True)
CPU = Aim("embedding-cpu", "embedder, passages a CPU second", ">=", BOUND, "/s", of_floor=True)
AIMS = (WALL, CPU)
WARM_UP = 1


@dataclass(frozen=True)
class Comparison:
    """What each round cost, in rounds of the same calls; `texts` in a round."""

    floors: tuple[Cost, ...]
    embedder: tuple[Cost, ...]
    texts: int

    @property
    def wall(self) -> float:
        """Median over the rounds of floor / embedder in seconds on the wall: the share of its speed that is left."""
        return _median_ratio(_walls(self.floors), _walls(self.embedder))

    @property
    def cpu(self) -> float:
        """The same in CPU seconds, which a busy machine disturbs less."""
        return _median_ratio(_cpus(self.floors), _cpus(self.embedder))

    def goals(self, seed: int) -> list[Goal]:
        """Return one goal for time and one for CPU time."""
        rounds = len(self.floors)
        remark = f"medians of {rounds} rounds of {self.texts} passages, floor and embedder in turns"
        return [
            aim.measured(
                self._speed(costs),
                floor=self._speed(floors),
                ratio=ratio,
                n=self.texts * rounds,
                seed=seed,
                reason=remark,
            )
            for aim, costs, floors, ratio in (
                (WALL, _walls(self.embedder), _walls(self.floors), self.wall),
                (CPU, _cpus(self.embedder), _cpus(self.floors), self.cpu),
            )
        ]

    def _speed(self, seconds: Sequence[float]) -> float:
        return self.texts / statistics.median(seconds)


async def measure(texts: Sequence[str], embedder: OnnxMiniLm, *, rounds: int) -> Comparison:
    """Return what `rounds` rounds cost the bare loop and the embedder, after one that touches the weights."""
    info = await embedder.info()
    calls = [texts[start : start + info.max_batch_size] for start in range(0, len(texts), info.max_batch_size)]
    floor = Floor(embedder_floor.THREADS)
    passes = [floor.plan(call) for call in calls]
    floors, costs = [], []
    for _ in range(rounds + WARM_UP):
        spent = [floor.run(each)[1] for each in passes]
        floors.append(Cost(sum(cost.cpu for cost in spent), sum(cost.wall for cost in spent)))
        costs.append(await embedder_floor.embed(embedder, calls))
    return Comparison(tuple(floors[WARM_UP:]), tuple(costs[WARM_UP:]), len(texts))


def _walls(costs: Sequence[Cost]) -> list[float]:
    return [cost.wall for cost in costs]


def _cpus(costs: Sequence[Cost]) -> list[float]:
    return [cost.cpu for cost in costs]


def _median_ratio(floors: Sequence[float], costs: Sequence[float]) -> float:
    return statistics.median(floor / cost for floor, cost in zip(floors, costs, strict=True))
