"""Sampling of clauses: a subject, a verb that fits it, and the constituents that its frame requires."""

from __future__ import annotations

from collections.abc import Sequence

from tools.embedded_corpus import lexicon
from tools.embedded_corpus.adverbials import Adverbials
from tools.embedded_corpus.choice import Choice
from tools.embedded_corpus.clauses import Clause, Role
from tools.embedded_corpus.frames import CLAUSE_VERBS, Setting, accusative_role, dative, governed, verbs_of
from tools.embedded_corpus.german import Case
from tools.embedded_corpus.lexicon import Verb
from tools.embedded_corpus.nominals import Nominals, nouns_of
from tools.embedded_corpus.phrases import PRONOUNS, Nominal, NounPhrase, Pronoun, prepositional
from tools.embedded_corpus.relatives import Relatives
from tools.embedded_corpus.states import States
from tools.embedded_corpus.verbs import MODALS, Modal, Tense
from tools.embedded_corpus.words import Concept, Phrase, fixed

_HOMES = tuple(
    lexicon.noun(name) for name in ("Haus", "Stadt", "Wohnung", "Dorf", "Hotel", "Schloss", "Straße", "Insel")
)
_LODGINGS = tuple(lexicon.noun(name) for name in ("Hotel", "Haus", "Wohnung", "Schloss", "Dorf"))
_CITY_VERBS = ("wohnen", "übernachten", "arbeiten", "bleiben")
_DELIBERATE = (
    "document",
    "food",
    "cooked",
    "baked",
    "device",
    "door",
    "vehicle",
    "clothing",
    "picture",
    "task",
    "question",
)
# Classes of nouns that are large enough for enumerations.
_LISTS = ("food", "food_mass", "drink", "object", "clothing", "document")
# With these classes as objects, the place is obvious and not mentioned.
_UNPLACED = ("building", "event", "transit", "door", "owned")


class Predicates:
    """A sampler of clauses, which adds adverbials and relative clauses depending on `detail`.

    `times_left` is the number of adverbials of time that the current unit of a sentence may still get; `avoided` is the
        verb that a relative clause should not repeat.
    """

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self.nominals = Nominals(choice)
        self.adverbials = Adverbials(choice, self.nominals)
        self.relatives = Relatives(self)
        self.states = States(self)
        self.times_left = 1
        self.avoided = ""

    @property
    def detail(self) -> float:
        """The amount of modification of all constituents, from 0 to 1."""
        return self.nominals.detail

    def verb(self, *classes: str) -> Verb:
        """Draw a verb for a subject of one of these classes."""
        return self.choice.weighted(*verbs_of(*classes))

    def clause(
        self,
        setting: Setting,
        subject: Nominal | None = None,
        *,
        verb: Verb | None = None,
        event: bool = False,
        free: bool = True,
    ) -> Clause:
        """Draw a clause of any kind in this setting, or only an event. A given subject is a person.

        If the position before its verb is not `free`, the clause must not need to front an adverbial.
        """
        choice = self.choice
        if subject is None and verb is None:
            kind = choice.weighted(
                ("person", "copula", "animal", "thing", "weather"), (80, 0, 7, 0, 4) if event else (70, 12, 7, 8, 1.5)
            )
            if kind == "copula":
                return self.states.copula(setting, self.nominals.subject(definite=True), lone=free)
            if kind == "thing":
                return self.states.about_thing(setting, free)
            if kind == "weather":
                return Clause(self.verb("weather"), setting.tense, PRONOUNS["es"])
            if kind == "animal":
                noun = choice.zipf(nouns_of("animal"))
                subject, verb = self.nominals.thing(noun), self.verb(*noun.classes)
        elif subject is not None and verb is None and not event and choice.chance(0.1):
            return self.states.copula(setting, subject, lone=False)
        if subject is None:
            subject = self.nominals.subject()
            if isinstance(subject, NounPhrase):
                self.relatives.relate(subject, setting, 0.12)
        while verb is None or (event and verb.name in lexicon.STATIC):
            verb = self.verb("person")
        return self.complete(verb, subject, setting, free, event)

    def complete(self, verb: Verb, subject: Nominal, setting: Setting, free: bool, event: bool = False) -> Clause:
        """Return a clause of this verb and subject, and draw its modal, negation, complements and adverbials."""
        choice = self.choice
        modal = None
        willing = verb.frame.subject[0] in ("person", "animal") and verb.name not in lexicon.INVOLUNTARY
        if (
            willing
            and setting.tense in (Tense.PRESENT, Tense.PERFECT, Tense.PRETERITE)
            and not event
            and choice.chance(0.16)
        ):
            modal = choice.zipf(tuple(MODALS.values()))
        negation = Concept() if not event and choice.chance(0.1) and self._negatable(modal) else None
        lasting = free and not event and self._may_last(verb, setting, modal, negation) and choice.chance(0.25)
        progressive = free and not event and self._may_progress(verb, setting, modal, negation) and choice.chance(0.15)
        progressive = progressive and not lasting
        clause = Clause(
            *(verb, setting.ordinary(subject) if modal is None else setting.short, subject, modal),
            negation=negation,
            progressive=progressive,
            lasting=lasting,
        )
        outer, self.avoided = self.avoided, verb.name
        self.complements(clause, setting)
        self.avoided = outer
        if lasting:
            clause.add(Role.TIME, self.adverbials.lasting())
        elif progressive:
            clause.add(Role.TIME, fixed("gerade", "right now", "ADV"))
        elif not event or setting.tense.past:
            self._adverbials(clause, setting, free)
        return clause

    @staticmethod
    def _negatable(modal: Modal | None) -> bool:
        return modal is None or modal.german in ("können", "dürfen", "sollen")

    @staticmethod
    def _may_last(verb: Verb, setting: Setting, modal: Modal | None, negation: Concept | None) -> bool:
        plain = modal is None and negation is None and setting.tense is Tense.PRESENT
        return plain and not verb.prefix and verb.infinitive in lexicon.LASTING

    @staticmethod
    def _may_progress(verb: Verb, setting: Setting, modal: Modal | None, negation: Concept | None) -> bool:
        plain = modal is None and negation is None and setting.tense is Tense.PRESENT
        return plain and verb.name not in lexicon.STATES and "person" in verb.frame.subject

    def complements(self, clause: Clause, setting: Setting) -> None:
        """Add the complements of the frame, with kein or nicht if the clause is negated."""
        frame, subject = clause.verb.frame, clause.subject
        negated = clause.negation is not None
        kein = False
        if frame.accusative and Role.DEFINITE not in clause.parts:
            kein = self._add_accusative(clause, setting)
        if negated and not kein:
            clause.negate()
        if frame.dative and Role.DATIVE not in clause.parts:
            person = self.nominals.other_person(subject, Case.DATIVE, definite=negated)
            self._maybe_relate(person, setting)
            role = Role.DATIVE_PRONOUN if isinstance(person, Pronoun) else Role.DATIVE
            clause.add(role, dative(person, to=bool(frame.accusative)))
        if frame.preposition and Role.PREPOSITIONAL not in clause.parts:
            nominal = self._prepositional_object(frame.preposition[3:], subject, negated)
            self._maybe_relate(nominal, setting)
            clause.add(Role.PREPOSITIONAL, governed(clause, nominal))
        if frame.place and Role.COMPLEMENT not in clause.parts:
            clause.add(Role.COMPLEMENT, self._place_complement(clause, setting))

    def _add_accusative(self, clause: Clause, setting: Setting) -> bool:
        """Add the accusative object and return whether it expresses the negation as kein."""
        choice, frame = self.choice, clause.verb.frame
        pool = tuple(name for name in frame.accusative if name not in ("person", "family"))
        negated = clause.negation is not None
        listed = [name for name in pool if name in _LISTS and clause.verb.name in lexicon.LISTING]
        if listed and not negated and not frame.dative and choice.chance(0.1 + 0.3 * self.detail**2):
            count = choice.weighted((2, 3, 4, 5, 6), (4, 4, 2, 1, 0.4))
            clause.add(Role.INDEFINITE, self.nominals.list_of(listed, count).phrase(Case.ACCUSATIVE))
            return False
        if "person" in frame.accusative and (not pool or choice.chance(0.5)):
            person = self.nominals.other_person(clause.subject, Case.ACCUSATIVE, definite=negated)
            if not frame.dative and not negated:
                self._maybe_relate(person, setting)
            clause.add(accusative_role(person), person.phrase(Case.ACCUSATIVE))
            return False
        noun = choice.zipf(nouns_of(choice.zipf(pool)))
        phrase = self.nominals.thing(noun, clause.subject, definite=negated)
        if "clothing" in frame.accusative and len(frame.accusative) == 1 and phrase.owner is not None:
            phrase = NounPhrase(noun, "der", phrase.plural, phrase.adjectives)
        if negated and choice.chance(0.5):
            plural = not noun.mass and choice.chance(0.3)
            phrase = NounPhrase(noun, "kein", plural, phrase.adjectives, negation=clause.negation)
            clause.add(Role.INDEFINITE, phrase.phrase(Case.ACCUSATIVE))
            return True
        if not frame.dative and not frame.place and not negated:
            self._maybe_relate(phrase, setting)
        clause.add(accusative_role(phrase), phrase.phrase(Case.ACCUSATIVE))
        return False

    def _prepositional_object(self, classes: Sequence[str], subject: Nominal, negated: bool) -> Nominal:
        name = self.choice.zipf(classes)
        case = Case.ACCUSATIVE
        if name == "person":
            return self.nominals.other_person(subject, case, family=False, definite=negated)
        if name == "family":
            return self.nominals.relative_of(subject)
        return self.nominals.thing(self.choice.zipf(nouns_of(name)), subject, definite=negated)

    def _place_complement(self, clause: Clause, setting: Setting) -> Phrase:
        nominals, kind, verb = self.nominals, clause.verb.frame.place, clause.verb
        if kind in ("surface", "seat", "onto"):
            noun = self.choice.zipf(nouns_of("seat" if kind == "seat" else "surface"))
            phrase = NounPhrase(
                noun, self.choice.zipf(("der", "der", "der", "ein")), adjectives=nominals.adjectives(noun)[:1]
            )
            case, preposition = (Case.DATIVE, noun.where) if kind != "onto" else (Case.ACCUSATIVE, noun.whereto)
            return prepositional(preposition, case, phrase)
        if kind == "city":
            nominal, preposition, case = self.adverbials.place(("city",), to=True)
            return prepositional(preposition, case, nominal)
        if kind == "where":
            return self._where_complement(verb, setting)
        if self.choice.chance(0.08):
            return fixed("nach Hause", "home", "APPR")
        if verb.infinitive in ("fahren", "kehren"):
            classes: tuple[str, ...] = ("city", "building", "outdoors")
        else:
            classes = ("building", "outdoors", "room")
        while True:
            nominal, preposition, case = self.adverbials.place(classes, to=True)
            if verb.infinitive not in ("fahren", "kehren") or preposition[1] == "to":
                break
        self._maybe_relate(nominal, setting)
        return prepositional(preposition, case, nominal)

    def _where_complement(self, verb: Verb, setting: Setting) -> Phrase:
        if verb.infinitive in _CITY_VERBS and self.choice.chance(0.55):
            return self.adverbials.where(("city",))
        homes = {"wohnen": _HOMES, "übernachten": _LODGINGS}.get(verb.infinitive)
        if homes is None:
            nominal, preposition, case = self.adverbials.place(("building", "outdoors", "room"))
        else:
            noun = self.choice.zipf(homes)
            adjectives = self.nominals.adjectives(noun)[:1]
            nominal = NounPhrase(noun, self.choice.zipf(("ein", "der", "dieser")), adjectives=adjectives)
            preposition, case = noun.where, Case.DATIVE
            if noun.german == "Straße":
                preposition = ("in", "in")
        self._maybe_relate(nominal, setting)
        return prepositional(preposition, case, nominal)

    def _adverbials(self, clause: Clause, setting: Setting, free: bool) -> None:
        """Add time or frequency, manner and place, if the clause has room for them."""
        choice, negated = self.choice, clause.negation is not None
        frame = clause.verb.frame
        if setting.tense is Tense.PLUPERFECT or clause.verb.name in lexicon.STATIC:
            return
        if choice.chance(0.3 + 0.35 * self.detail):
            present = setting.tense is Tense.PRESENT
            if present and not negated and clause.modal is None and choice.chance(0.45):
                entry = choice.zipf(lexicon.FREQUENCIES)
                clause.add(Role.FREQUENCY, fixed(entry.german, entry.english, "ADV"))
            elif self.times_left and (free or not clause.heavy) and not (negated and present):
                self.times_left -= 1
                clause.add(Role.TIME, self.adverbials.time(setting.tense))
        if clause.heavy or negated or frame.subject[0] != "person":
            return
        state = clause.verb.name in lexicon.STATES
        deliberate = not state and not frame.dative and bool(set(frame.accusative) & set(_DELIBERATE))
        if deliberate and choice.chance(0.12 + 0.1 * self.detail):
            entry = choice.zipf(lexicon.MANNERS)
            clause.add(Role.MANNER, fixed(entry.german, entry.english, "ADV"))
        staying = not frame.place and frame.preposition[:1] not in (("von",), ("über",)) and not frame.reflexive
        placed = clause.verb.auxiliary == "h" and not frame.dative and set(frame.accusative).isdisjoint(_UNPLACED)
        if staying and placed and choice.chance(0.14 + 0.2 * self.detail):
            clause.add(Role.PLACE, self.adverbials.where())

    def content(self, kind: str, setting: Setting) -> tuple[Clause, Nominal]:
        """Return the main clause of a dass-, ob- or zu-clause, without its complement, and its subject."""
        verb = self.choice.zipf(CLAUSE_VERBS[kind])
        subject = self.nominals.subject()
        clause = Clause(verb, setting.ordinary(subject), subject)
        if self.choice.chance(0.15 + 0.2 * self.detail) and setting.tense is not Tense.PRESENT:
            clause.add(Role.TIME, self.adverbials.time(setting.tense))
        return clause, subject

    def intended(self, subject: Nominal, setting: Setting | None = None, modal: Modal | None = None) -> Clause:
        """Draw what somebody tries or intends to do: a clause whose verb phrase is used as an infinitive with zu."""
        while True:
            verb = self.verb("person")
            deliberate = verb.frame.accusative or verb.frame.dative or verb.frame.place == "whereto"
            if deliberate and verb.name not in lexicon.STATES:
                break
        setting = setting or Setting(Tense.PRESENT)
        clause = Clause(verb, setting.short, subject, modal)
        self.complements(clause, setting)
        return clause

    def enduring(self, setting: Setting) -> Clause:
        """Draw an activity that can last until something else happens."""
        verb = self.choice.zipf([verb for verb in verbs_of("person")[0] if verb.name in lexicon.ENDURING])
        return self.complete(verb, self.nominals.subject(), setting, free=True, event=True)

    def going(self, setting: Setting) -> Clause:
        """Draw a clause in which somebody goes somewhere."""
        verb = self.choice.zipf([verb for verb in verbs_of("person")[0] if verb.frame.place in ("whereto", "city")])
        subject = self.nominals.subject()
        clause = Clause(verb, setting.ordinary(subject), subject)
        self.complements(clause, setting)
        self._adverbials(clause, setting, True)
        return clause

    def _maybe_relate(self, nominal: Nominal, setting: Setting) -> None:
        if isinstance(nominal, NounPhrase):
            self.relatives.relate(nominal, setting, 0.1 + 0.35 * self.detail)
