"""Sampling of whole sentences: statements of several clauses, and questions."""

from __future__ import annotations

from tools.embedded_corpus import lexicon
from tools.embedded_corpus.choice import Choice
from tools.embedded_corpus.clauses import Clause, Role
from tools.embedded_corpus.frames import Setting, dative, governed
from tools.embedded_corpus.german import Case
from tools.embedded_corpus.nominals import nouns_of, pronoun
from tools.embedded_corpus.phrases import PRONOUNS, Nominal, NounPhrase, Question
from tools.embedded_corpus.predicates import Predicates
from tools.embedded_corpus.verbs import MODALS, Tense
from tools.embedded_corpus.words import COMMA, Concept, Line, Phrase, chain, fixed, links, word, words, write

_COMMA = Phrase([COMMA], [COMMA])
# German has a comma before these, and English has none.
_GERMAN_COMMA = Phrase([COMMA], [])
_QUESTION_TENSES = (Tense.PERFECT, Tense.PRESENT)
_SUBORDINATORS = {
    Tense.PRESENT: ("weil", "wenn", "obwohl", "während", "da", "falls", "bevor"),
    Tense.PERFECT: ("weil", "als", "obwohl", "nachdem", "bevor", "während", "da", "bis", "sobald"),
    Tense.PRETERITE: ("als", "weil", "nachdem", "obwohl", "während", "bevor", "da", "bis", "sobald"),
    Tense.FUTURE: ("wenn", "sobald", "weil", "bevor", "falls", "obwohl"),
}
# With these subordinators, the main clause has to be an event.
_TEMPORAL = ("nachdem", "bevor", "sobald")
_WITHOUT_COMMA = ("perhaps", "probably", "then")
_ENGLISH_OF = {entry.german: entry.english for entry in lexicon.SUBORDINATORS}


class Sentence:
    """A finished pair of lines with its gold links."""

    def __init__(self, phrase: Phrase, stop: str = ".") -> None:
        self.german: Line = write(phrase.german, stop)
        self.english: Line = write(phrase.english, stop)

    @property
    def links(self) -> tuple[tuple[int, int], ...]:
        """The gold links: pairs of German and English positions."""
        return links(self.german, self.english)


class Sentences:
    """A sampler of sentences; `clauses` and `detail` control their length."""

    def __init__(self, seed: int) -> None:
        self.choice = Choice(seed)
        self.predicates = Predicates(self.choice)

    def draw(self, units: int, detail: float) -> Sentence:
        """Draw a sentence of `units` coordinated units, modified as richly as `detail` says."""
        self.predicates.nominals.detail = detail
        if units == 1 and self.choice.chance(0.15):
            return Sentence(self._question(), "?")
        tense = self.choice.weighted((Tense.PERFECT, Tense.PRESENT, Tense.PRETERITE, Tense.FUTURE), (36, 34, 20, 10))
        setting = Setting(tense)
        phrases = [self._unit(setting)]
        for _ in range(units - 1):
            phrases += [self._conjunction(), self._unit(setting)]
        return Sentence(chain(phrases))

    def _conjunction(self) -> Phrase:
        kind = self.choice.weighted(("und", "aber", "denn"), (60, 28, 12))
        if kind == "und":
            joint = fixed("und", "and", "KON")
            return Phrase(joint.german, [COMMA, *joint.english])
        return chain([_COMMA, fixed(kind, {"aber": "but", "denn": "for"}[kind], "KON")])

    def _unit(self, setting: Setting) -> Phrase:
        """Draw a main clause, alone or with a clause that depends on it or shares its subject."""
        choice, detail = self.choice, self.predicates.detail
        self.predicates.times_left = 1
        kind = choice.weighted(
            ("alone", "before", "after", "that", "whether", "to", "purpose", "shared"),
            (55 - 35 * detail, 7 + 10 * detail, 7 + 10 * detail, 4 + 8 * detail, 3, 3, 3, 4 + 10 * detail),
        )
        if kind == "before":
            return self._with_subordinate(setting, first=True)
        if kind == "after":
            return self._with_subordinate(setting, first=False)
        if kind in ("that", "whether", "to"):
            return self._with_content(kind, setting)
        if kind == "purpose":
            return self._with_purpose(setting)
        if kind == "shared":
            return self._sharing(setting)
        return self.fronted(self.predicates.clause(setting))

    def fronted(self, clause: Clause) -> Phrase:
        """Return a main clause with the subject or another constituent in front."""
        choice, parts = self.choice, clause.parts
        if Role.TIME in parts and (clause.heavy or choice.chance(0.4)):
            return clause.main(Role.TIME)
        if Role.PLACE in parts and choice.chance(0.4):
            return clause.main(Role.PLACE)
        if Role.DEFINITE in parts and choice.chance(0.2) and self._frontable(clause):
            return clause.main(Role.DEFINITE)
        if choice.chance(0.13):
            entry = choice.zipf(lexicon.SENTENCE_ADVERBS if choice.chance(0.7) else lexicon.SEQUENCE_ADVERBS)
            opener = fixed(entry.german, entry.english, "ADV")
            comma = [] if entry.english in _WITHOUT_COMMA else [COMMA]
            clause.add(Role.OPENER, Phrase(opener.german, opener.english + comma))
            return clause.main(Role.OPENER)
        return clause.main()

    @staticmethod
    def _frontable(clause: Clause) -> bool:
        """Return whether an object may be fronted, because nobody could mistake it for the subject."""
        objects = set(clause.verb.frame.accusative)
        return not clause.passive and not objects & {"person", "family", "animal"}

    def _with_subordinate(self, setting: Setting, *, first: bool) -> Phrase:
        """Draw a main clause and an adverbial clause, in any order."""
        choice = self.choice
        subordinator = choice.zipf(_SUBORDINATORS[setting.tense])
        lower = {
            "als": Setting(Tense.PRETERITE),
            "nachdem": Setting(Tense.PLUPERFECT),
        }.get(subordinator, setting if setting.tense is not Tense.FUTURE else Setting(Tense.PRESENT))
        opening = fixed(subordinator, _ENGLISH_OF[subordinator], "KOUS")
        if subordinator == "bis":
            first = False
        event = subordinator not in ("weil", "obwohl", "da")
        if first:
            lead = self.predicates.clause(lower, event=event, free=False)
            follow = pronoun(lead.subject) if choice.chance(0.6) else None
            main = self.predicates.clause(setting, follow, event=subordinator in _TEMPORAL, free=False)
            dependent = lead.final(opening)
            opener = Phrase([*dependent.german, COMMA], [*dependent.english, COMMA])
            return main.main(None, opener=opener)
        if subordinator == "bis":
            upper = self.predicates.enduring(setting)
        else:
            upper = self.predicates.clause(setting, event=subordinator in _TEMPORAL)
        subject = pronoun(upper.subject) if choice.chance(0.6) else None
        dependent = self.predicates.clause(lower, subject, event=event, free=False).final(opening)
        return chain([self.fronted(upper), _german_only(dependent)])

    def _with_content(self, kind: str, setting: Setting) -> Phrase:
        """Draw a sentence such as "somebody says that", "asks whether" or "tries to"."""
        matrix, subject = self.predicates.content(kind, setting)
        front = Role.TIME if Role.TIME in matrix.parts and self.choice.chance(0.5) else Role.SUBJECT
        upper = matrix.main(front)
        if kind == "to":
            lower = self.predicates.intended(subject)
            return chain([upper, _german_only(lower.to_infinitive())])
        inner = setting if setting.tense is not Tense.FUTURE else Setting(Tense.PRESENT)
        opening = fixed("dass", "that", "KOUS") if kind == "that" else fixed("ob", "whether", "KOUS")
        own = pronoun(subject) if self.choice.chance(0.3) else None
        return chain([upper, _german_only(self.predicates.clause(inner, own, free=False).final(opening))])

    def _with_purpose(self, setting: Setting) -> Phrase:
        """Draw a sentence in which somebody goes somewhere in order to do something."""
        upper = self.predicates.going(setting)
        if self.choice.chance(0.35) and setting.tense is not Tense.FUTURE:
            return self._enabling(upper, setting)
        order = Concept()
        opening = Phrase([word("um", "KOUI", order)], words("in order", "KOUI", order))
        lower = self.predicates.intended(upper.subject)
        return chain([self.fronted(upper), _german_only(lower.to_infinitive(opening))])

    def _enabling(self, upper: Clause, setting: Setting) -> Phrase:
        """Draw a sentence in which somebody goes somewhere so that somebody else can do something."""
        lower = self.predicates.intended(self.predicates.nominals.subject(definite=True), setting, MODALS["können"])
        dependent = lower.final(fixed("damit", "so that", "KOUS"))
        return chain([self.fronted(upper), _german_only(dependent)])

    def _sharing(self, setting: Setting) -> Phrase:
        """Draw two clauses with one subject; the first has no relative clause to which the second verb could belong."""
        while True:
            upper = self.predicates.clause(setting, self.predicates.nominals.subject(), free=False)
            if not upper.heavy:
                break
        second = self.predicates.clause(setting, upper.subject, free=False)
        return chain([upper.main(), fixed("und", "and", "KON"), second.shared()])

    def _question(self) -> Phrase:
        """Draw a yes-no question or one with a question word."""
        setting = Setting(self.choice.zipf(_QUESTION_TENSES))
        if self.choice.chance(0.45):
            return self._polar(setting)
        return self._open(setting)

    def _asked(self) -> Nominal:
        kind = self.choice.weighted(("du", "Sie", "ihr", "other"), (25, 20, 10, 45))
        if kind == "other":
            return self.predicates.nominals.subject(definite=True)
        return PRONOUNS[kind]

    def _polar(self, setting: Setting) -> Phrase:
        subject = self._asked()
        self.predicates.times_left = 1
        clause = self.predicates.clause(setting, subject, verb=self.predicates.verb("person"), free=False)
        if clause.negation is not None or clause.modal in (MODALS["müssen"], MODALS["wollen"]):
            return self._polar(setting)
        return clause.question()

    def _open(self, setting: Setting) -> Phrase:
        predicates, choice = self.predicates, self.choice
        kind = choice.zipf(("what", "who", "where", "when", "why", "whom", "how many", "to whom"))
        subject: Nominal = Question(True) if kind == "who" else self._asked()
        while True:
            verb = predicates.verb("person")
            frame = verb.frame
            animate = bool({"person", "family"} & set(frame.accusative))
            fits = {
                "what": bool(frame.accusative) and not animate and not frame.dative,
                "whom": animate,
                "how many": bool({"object", "food", "clothing", "document"} & set(frame.accusative)),
                "to whom": frame.dative or "person" in frame.preposition,
                "where": frame.place in ("where", "whereto", "onto", "city"),
            }
            if fits.get(kind, True):
                break
        clause = Clause(verb, setting.ordinary(subject), subject)
        front = self._add_question(kind, clause)
        predicates.complements(clause, setting)
        return clause.question(front)

    def _add_question(self, kind: str, clause: Clause) -> Role:
        frame, choice = clause.verb.frame, self.choice
        if kind in ("what", "whom"):
            clause.add(Role.DEFINITE, Question(kind == "whom").phrase(Case.ACCUSATIVE))
            return Role.DEFINITE
        if kind == "to whom":
            if frame.dative:
                clause.add(Role.DATIVE, dative(Question(True), to=bool(frame.accusative)))
                return Role.DATIVE
            clause.add(Role.PREPOSITIONAL, governed(clause, Question(True)))
            return Role.PREPOSITIONAL
        if kind == "where":
            asks = fixed("wo" if frame.place == "where" else "wohin", "where", "PWAV")
            clause.add(Role.COMPLEMENT, asks)
            return Role.COMPLEMENT
        if kind in ("when", "why"):
            clause.add(Role.TIME, fixed({"when": "wann", "why": "warum"}[kind], kind, "PWAV"))
            return Role.TIME
        if kind == "how many":
            pool = [name for name in ("food", "object", "clothing", "document") if name in frame.accusative]
            counted = NounPhrase(choice.zipf(nouns_of(choice.zipf(pool))), "none", True).phrase(Case.ACCUSATIVE)
            clause.add(Role.DEFINITE, chain([fixed("wie", "how", "PWAV"), fixed("viele", "many", "PIAT"), counted]))
            return Role.DEFINITE
        return Role.SUBJECT


def _german_only(dependent: Phrase) -> Phrase:
    """Return a dependent clause after its main clause, with commas in German but not in English."""
    return Phrase([COMMA, *dependent.german, COMMA], dependent.english)
