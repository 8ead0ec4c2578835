"""How sparsity grows with the optimiser step."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CubicSchedule:
    """Share of the final sparsity reached at a step, fast at first (Zhu & Gupta 2017, eq. 1).

        s(t) / s_f = 1 − (1 − i)·(1 − p)³,   p = clip((t − begin) / (end − begin), 0, 1)

    `initial` is i = s_i / s_f, the share from which the ramp starts.
    """

    begin: int  # optimiser step
    end: int  # optimiser step, after `begin`
    initial: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.begin < self.end:
            raise ValueError(f"a schedule needs 0 <= begin < end; got {self.begin} and {self.end}")
        if not 0.0 <= self.initial <= 1.0:
            raise ValueError(f"the initial share of a schedule is within 0 and 1; got {self.initial}")

    def __call__(self, step: int) -> float:
        """The share at `step`: `initial` up to `begin`, 1 from `end` on."""
        progress = min(max((step - self.begin) / (self.end - self.begin), 0.0), 1.0)
        return 1.0 - (1.0 - self.initial) * (1.0 - progress) ** 3
