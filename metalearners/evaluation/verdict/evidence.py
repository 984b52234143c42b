"""What a verdict goes by: figures of a run that others have computed."""

from collections.abc import Sequence
from dataclasses import dataclass

from metalearners.evaluation.averages.arms import ArmDifference
from metalearners.evaluation.findings import LEVEL, claims_effect
from metalearners.evaluation.judging.comparison import Comparison
from metalearners.evaluation.means import Estimate
from metalearners.evaluation.targeting.values import PolicyValue
from metalearners.evaluation.verdict.health import Light
from metalearners.evaluation.verdict.policies import PolicyGain
from metalearners.evaluation.verdict.words import Words
from metalearners.showing.results import Shown


@dataclass(frozen=True)
class ArmEffect(Shown):
    """An arm's average effect.

    Parameters
    ----------
    arm : str
        Its name.
    effect : Estimate
        In units of the outcome.
    joint : tuple of float
        Ends of the 95 % interval that holds for all arms at once.
    doubt : str
        Why nobody should rely on the interval; empty for no reason.
    means : tuple of float, optional
        Mean outcomes if all were in the control, and if all were in the arm.
    """

    arm: str
    effect: Estimate
    joint: tuple[float, float]
    doubt: str = ""
    means: tuple[float, float] | None = None

    @property
    def sign(self) -> int:
        """1 or -1 where the arm has an effect, and 0 where none is claimed."""
        if not claims_effect(self.joint, self.doubt):
            return 0
        return 1 if self.joint[0] > 0 else -1


@dataclass(frozen=True)
class Along(Shown):
    """A feature that an arm's effect differs along.

    Parameters
    ----------
    arm, feature : str
        Names.
    p_adjusted : float
        Of equal effects at all values, adjusted for all features and arms.
    lowest, highest : tuple of str and Estimate
        The values of the lowest and of the highest effect, with intervals that hold for all values,
        features and arms at once.
    """

    arm: str
    feature: str
    p_adjusted: float
    lowest: tuple[str, Estimate]
    highest: tuple[str, Estimate]

    @property
    def claimed(self) -> bool:
        """Whether it is claimed that the effect differs along the feature."""
        return self.p_adjusted < LEVEL


@dataclass(frozen=True)
class RankTest(Shown):
    """A test of whether a learner's estimates of an arm order people by effect.

    Parameters
    ----------
    learner, arm : str
        Names.
    autoc : Estimate
        In units of the outcome.
    p_adjusted : float
        One-sided, adjusted for all learners and arms.
    """

    learner: str
    arm: str
    autoc: Estimate
    p_adjusted: float

    @property
    def claimed(self) -> bool:
        """Whether it is claimed that they do."""
        return self.p_adjusted < LEVEL


@dataclass(frozen=True, eq=False)
class RuleGain(Shown):
    """What a targeting rule brings, on rows that neither fitted nor chose it.

    Parameters
    ----------
    learner : str
        Whose estimates it goes by.
    arms : tuple of str
        Names of the K arms, the control first.
    value : PolicyValue, optional
        In units of the costs; None where no held-out rows judge the rule.
    budget : float, optional
        Mean cost a row that it may spend; None where it treats whom that pays for.
    single : str
        The best single arm by estimates.
    over_single : Estimate, optional
        What the rule leaves less what that arm leaves, for as many rows as the budget pays for.
    worth : float
        Of one unit of the outcome, in units of the costs.
    spends : tuple of float
        Mean costs of the arms other than the control, each for all.
    counts : tuple of int
        Numbers of people that it gives each arm, the control first; empty where rows have weights.
    """

    learner: str
    arms: tuple[str, ...]
    value: PolicyValue | None
    budget: float | None = None
    single: str = ""
    over_single: Estimate | None = None
    worth: float = 1.0
    spends: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()

    @property
    def beats_single(self) -> bool:
        """Whether it leaves more than the best single arm."""
        return self.over_single is not None and self.over_single.ci_low > 0


@dataclass(frozen=True, eq=False)
class Evidence(Shown):
    """Figures of a run; empty or None for those that it hasn't.

    Parameters
    ----------
    words : Words
        How to show figures.
    control : str
        Name of the arm that effects are against.
    effects : sequence of ArmEffect
        By arm other than the control.
    held_out, sequential : sequence of RankTest
        By learner and arm.
    comparison : Comparison, optional
        Of all candidates.
    learner : str
        Whose estimates decide whom to treat: the chosen one, or the first. It is named before
        anything is judged.
    policy : PolicyGain, optional
        What treating by its estimates brings, on held-out rows that had no say in the choice.
    counts : tuple of int
        Numbers of people by arm that its estimates give the arm, the control first; empty where
        rows have weights.
    pairs : sequence of ArmDifference
        Of the arms other than the control; codes count `effects` from 1 on.
    along : sequence of Along
        Features along which effects differ, by held-out rows.
    rule : RuleGain, optional
        A targeting rule that weighs gains against costs: it then decides whom to treat.
    lights : sequence of Light
        The most severe first among those of one status.
    """

    words: Words
    control: str
    effects: Sequence[ArmEffect]
    lights: Sequence[Light]
    held_out: Sequence[RankTest] = ()
    sequential: Sequence[RankTest] = ()
    comparison: Comparison | None = None
    learner: str = ""
    policy: PolicyGain | None = None
    counts: tuple[int, ...] = ()
    pairs: Sequence[ArmDifference] = ()
    along: Sequence[Along] = ()
    rule: RuleGain | None = None

    @property
    def doubt(self) -> str:
        """Why no policy can be judged: some arm's scores can't be relied on."""
        return next((one.doubt for one in self.effects if one.doubt), "")

    @property
    def tests(self) -> Sequence[RankTest]:
        """Those of whether effects differ, of arms without a doubt.

        They are one family, whatever it finds.
        """
        return self._clear(self.sequential or self.held_out)

    @property
    def rankings(self) -> Sequence[RankTest]:
        """Those of held-out rows, of arms without a doubt."""
        return self._clear(self.held_out)

    @property
    def clear(self) -> Sequence[str]:
        """Names of the arms without a doubt."""
        return [one.arm for one in self.effects if not one.doubt]

    def _clear(self, tests: Sequence[RankTest]) -> Sequence[RankTest]:
        return [one for one in tests if one.arm in self.clear]

    def leads(self, arm: str) -> list[tuple[str, ArmDifference]]:
        """Differences of an arm's mean outcome to each other one's, the least sure first."""
        names = [one.arm for one in self.effects]
        code = names.index(arm) + 1
        own = [one if one.arm == code else -one for one in self.pairs if code in one.codes]
        return [(names[one.other - 1], one) for one in sorted(own, key=lambda one: one.joint[0])]

    @property
    def differs(self) -> bool:
        """Whether effects differ between people."""
        return any(one.claimed for one in self.tests)
