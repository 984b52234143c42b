"""The rule that promotes: a challenger becomes champion once new rows say that it is better."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pandas as pd

from flows.dates.logical import moment_of
from flows.errors import InputError
from flows.fitting.cache import signing_key
from flows.messages.secrets import problem_of
from flows.registry.evidence import Evidence
from flows.registry.models import Models, Verdict
from flows.registry.records import Contest, Difference, Event, Seen, plain
from metalearners._typing import Array
from metalearners.bundle import Bundle
from metalearners.evaluation.recurring.looks import Looks, alpha_of_challenger

_OLD = "It has had its four months: the new model takes its place."
_BEHIND = "Its lead is less than a standard error: the new model takes its place."
_ALIKE = "It gives nearly all rows the champion's arms: the new model takes its place."
_REPEATED = " {:,} new rows don't count, as their groups came before and keep their arms."
_MONTHS = 4  # of a challenger that leads: with monthly runs as many looks, and newer models wait
_FEW = 0.001  # of the rows: if no more get other arms, two policies are one


class _UnusableError(Exception):
    """A challenger that can't be compared, today or later."""


@dataclass(frozen=True, eq=False)
class Better:
    """Decides on the models of a name when a run has made a new one.

    The run takes a look at the challenger, on rows that neither this nor the champion was fitted on
    and that no earlier look has had. A challenger that is better becomes champion. One that leads
    by a standard error stays for four months, so that new models don't end its test. Otherwise, or
    where there is none, the new model is the next challenger: what customers do changes, and an
    older model must not keep newer ones out.

    Parameters
    ----------
    models : Models
        Those of the name.
    run, date : str
        The new model's run, and its logical date.
    alpha : float
        What all contests that begin within a year may spend together.
    evidence : Evidence
        The run's rows.
    """

    models: Models
    run: str
    date: str
    alpha: float
    evidence: Evidence

    def __call__(self, last: Event) -> Verdict:
        """What becomes of the models, given the last event."""
        if last.challenger is None:
            return self._next(last, Verdict("kept", "There was no challenger."))
        contest, over = self._under_way(last, last.challenger), ""
        try:
            verdict, over = self._judged(last, contest)
        except _UnusableError as error:
            return self._next(last, Verdict("kept", str(error)))
        except Exception as error:  # whatever it is, champion and challenger stay
            verdict = Verdict("kept", f"No look was taken. {problem_of(error)}")
        if contest not in last.contests:
            last = last.model_copy(update={"contests": [*last.contests, contest]})
        if verdict.decision == "promoted":
            return self._next(last, verdict, champion=contest.challenger)
        over = over or (_OLD if self._moment >= _after(contest, months=_MONTHS) else "")
        if not over:
            return replace(verdict, contests=self._of_year(last))
        if verdict.difference is None:  # no look counted, so it has spent nothing
            kept = [one for one in last.contests if one != contest]
            last = last.model_copy(update={"contests": kept})
        return self._next(last, replace(verdict, why=f"{verdict.why} {over}"))

    @property
    def _moment(self) -> datetime:
        return _moment(self.date)

    def _next(self, last: Event, verdict: Verdict, champion: str = "") -> Verdict:
        """The verdict with the new model as the next challenger."""
        begun = self._contest(last, champion or last.champion, self.run)
        return replace(verdict, joins=True, contests=[*self._of_year(last), begun])

    def _under_way(self, last: Event, challenger: str) -> Contest:
        """The contest of champion and challenger; it begins where people have chosen these two."""
        for contest in reversed(last.contests):
            if (contest.champion, contest.challenger) == (last.champion, challenger):
                return contest
        return self._contest(last, last.champion, challenger)

    def _contest(self, last: Event, champion: str, challenger: str) -> Contest:
        """A contest that begins."""
        number = len(self._of_year(last)) + 1
        return Contest(
            event=last.number + 1,
            champion=champion,
            challenger=challenger,
            since=self.date,
            alpha=alpha_of_challenger(number, self.alpha),
        )

    def _of_year(self, last: Event) -> list[Contest]:
        """Contests that began in the year before."""
        return [one for one in last.contests if _after(one, months=12) > self._moment]

    def _judged(self, last: Event, contest: Contest) -> tuple[Verdict, str]:
        """Take a look: the verdict, and why the challenger goes if it isn't promoted, or nothing.

        Raises _UnusableError if the challenger can't be compared; another error if there is no
        look.
        """
        self.evidence.check_dated()
        looks, looked = self._earlier(last, contest)
        with _about_challenger():
            fitted = self._until(contest.challenger)
        ends = fitted, self._until(contest.champion)
        moment = max(*ends, *looked)
        new = self.evidence.since(moment)
        rows = self.evidence.independent(new, min(ends), moment)
        with _about_challenger():
            challenger = self._policy(contest.challenger, rows)
        champion = self._policy(contest.champion, rows)
        looks = looks.after(self.date, self.evidence.compare(rows, champion, challenger))
        alike = looks.mean is None and np.mean(champion != challenger) <= _FEW
        over = _ALIKE if alike else "" if looks.leads else _BEHIND
        return self._verdict(contest, looks, int(new.sum() - rows.sum())), over

    def _earlier(self, last: Event, contest: Contest) -> tuple[Looks, list[datetime]]:
        """The looks of a contest so far; and the ends of the rows that its challenger has spent.

        Those are spent too on which it was compared with an earlier champion: it may be the
        challenger still because it led on them.
        """
        looks, ends = Looks(contest.alpha), []
        own = [one.event for one in last.contests if one.challenger == contest.challenger]
        for event in self.models.history.events(since=min([contest.event, *own])):
            seen = event.look
            if seen is None or seen.challenger != contest.challenger:
                continue
            if seen.champion == contest.champion:
                looks = looks.after(seen.date, seen.look)
            ends += [] if seen.look.waits else [datetime.fromisoformat(seen.until)]
        return looks, ends

    def _verdict(self, contest: Contest, looks: Looks, repeated: int) -> Verdict:
        until = self.evidence.study.config.until
        assert until is not None  # as rows have dates
        both = {"champion": contest.champion, "challenger": contest.challenger}
        taken, found = looks.looks[self.date], looks.difference
        is_better = f"is {'' if looks.promotes else 'not known to be '}better than"
        why = taken.doubt or f"{contest.challenger} {is_better} {contest.champion}."
        return Verdict(
            "promoted" if looks.promotes else "kept",
            why + (_REPEATED.format(repeated) if repeated else ""),
            look=Seen(date=self.date, until=until.isoformat(), look=taken, **both),
            difference=None if found is None else Difference(**plain(found)),
        )

    def _until(self, run: str) -> datetime:
        """The end of the rows that a model was fitted on; an InputError if it isn't known."""
        until = self.models.entry(run).until
        if until is None:
            raise InputError(
                f"No row is known to be new to {run}, as its own rows had no dates. Promote a "
                "model of rows with dates."
            )
        return datetime.fromisoformat(until)

    def _policy(self, run: str, rows: Array) -> Array:
        """(m,) arms that a model's policy gives; an InputError if it can't."""
        try:
            with self.models.folder(run) as folder:
                bundle = Bundle.load(folder, signing_key())
            return self.evidence.arms_of(bundle, rows)
        except Exception as error:
            if isinstance(error, (OSError, MemoryError)) and not isinstance(
                error, FileNotFoundError
            ):
                raise  # the next run may not meet it
            raise InputError(f"{run} can't be compared: {problem_of(error)}") from error


@contextlib.contextmanager
def _about_challenger() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise _UnusableError(str(error)) from error


def _after(contest: Contest, months: int) -> datetime:
    return _moment(contest.since) + pd.DateOffset(months=months)


def _moment(date: str) -> datetime:
    return moment_of(date, "UTC")
