"""The sentences of a verdict: one table, which the answers use and the page on verdicts shows."""

from dataclasses import dataclass

from metalearners.showing.results import Shown

EFFECT, HETEROGENEITY, LEARNER = "effect", "heterogeneity", "learner"
TARGET, DOUBT = "target", "doubt"
QUESTIONS = (EFFECT, HETEROGENEITY, LEARNER, TARGET, DOUBT)


@dataclass(frozen=True)
class Answer(Shown):
    """What a verdict says on a question.

    Parameters
    ----------
    question : str
        One of `QUESTIONS`.
    answer : str
        In a word or a few.
    sentence : str
        The answer with the figures that a decision needs, in plain words.
    detail : str
        How it was found, with tests and intervals; may be empty.
    """

    question: str
    answer: str
    sentence: str
    detail: str = ""


@dataclass(frozen=True)
class Sentence:
    """An answer, when it is given, and how it is worded.

    Parameters
    ----------
    question, answer : str
        As of `Answer`; the answer may have fields, too.
    when : str
        The condition, in words.
    text, detail : str
        With names of fields in braces.
    """

    question: str
    answer: str
    when: str
    text: str
    detail: str = ""

    @property
    def line(self) -> str:
        """Its line in the table of a page."""
        return f"| {self.question} | {self.answer} | {self.when} | {self.text} | {self.detail} |"

    def of(self, **fields: str) -> Answer:
        """The answer with these values of its fields."""
        told = (text.format(**fields).strip() for text in (self.answer, self.text, self.detail))
        return Answer(self.question, *told)


YES = Sentence(
    EFFECT,
    "yes",
    "an arm's 95 % interval, which holds for all arms at once, leaves 0 out",
    "On average, {effects}.{others}",
    "Means over all rows, adjusted for the features (doubly robust).{note} An effect is that of "
    "being assigned the arm, whether or not it was taken up.",
)
NO_EFFECT = Sentence(
    EFFECT,
    "not shown",
    "else",
    "No average effect on {outcome} is claimed of {others}. That doesn't prove that there is none.",
    "Means over all rows, adjusted for the features (doubly robust).{note} An effect is that of "
    "being assigned the arm, whether or not it was taken up.",
)
DIFFERS = Sentence(
    HETEROGENEITY,
    "yes",
    "a test's p-value, adjusted for all learners and arms, is below 0.05: sequential tests where "
    "they were run, else those of held-out rows",
    "The effect of {arms} differs between people.{along}{others}{apart}",
    "By {tests}, p-values adjusted for all. The surest: those whom {learner} ranks first "
    "for "
    "{arm} gain more than the average ({figure}; {p}).{smallest}{by}",
)
PARTLY = Sentence(
    HETEROGENEITY,
    "along a feature",
    "else, a test of held-out rows shows that an effect differs along a feature: p-value, adjusted "
    "for all features and arms, below 0.05",
    "No test of rankings shows that the effect differs between people, but along a feature it "
    "does.{along}",
    "By {tests} of rankings, p-values adjusted for all: the smallest is {p}.{by}",
)
ALIKE = Sentence(
    HETEROGENEITY,
    "not shown",
    "else",
    "Nothing shows that the effect differs between people. That doesn't prove that all gain alike.",
    "By {tests}, p-values adjusted for all: the smallest is {p}.{features}",
)
NOT_JUDGED = Sentence(
    HETEROGENEITY,
    "can't be judged",
    "every arm has a doubt, such as too many clipped rows",
    "Whether the effect differs between people can't be judged: {doubt}.",
)
UNTESTED = Sentence(
    HETEROGENEITY,
    "not tested",
    "there are neither held-out rows nor sequential tests",
    "Whether the effect differs between people wasn't tested, as there are no held-out rows.",
)
NO_SCORES = Sentence(
    LEARNER,
    "can't be judged",
    "every arm has a doubt, such as too many clipped rows",
    "Which learner ranks people by effect can't be judged: {doubt}.",
)
WINNER = Sentence(
    LEARNER,
    "{learner}",
    "in a comparison, the chosen one ranks better than chance does, than the runner-up does and, "
    "by "
    "intervals that hold for all at once, than each other candidate does",
    "{learner} ranks people by effect better than the others do, and better than chance{where}.",
    "Better than chance: {p}. Its AUTOC leads that of {runner_up}, the second, by {lead}.{loss}",
)
NO_WINNER = Sentence(
    LEARNER,
    "no clear winner",
    "it isn't told apart from one of them",
    "The estimates of {learner} order people better than chance does{where}, but the data don't "
    "tell the rankings of {learner} and {rivals} apart. {learner} is used, as it came first on the "
    "rows that chose.{second}",
    "{learner} better than chance: {p}. Not told apart by intervals that hold for all candidates "
    "at "
    "once.{lead}{loss}",
)
NO_BETTER = Sentence(
    LEARNER,
    "none",
    "none ranks better than chance",
    "{none} shown to rank people by effect better than chance does.",
    "Held-out rows: {p}.",
)
ALONE = Sentence(
    LEARNER,
    "{learner}",
    "a single learner ranks better than chance: adjusted p-value below 0.05",
    "{learner} ranks people by effect better than chance does{where}. It is the only learner, so "
    "it was "
    "compared with no other.",
    "Held-out rows: {p}.",
)
UNCOMPARED = Sentence(
    LEARNER,
    "not compared",
    "of several learners, some rank better than chance, but no comparison was run",
    "{learners} {rank} people by effect better than chance does{where}. Which learner is best "
    "wasn't "
    "tested: uplift compare does that.",
    "Held-out rows: smallest {p}.",
)
UNJUDGED = Sentence(
    LEARNER,
    "not judged",
    "there are no held-out rows",
    "No learner was judged, as there are no held-out rows.",
)
RANKED = Sentence(
    TARGET,
    "by ranking",
    "effects differ, and treating by estimates brings more than treating nobody, and more than "
    "each arm for all or no arm raises the outcome on average (95 % intervals)",
    "Treat those for whom {learner} predicts a gain: {shares}. That brings {gain} more than "
    "{control} for everybody{total}.{over}{premise}",
    "Judged on held-out rows, which neither fitted nor chose the estimates. The gain is that of "
    "the fitted policy.",
)
EVERYBODY = Sentence(
    TARGET,
    "everybody",
    "else, an arm raises the outcome on average",
    "Treat everybody with {arms}: target nobody differently. With {arm}, the gain is "
    "{gain}{total}.{beside}"
    "{more}{harm}{premise}",
    "{change}",
)
OPEN = Sentence(
    TARGET,
    "open",
    "else, effects differ, or some arm has a doubt, such as too many clipped rows",
    "Whom to treat stays open: {why}.{harm}{premise}",
)
NOBODY = Sentence(
    TARGET,
    "nobody",
    "else",
    "Treat nobody, so '{control}' for everybody: target nobody differently. {why}{more}{premise}",
)
UNJUDGED_RULE = Sentence(
    TARGET,
    "open",
    "with `targeting`: no held-out rows judge the rule",
    "The rule by {learner} gives each person an arm, but no held-out rows judge what that brings.",
)
RULE = Sentence(
    TARGET,
    "by ranking",
    "with `targeting`: effects differ, and the rule pays, brings more than the same arms given at "
    "random and, where one arm for all pays, leaves more than the best such arm (95 % intervals)",
    "Follow the rule by {learner}: {shares}. It gains {gain} a person at a cost of {spend}. What "
    "is left: {net} a person{total}.",
    "Judged on held-out rows, which neither fitted nor chose the rule. That is {over} a person "
    "more "
    "than the same treatments bring at random.{single}",
)
ONE_ARM = Sentence(
    TARGET,
    "one arm",
    "with `targeting`: else, some arm pays if everybody gets it (joint intervals, all rows)",
    "{arm} for {whom}: target nobody differently. If everybody gets it, it gains {gain} a person "
    "at a cost of {spend}. What is left: {left} a person{total}.{beside}",
    "By average effects over all rows; intervals hold for all arms at once, those of differences "
    "for all pairs of arms. The rule by {learner} ({shares}) was judged on held-out rows: {net} a "
    "person is left.{single}",
)
AT_RANDOM = Sentence(
    TARGET,
    "as many at random",
    "with `targeting`: else, the rule pays",
    "As many as the rule treats, at random: target nobody differently. The rule by {learner} pays "
    "({shares}): {net} a person is left{total}. But it isn't shown to bring more than the same "
    "treatments at random.",
    "Judged on held-out rows. More than at random: {over} a person.",
)
UNPAID = Sentence(
    TARGET,
    "nobody",
    "with `targeting`: else",
    "Treat nobody, so '{control}' for everybody: target nobody differently. {shown}.",
    "The rule by {learner} ({shares}) was judged on held-out rows: {net} a person is left after "
    "its "
    "cost.",
)
NONE_PAYS = Sentence(
    TARGET,
    "nobody",
    "with `targeting`: the rule treats nobody",
    "Treat nobody, so '{control}' for everybody: target nobody differently. By the estimates of "
    "{learner}, nobody gains more than the treatment costs.",
)
_UNSEEN = (
    "whether people affect each other, whether the data are what they are said to be, and whether "
    "effects stay as they were."
)
SURE = Sentence(
    DOUBT,
    "nothing stands out",
    "all lights are ok",
    f"No check fails. What none can see: {_UNSEEN}",
)
FIRST = Sentence(
    DOUBT,
    "{check}",
    "a light warns or is bad: the worst one, and of equal ones the first in the table of lights",
    "Doubt first: {check}. {sentence}",
    f"What no check sees: {_UNSEEN}",
)
SENTENCES = (
    *(
        YES,
        NO_EFFECT,
        DIFFERS,
        NOT_JUDGED,
        PARTLY,
        ALIKE,
        UNTESTED,
        NO_SCORES,
        WINNER,
        NO_WINNER,
        NO_BETTER,
        ALONE,
        UNCOMPARED,
    ),
    *(
        UNJUDGED,
        RANKED,
        EVERYBODY,
        OPEN,
        NOBODY,
        UNJUDGED_RULE,
        RULE,
        ONE_ARM,
        AT_RANDOM,
        UNPAID,
        NONE_PAYS,
        SURE,
        FIRST,
    ),
)
IN_DOUBT = "in doubt"
"""The answer to each other question where the worst light is bad."""
BEFORE = "Not to be relied on until this is cleared up: {check}. "
"""What the sentence of such an answer begins with."""
CAUTION = "Look first at what to doubt, {check}. "
"""What sentences that rest on intervals or p-values begin with where a light warns of these."""
