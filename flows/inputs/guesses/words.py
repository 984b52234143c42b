"""What the names of columns and the labels of arms say, in the words that people use for them."""

import re
from typing import Any

from metalearners.data.estimate_columns import arm_name

TREATMENTS = ("treatment", "treated", "arm", "variant", "w", "t")
OUTCOMES = (
    *("outcome", "y", "target", "visit", "conversion", "converted", "spend", "revenue"),
    *("purchase", "purchased", "bought", "sales", "churn", "churned", "click", "clicks"),
    *("clicked", "open", "opens", "opened", "unsubscribed"),
    *("response", "responded", "renewed", "cured", "recovered", "survived"),
)
GROUPS = ("family", "household", "household_id", "cluster", "cluster_id", "group_id", "account")
IDS = ("id", "row_id", "customer_id", "user_id", "client_id", "patient_id", "member_id", "uuid")
WEIGHTS = (
    *("weight", "weights", "sample_weight", "sampling_weight", "survey_weight"),
    *("svy_weight", "design_weight", "pweight"),
)
PROPENSITIES = ("propensity", "p_treat", "p_treated", "prob_treated", "treatment_probability")

# Words in names of treatments, of what units are, and of both; also in other languages.
_OF_TREATMENTS = {
    *("treatment", "treated", "treat", "arm", "variant", "group", "assignment", "assigned", "ab"),
    *(
        "campaign",
        "mail",
        "mailing",
        "mailed",
        "email",
        "emailed",
        "sent",
        "contacted",
        "called",
        "exposed",
    ),
    *("voucher", "coupon", "offer", "offered", "discount", "promo", "promotion", "intervention"),
    *("drug", "dose", "therapy", "condition", "experiment", "test", "bucket", "cell", "given"),
    *("letter", "reminder", "sms", "push", "flyer", "postcard", "notification", "notified"),
    *("received", "training", "nudge", "banner", "call", "shipping", "shown", "transfer", "grant"),
    *("subsidy", "bonus", "incentive", "rebate", "program", "programme", "medication", "tutoring"),
    *("curriculum", "course", "coaching", "coach", "workshop", "mentoring", "counselling"),
    *("counseling", "onboarding", "pilot", "brochure", "mailer", "mailing"),
    *("behandlung", "gruppe", "variante", "kampagne", "aktion", "angebot", "gutschein", "rabatt"),
    *("brief", "anruf", "erinnerung", "medikament", "therapie", "massnahme", "maßnahme"),
    *("tratamiento", "grupo", "oferta", "descuento", "cupón", "cupon", "campaña", "carta"),
    *("llamada", "enviado", "transferencia", "programa", "medicamento", "terapia"),
    *("traitement", "groupe", "offre", "remise", "campagne", "lettre", "appel", "envoi", "relance"),
}
_OF_BOTH = {"plan", "segment"}
_OF_UNITS = {
    *("region", "country", "state", "city", "town", "area", "site", "store", "branch", "school"),
    *("sex", "gender", "age", "race", "married", "education", "year", "years", "quarter", "month"),
    *("months", "week", "weekday", "day", "days", "wave", "round", "period", "device", "channel"),
    *("browser", "os", "tier", "orders", "visits", "children", "kids", "size", "count", "type"),
    *("status", "smoker", "owner", "urban", "rural", "contract", "has", "owns", "member", "tenure"),
    *("degree", "referral", "source", "parent", "pretest", "industry", "seats", "grade"),
    *("premium", "seniority", "weight", "height", "bmi", "income", "location", "language"),
    *("geschlecht", "alter", "bundesland", "stadt", "land", "ort", "lage", "wochentag", "tag"),
    *("monat", "jahr", "filiale", "kinder", "vertrag", "größe", "groesse", "einkommen"),
    *("sexo", "género", "genero", "edad", "ciudad", "provincia", "país", "pais", "mes", "día"),
    *("dia", "año", "ano", "antigüedad", "antiguedad", "hijos", "educación", "educacion", "zona"),
    *("sexe", "genre", "âge", "ville", "pays", "région", "mois", "jour", "année", "annee"),
    *("magasin", "enfants", "ancienneté", "anciennete", "taille", "revenu"),
}
_OF_OUTCOMES = {
    *(set(OUTCOMES) - {"open", "click"}),
    *("spent", "purchases", "sale", "profit", "margin", "readmitted", "died", "death", "retained"),
    *("deposit", "deposits", "donation", "donated", "attendance", "earnings", "wage", "grades"),
    *("accident", "accidents", "claim", "claims", "hired", "posttest", "cost", "costs"),
    *("covered", "adherence", "adherent", "relapse", "readmission", "infection"),
    *("savings", "usage", "consumption", "repaid", "defaulted", "pain", "visited", "yield"),
    *("harvest", "passed", "failed", "exam", "ertrag", "bestanden", "rendimiento", "rendement"),
    *("dépense", "dépenses", "gastado", "bestellwert", "verbrauch", "consumo", "consommation"),
    *("umsatz", "absatz", "gekauft", "kauf", "käufe", "erlös", "erloes", "ausgaben", "kündigung"),
    *("compra", "compras", "ventas", "gasto", "gastos", "ingresos", "asistencia", "conversión"),
    *("achat", "achats", "ventes", "dépenses", "depenses", "panier", "résiliation"),
}
# Words that change nothing of what a name means, and that put it before the treatment.
_NEUTRAL = {"value", "amount", "total", "sum", "net", "gross", "eur", "usd", "gbp", "flag", "is"}
_BEFORE = {
    *(
        "prior",
        "previous",
        "prev",
        "past",
        "last",
        "before",
        "pre",
        "pretest",
        "baseline",
        "history",
    ),
    *("historic", "historical", "lag", "ago"),
    *(
        "vorjahr",
        "vorher",
        "bisher",
        "letzte",
        "anterior",
        "vorperiode",
        "previo",
        "previas",
        "precedent",
    ),
}
_NEXT = {"next", "following", "nachher", "danach", "nächste", "siguiente", "después", "suivant"}
_PEOPLE = {
    *("customer", "client", "user", "member", "shopper", "patient", "person", "subject", "pupil"),
    *("student", "visitor", "kunde", "kunden", "cliente", "paciente", "usuario"),
}
NAMED = 2  # how much a name sounds like an outcome's that tells it
# Letters of words that others begin or end with, and of what is left, as in Preisvariante.
_LONG, _REST = 5, 4
_COUNTED = {
    *("per", "of", "by", "pro", "par", "por", "days", "weeks", "months", "years"),
    *("tage", "monate", "jahre", "meses", "mois"),
}
# Labels of controls; those that units may have as well come second.
_OF_CONTROLS = {
    *("control", "none", "placebo", "holdout", "hold-out", "baseline", "usual care"),
    *("untreated", "nothing", "nobody", "no one", "standard care", "standard of care"),
    *("business as usual", "status quo", "sham", "waitlist", "waiting list", "not treated"),
    *(
        "standard",
        "estándar",
        "regular",
        "usual",
        "default",
        "hidden",
        "current",
        "existing",
        "classic",
    ),
    *("old", "not shown", "off", "bestehend", "actuel", "ancien"),
    *("unbehandelt", "betriebsüblich", "üblich", "testigo", "bisherig", "sans", "sin"),
    *("kontrolle", "kontrollgruppe", "ohne", "keine", "kein", "témoin", "temoin", "aucun"),
}
_NO = ("no", "0", "false", "n", "off", "nein", "non")
POSITIVES = ("yes", "true", "y", "1", "converted", "success", "positive")
_AFTER = re.compile(
    r"(^|[_ .-])(post|after|since_treatment|followup|follow_up|outcome|response|responded"
    r"|nachher|danach|despu(e|é)s|apr(e|è)s)($|[_ .-])"
)
_NOT = ("no ", "no_", "non ", "non-", "not ", "control", "ohne ", "kein", "sin ", "sans ", "sem ")
_IDENTITY = re.compile(
    r"(schl(ue|ü)ssel|nummer|nr|kennung|clave|n(u|ú)mero|identifiant)$|^(id|c(o|ó)digo)[_ .-]"
    r"|(^|[_ .-])(id|uuid|guid|key|email|phone|no|number|customer|client|user"
    r"|member|shopper|patient|person|subject|pupil|student|household|family|account)$"
)
_ALWAYS_IDENTITY = re.compile(r"(^|[_ .-])(id|uuid|guid)$|^id[_ .-]")


def plain(name: str) -> str:
    """A name in small letters, with words apart: customerId is customer_id."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _words(name: str) -> set[str]:
    return set(re.split(r"[\W_]+", plain(name))) - {""}


def _has(name: str, known: set[str]) -> bool:
    """Whether a name has one of these words, the long ones also as an end of a word."""
    own = _words(name)
    ends = [word for word in known if len(word) >= _LONG]
    unknown = own - _OF_TREATMENTS - _OF_UNITS - _OF_OUTCOMES
    return bool(own & known) or any(
        len(word) >= len(end) + _REST and (word.startswith(end) or word.endswith(end))
        for word in unknown
        for end in ends
    )


def like_treatment(name: str) -> int:
    """How much a name sounds like a treatment's: below 0 for what units are."""
    return (
        3 * _has(name, _OF_TREATMENTS)
        + 2 * bool(_words(name) & _OF_BOTH)
        - 3 * is_of_units(name)
        - 4 * (like_outcome(name) >= NAMED)
    )


def is_of_units(name: str) -> bool:
    """Whether a name is that of something that units are or have, whatever is done to them."""
    return _has(name, _OF_UNITS)


def was_before(name: str) -> bool:
    """Whether a name says that a column was there before the treatment."""
    return _has(name, _BEFORE)


def like_outcome(name: str) -> int:
    """How much a name sounds like an outcome's: 2 and more if it does, below 0 if it can't be."""
    if was_before(name):
        return -4
    partly = _has(name, _OF_OUTCOMES) and not is_of_units(name) and not is_identity(name)
    named = 4 * names_outcome(name) or 3 * partly
    return named or 2 * (comes_after(name) or bool(_words(name) & _NEXT)) or -2 * is_of_units(name)


def names_outcome(name: str) -> bool:
    """Whether all words of a name are an outcome's, such as purchase_value."""
    words = _words(name)
    return plain(name) in OUTCOMES or (bool(words - _NEUTRAL) and words <= _OF_OUTCOMES | _NEUTRAL)


def comes_after(name: str) -> bool:
    """Whether a name says that a column comes after the treatment."""
    return bool(_AFTER.search(plain(name)))


def is_identity(name: str) -> bool:
    """Whether a name may be an identity's."""
    return plain(name) in IDS or bool(_IDENTITY.search(plain(name)))


def is_always_identity(name: str) -> bool:
    """Whether a name can only be an identity's, repeated or not."""
    return bool(_ALWAYS_IDENTITY.search(plain(name)))


def is_person(name: str) -> bool:
    """Whether a name is that of people's identities."""
    return is_identity(name) and bool(_words(name) & _PEOPLE) and not _words(name) & _COUNTED


def names_control(label: Any) -> bool:
    """Whether only a control has such a label."""
    name = arm_name(label).lower()
    return name in _OF_CONTROLS or name.startswith(_NOT)


def is_first(label: Any) -> bool:
    """Whether a label is the first letter, as of tests of A against B."""
    return arm_name(label).lower() == "a"


def says_no(label: Any) -> bool:
    """Whether a label says no, as a control's may."""
    return arm_name(label).lower() in _NO


def is_free(label: Any) -> bool:
    """Whether a label says that something costs nothing, as the plan that others face."""
    return arm_name(label).lower() == "free"
