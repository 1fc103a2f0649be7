"""Sampling of adverbials of time and place."""

from __future__ import annotations

from collections.abc import Sequence

from tools.embedded_corpus import lexicon, numbers
from tools.embedded_corpus.choice import Choice
from tools.embedded_corpus.german import Case
from tools.embedded_corpus.nominals import Nominals, nouns_of
from tools.embedded_corpus.phrases import Name, Nominal, NounPhrase, prepositional
from tools.embedded_corpus.verbs import Tense
from tools.embedded_corpus.words import Concept, Phrase, chain, fixed, word, words

_UNITS = tuple(lexicon.noun(unit) for unit in ("Jahr", "Tag", "Woche", "Monat", "Stunde"))


class Adverbials:
    """A sampler of adverbials of time and place, which takes its nouns from `nominals`."""

    def __init__(self, choice: Choice, nominals: Nominals) -> None:
        self.choice = choice
        self.nominals = nominals

    def place(self, classes: Sequence[str], *, to: bool = False) -> tuple[Nominal, tuple[str, str], Case]:
        """Draw a place with its preposition and case: im Garten, zum Bahnhof, in Berlin, nach Italien."""
        if "city" in classes and self.choice.chance(0.5 if len(classes) > 1 else 1.0):
            entry = self.choice.zipf(lexicon.CITIES if self.choice.chance(0.75) else lexicon.COUNTRIES)
            return Name(entry.german, entry.english), ("nach", "to") if to else ("in", "in"), Case.DATIVE
        noun = self.choice.zipf(nouns_of(*(name for name in classes if name != "city")))
        preposition = noun.whereto if to else noun.where
        case = Case.ACCUSATIVE if to and preposition[0] != "zu" else Case.DATIVE
        determiner = self.choice.weighted(("der", "ein", "dieser"), (80, 14, 6))
        return NounPhrase(noun, determiner, adjectives=self.nominals.adjectives(noun)[:1]), preposition, case

    def where(self, classes: Sequence[str] = ("building", "outdoors", "room", "city")) -> Phrase:
        """Draw an adverbial of place."""
        if self.choice.chance(0.06):
            return fixed("zu Hause", "at home", "ADV")
        nominal, preposition, case = self.place(classes)
        return prepositional(preposition, case, nominal)

    def time(self, tense: Tense) -> Phrase:
        """Draw an adverbial of time that fits the tense."""
        past = tense.past or tense is Tense.PLUPERFECT
        kind = self.choice.weighted(
            ("plain", "counted", "weekday", "month", "season", "clock", "day", "year"), (42, 14, 12, 5, 5, 12, 14, 6)
        )
        if kind == "counted" and (past or tense is Tense.FUTURE):
            return self._counted_time("vor" if past else "in")
        if kind == "year" and past:
            year = self.choice.between(1700, 2025)
            concept = Concept()
            stop = [word(numbers.german_year(year), "CARD", concept)]
            return chain(
                [
                    fixed("im Jahr", "in the year", "NN"),
                    Phrase(stop, words(numbers.english_year(year), "CARD", concept)),
                ]
            )
        if kind == "weekday":
            day = self.choice.zipf(lexicon.WEEKDAYS)
            return fixed(f"am {day.german}", f"on {day.english}", "NN")
        if kind == "month":
            month = self.choice.zipf(lexicon.MONTHS)
            return fixed(f"im {month.german}", f"in {month.english}", "NN")
        if kind == "season":
            season = self.choice.zipf(lexicon.SEASONS)
            return fixed(f"im {season.german}", f"in the {season.english}", "NN")
        if kind == "clock":
            return self._clock()
        if kind == "day":
            return self._date()
        return self._plain_time(tense, past)

    def _plain_time(self, tense: Tense, past: bool) -> Phrase:
        table = lexicon.PAST_TIMES if past else lexicon.PRESENT_TIMES
        if tense is Tense.FUTURE:
            table = lexicon.FUTURE_TIMES
        entry = self.choice.zipf(table)
        return fixed(entry.german, entry.english, "ADV")

    def _counted_time(self, preposition: str) -> Phrase:
        phrase = self.nominals.counted(self.choice.zipf(_UNITS)).phrase(Case.DATIVE)
        concept = Concept()
        de = [word(preposition, "APPR", concept), *phrase.german]
        if preposition == "vor":
            return Phrase(de, [*phrase.english, word("ago", "ADV", concept)])
        return Phrase(de, [word("in", "APPR", concept), *phrase.english])

    def lasting(self) -> Phrase:
        """Draw an adverbial for how long something has lasted: seit drei Jahren."""
        phrase = self.nominals.counted(self.choice.zipf(_UNITS)).phrase(Case.DATIVE)
        concept = Concept()
        return Phrase([word("seit", "APPR", concept), *phrase.german], [word("for", "APPR", concept), *phrase.english])

    def _clock(self) -> Phrase:
        hour = self.choice.between(2, 12)
        return fixed(f"um {numbers.german_number(hour)} Uhr", f"at {numbers.english_number(hour)} o'clock", "ADV")

    def _date(self) -> Phrase:
        day, month = self.choice.between(1, 28), self.choice.zipf(lexicon.MONTHS)
        preposition, ordinal, name = Concept(), Concept(), Concept()
        return Phrase(
            [
                word("am", "APPRART", preposition, lemma="an"),
                word(numbers.german_ordinal(day) + "en", "ADJA", ordinal, lemma=numbers.german_ordinal(day)),
                word(month.german, "NN", name),
            ],
            [
                *words("on the", "APPRART", preposition),
                word(numbers.english_ordinal(day), "ADJA", ordinal),
                *words(f"of {month.english}", "NN", name),
            ],
        )
