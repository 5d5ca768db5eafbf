"""The verdict of a run, with its figures, as text and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chatstore.testing.faults.history import Findings

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Report:
    """What was done to a store, what its callers saw, and what of it contradicts the promises."""

    target: str
    faults: dict[str, int]
    """How often each kind of fault was made."""
    writers: int
    seconds: float
    acknowledged: int
    failed: int
    """Appends that were answered with an error, which is retryable."""
    reads: int
    slowest_resumption: float
    """The longest time in seconds from a server that accepts connections again to the next acknowledgement."""
    findings: Findings
    broken: tuple[str, ...] = ()
    """What else is wrong, such as a database file that fails its own check."""
    errors: tuple[str, ...] = ()
    """The first of the errors that appends were answered with, each once."""

    @property
    def holds(self) -> bool:
        """Whether nothing contradicts the promises."""
        return not self.findings and not self.broken

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict and all figures as JSON knows them."""
        return {"holds": self.holds} | dataclasses.asdict(self) | {"counts": self.findings.counts()}

    def lines(self) -> Iterator[str]:
        """Yield the verdict and the figures as text, then what was found."""
        faults = ", ".join(f"{kind} {count}" for kind, count in self.faults.items())
        counts = ", ".join(f"{kind} {count}" for kind, count in self.findings.counts().items())
        yield f"{'holds' if self.holds else 'BROKEN'}: {counts}"
        yield f"target        {self.target}"
        yield f"faults        {faults}"
        yield f"writers       {self.writers} in 2 processes, {self.seconds:.0f} s"
        yield f"acknowledged  {self.acknowledged} appends, {self.failed} failed, {self.reads} reads"
        yield f"resumed       within {self.slowest_resumption:.2f} s of the server accepting connections"
        for kind, found in dataclasses.asdict(self.findings).items():
            yield from (f"{kind:<13} {one}" for one in found[:_SHOWN])
        yield from (f"broken        {one}" for one in self.broken)
        yield from (f"error         {one}" for one in self.errors)
