"""Which values are tried next, and which trial is hopeless?

Optuna's tree of Parzen estimators proposes, its median rule gives up on trials, and its journal remembers; nothing
else of the package knows Optuna.  A proposal is a function of the seed, of how many trials have ended, and of how
these did.  So a trial that was under way when its process died is left out of account, and proposed again.

References:
    Akiba, Sano, Yanase, Ohta, Koyama (2019), Optuna: A Next-generation Hyperparameter Optimization Framework.
    Bergstra, Bardenet, Bengio, Kegl (2011), Algorithms for Hyper-Parameter Optimization, section 4.
    Golovin et al. (2017), Google Vizier, section 3.2.2 (the median rule).
    Hutter, Hoos, Leyton-Brown (2014), An Efficient Approach for Assessing Hyperparameter Importance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from warnings import catch_warnings, simplefilter

from convscope.core import files
from convscope.core.errors import DamagedFile, MissingExtra
from convscope.core.records import Record

from .space import Axis, Range

if TYPE_CHECKING:
    import optuna

STARTUP = 5
"""Finished trials before any is ended early: a median of fewer says little."""
WARMUP = 1
"""Validations of a trial before it may be ended early: at the first, slow starters look hopeless."""
ENOUGH = 10
"""Finished trials from which the importance of a key is told."""
_ATTRIBUTE = "trial"


def library() -> Any:
    """Optuna, quiet unless something is wrong.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise MissingExtra("convscope tune", "tune") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


class Proposals:
    """The trials of one search.

    Args:
        path: of Optuna's journal, in a folder that this process holds.
        axes: what is searched.
        higher: whether more is better, of the value in the end and of what is reported before.
        judged: whether hopeless trials are to be found.
        seed: of the proposals.
    """

    def __init__(self, path: Path, axes: Sequence[Axis], *, higher: bool, judged: bool, seed: int) -> None:
        self.axes, self.seed = axes, seed
        self._optuna = library()
        self._states = self._optuna.trial.TrialState
        _mend(path)
        storages, pruners = self._optuna.storages, self._optuna.pruners
        backend = storages.journal.JournalFileBackend(str(path), lock_obj=cast(Any, _Held()))
        with catch_warnings():
            simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
            try:
                storage = storages.JournalStorage(backend)  # which reads the file
            except (ValueError, KeyError) as error:
                raise DamagedFile(
                    f"{path} is damaged: {error}. Remove {path.parent}: runs that ended are found again."
                ) from None
            self._study: optuna.study.Study = self._optuna.create_study(
                storage=storage,
                study_name="search",
                direction="maximize" if higher else "minimize",
                pruner=pruners.MedianPruner(STARTUP, WARMUP) if judged else pruners.NopPruner(),
                load_if_exists=True,
            )
        for left in self._study.get_trials(deepcopy=False, states=(self._states.RUNNING,)):
            self._study.tell(left.number, state=self._states.FAIL)  # its process has died

    def ended(self) -> list[Record]:
        """What was told of the trials that came to an end, in order."""
        known = [(trial, trial.user_attrs.get(_ATTRIBUTE)) for trial in self._study.get_trials()]
        # A trial that failed for Optuna alone is one whose process died; it is asked for again.
        return [told for trial, told in known if told and (trial.state == self._states.FAIL) == _failed(told)]

    def ask(self, number: int) -> Proposal:
        """What to try after so many trials."""
        key = hashlib.blake2b(f"{self.seed}/{number}".encode(), digest_size=4, person=b"convscope").digest()
        with catch_warnings():
            simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
            self._study.sampler = self._optuna.samplers.TPESampler(
                seed=int.from_bytes(key, "big"), multivariate=True, constant_liar=False
            )
        return Proposal(self._study.ask({axis.key: self._spread(axis) for axis in self.axes}), self.axes)

    def _spread(self, axis: Axis) -> Any:
        kinds = self._optuna.distributions
        if isinstance(axis, Range):
            kind = kinds.IntDistribution if axis.whole else kinds.FloatDistribution
            return kind(axis.low, axis.high, log=axis.log)
        return kinds.CategoricalDistribution(axis.words)

    def tell(self, proposal: Proposal, told: Record, value: float | None) -> None:
        """A trial has ended: what is to be remembered of it, and its value, if it has one.

        To Optuna one that diverged is pruned: Optuna leaves failed trials out of account and would propose the like
        again, while pruned ones stand behind all that finished.  Where one failed its values are not to blame.
        """
        proposal.asked.set_user_attr(_ATTRIBUTE, told)
        state = self._states.PRUNED if value is None else self._states.COMPLETE
        state = self._states.FAIL if _failed(told) else state
        self._study.tell(proposal.asked, value, state=state)

    def importance(self) -> dict[str, float]:
        """Key -> the part of the variance of the value it explains alone, as a share of what all explain, by fANOVA.

        The largest first. Of finished trials; empty if they are too few, or all alike.
        """
        finished = self._study.get_trials(deepcopy=False, states=(self._states.COMPLETE,))
        if len(finished) < ENOUGH or len({trial.value for trial in finished}) < 2 or len(self.axes) < 2:
            return {}
        importance = self._optuna.importance
        evaluator = importance.FanovaImportanceEvaluator(seed=self.seed % 2**32)
        shares: dict[str, float] = importance.get_param_importances(self._study, evaluator=evaluator)
        return shares


class Proposal:
    """The values of one trial, and the trial while it lasts."""

    def __init__(self, asked: optuna.trial.Trial, axes: Sequence[Axis]) -> None:
        self.asked = asked
        self.changes = {axis.key: axis.value(asked.params[axis.key]) for axis in axes}
        self._reports = 0

    def is_hopeless(self, value: float, *, last: bool = False) -> bool:
        """Take note of one validation; whether the trial's best so far is worse than the median of those before.

        At the last one nothing is to be saved any more.
        """
        self.asked.report(value, self._reports)
        self._reports += 1
        return not last and self.asked.should_prune()


class _Held:
    """The lock of Optuna's journal: none, for the folder is held."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _failed(told: Record) -> bool:
    return told.get("status") == "failed"


def _mend(path: Path) -> None:
    """Cut off a line that a crash left unfinished: Optuna would append to it and then refuse the file."""
    if path.exists():
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            files.write(path, whole)
