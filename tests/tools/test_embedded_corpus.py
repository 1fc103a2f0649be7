"""Test the embedded corpus: its sizes, vocabulary and alignments, and the grammar that generates it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nmt.data.alignments import check_links, read_gold
from tools.embedded_corpus import corpus, english, german, lexicon
from tools.embedded_corpus.clauses import Clause, Role
from tools.embedded_corpus.corpus import Neighbours, generate, lemma_counts, novelty, write_corpus
from tools.embedded_corpus.german import Case
from tools.embedded_corpus.numbers import (
    english_number,
    english_ordinal,
    english_year,
    german_number,
    german_ordinal,
    german_year,
)
from tools.embedded_corpus.phrases import (
    PRONOUNS,
    Coordination,
    Name,
    Nominal,
    NounPhrase,
    RelativePronoun,
    prepositional,
)
from tools.embedded_corpus.sentences import Sentence
from tools.embedded_corpus.verbs import MODALS, Tense
from tools.embedded_corpus.words import COMMA, Concept, Phrase, fixed

EMBEDDED = Path(__file__).parents[2] / "data" / "embedded"
Splits = dict[str, list[Sentence]]


@pytest.fixture(scope="module")
def splits() -> Splits:
    return generate()


@pytest.fixture(scope="module")
def everything(splits: Splits) -> list[Sentence]:
    return [sentence for split in splits.values() for sentence in split]


def test_the_embedded_files_are_what_the_grammar_generates(splits: Splits, tmp_path: Path) -> None:
    written = write_corpus(splits, tmp_path)
    assert sorted(path.name for path in written) == sorted(path.name for path in tmp_path.iterdir())
    assert len(written) == 8
    for path in written:
        assert path.read_bytes() == (EMBEDDED / path.name).read_bytes(), path.name


def test_every_training_pair_can_have_its_links(splits: Splits, tmp_path: Path) -> None:
    names = {path.name for path in write_corpus(splits, tmp_path, aligned=splits)}
    assert names == {path.name for path in EMBEDDED.iterdir() if path.name != "README.md"} | {"train.align"}
    for pair, line in zip(splits["train"], read_gold(tmp_path / "train.align"), strict=True):
        assert line.sure == line.possible == set(pair.links)
        check_links(line.sure, (len(pair.german.text.split()), len(pair.english.text.split())), "train.align")


def test_generation_does_not_depend_on_the_hash_seed() -> None:
    program = (
        "from tools.embedded_corpus.corpus import generate, pharaoh\n"
        "for s in generate({'train': 60, 'dev': 5})['train']:\n"
        "    print(ascii(s.german.text), ascii(s.english.text), pharaoh(s))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_sizes_and_distinct_pairs(splits: Splits, everything: list[Sentence]) -> None:
    assert {name: len(split) for name, split in splits.items()} == {"train": 20_000, "dev": 1_000, "test": 1_000}
    assert len({sentence.german.text for sentence in everything}) == 22_000


def test_no_held_out_source_is_in_train() -> None:
    train = set((EMBEDDED / "train.de").read_text("utf-8").splitlines())
    for name in ("dev", "test"):
        assert train.isdisjoint((EMBEDDED / f"{name}.de").read_text("utf-8").splitlines())


def test_vocabulary(splits: Splits, everything: list[Sentence]) -> None:
    for side in ("german", "english"):
        counts = lemma_counts(everything, side)
        train = lemma_counts(splits["train"], side)
        assert len(counts) >= 500
        assert min(train[lemma] for lemma in counts) >= 5
    forms = {each.text for sentence in everything for each in sentence.german.words if each.tag not in ("CARD", "NE")}
    assert len(forms) >= 2_000


def test_skeletons(everything: list[Sentence]) -> None:
    assert len({sentence.german.skeleton for sentence in everything}) >= 3_000


@pytest.mark.parametrize("name", ["train", "dev", "test"])
def test_lengths(splits: Splits, name: str) -> None:
    lengths = [len(sentence.german.text.split()) for sentence in splits[name]]
    assert min(lengths) == 3
    assert max(lengths) > 50
    assert 15 <= sum(lengths) / len(lengths) <= 18
    assert sum(length > 25 for length in lengths) / len(lengths) >= 0.15
    assert sum(length > 45 for length in lengths) / len(lengths) >= 0.01


@pytest.mark.parametrize("name", ["dev", "test"])
def test_held_out_sentences_are_new(splits: Splits, name: str) -> None:
    assert novelty(splits["train"], splits[name]) >= 0.8


def test_neighbours_agree_with_the_plain_edit_distance() -> None:
    def distance(left: list[str], right: list[str]) -> int:
        row = list(range(len(right) + 1))
        for i, a in enumerate(left, start=1):
            previous, row = row, [i]
            for j, b in enumerate(right, start=1):
                row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (a != b)))
        return row[-1]

    lines = (EMBEDDED / "train.de").read_text("utf-8").splitlines()[:400]
    short = [line for line in lines if len(line.split()) <= 8]
    near = Neighbours(short[1::2])
    for line in short[::2]:
        expected = any(distance(line.split(), other.split()) <= 2 for other in short[1::2])
        assert near.has_near(line) == expected
    assert near.has_near(" ".join(short[1].split()[1:]))


@pytest.mark.parametrize("name", ["dev", "test"])
def test_alignments_are_sorted_and_cover_every_content_word(splits: Splits, name: str) -> None:
    files = [(EMBEDDED / f"{name}.{suffix}").read_text("utf-8").splitlines() for suffix in ("de", "en", "align")]
    for sentence, de, en, links in zip(splits[name], *files, strict=True):
        pairs = [tuple(map(int, link.split("-"))) for link in links.split()]
        assert pairs == sorted(set(pairs))
        assert all(0 <= i < len(de.split()) and 0 <= j < len(en.split()) for i, j in pairs)
        sources, targets = {i for i, _ in pairs}, {j for _, j in pairs}
        assert targets == set(range(len(en.split())))
        bare = [each for i, each in enumerate(sentence.german.words) if i not in sources]
        assert all(each.tag == "ART" for each in bare), de


def test_text_is_detokenised(everything: list[Sentence]) -> None:
    for sentence in everything:
        for line in (sentence.german, sentence.english):
            assert line.text[0].isupper() and line.text[-1] in ".?"
            assert len(line.text.split(" ")) == len(line.words)
            assert not any(token.startswith(",") or ",," in token for token in line.text.split())


@pytest.mark.parametrize(
    ("number", "de", "en"),
    [
        (1, "eins", "one"),
        (12, "zwölf", "twelve"),
        (16, "sechzehn", "sixteen"),
        (17, "siebzehn", "seventeen"),
        (21, "einundzwanzig", "twenty-one"),
        (30, "dreißig", "thirty"),
        (70, "siebzig", "seventy"),
        (99, "neunundneunzig", "ninety-nine"),
        (100, "hundert", "one hundred"),
        (101, "hunderteins", "one hundred and one"),
        (366, "dreihundertsechsundsechzig", "three hundred and sixty-six"),
        (1_001, "tausendeins", "one thousand and one"),
        (1_121, "tausendeinhunderteinundzwanzig", "one thousand one hundred and twenty-one"),
        (21_000, "einundzwanzigtausend", "twenty-one thousand"),
        (
            345_678,
            "dreihundertfünfundvierzigtausendsechshundertachtundsiebzig",
            "three hundred and forty-five thousand six hundred and seventy-eight",
        ),
    ],
)
def test_numbers(number: int, de: str, en: str) -> None:
    assert german_number(number) == de
    assert english_number(number) == en


def test_numbers_are_distinct_and_bounded() -> None:
    sample = range(0, 1_000_000, 37)
    assert len({german_number(number) for number in sample}) == len(sample)
    assert len({english_number(number) for number in sample}) == len(sample)
    for number in (-1, 1_000_000):
        with pytest.raises(ValueError, match="999999"):
            german_number(number)


def test_years_and_ordinals() -> None:
    assert (german_year(1985), english_year(1985)) == ("neunzehnhundertfünfundachtzig", "nineteen eighty-five")
    assert (german_year(1905), english_year(1905)) == ("neunzehnhundertfünf", "nineteen oh five")
    assert (german_year(2010), english_year(2010)) == ("zweitausendzehn", "two thousand and ten")
    assert [german_ordinal(n) for n in (1, 3, 7, 19, 20)] == ["erst", "dritt", "siebt", "neunzehnt", "zwanzigst"]
    assert [english_ordinal(n) for n in (1, 12, 20, 22)] == ["first", "twelfth", "twentieth", "twenty-second"]


def phrase(nominal: Nominal, case: Case) -> str:
    return " ".join(each.text for each in nominal.phrase(case).whole if each is not COMMA)


def noun_phrase(noun: str, determiner: str = "der", adjective: str = "", plural: bool = False) -> NounPhrase:
    adjectives = [lexicon.adjective(adjective)] if adjective else []
    return NounPhrase(lexicon.noun(noun), determiner, plural, adjectives)


@pytest.mark.parametrize(
    ("nominal", "case", "expected"),
    [
        (noun_phrase("Kind", "der", "klein"), Case.DATIVE, "dem kleinen Kind"),
        (noun_phrase("Mann", "der", "alt"), Case.GENITIVE, "des alten Mannes"),
        (noun_phrase("Kind", plural=True), Case.DATIVE, "den Kindern"),
        (noun_phrase("Auto", plural=True), Case.DATIVE, "den Autos"),
        (noun_phrase("Mann", "ein", "alt"), Case.NOMINATIVE, "ein alter Mann"),
        (noun_phrase("Haus", "ein", "hoch"), Case.ACCUSATIVE, "ein hohes Haus"),
        (noun_phrase("Frau", "ein", "jung"), Case.DATIVE, "einer jungen Frau"),
        (noun_phrase("Wein", "none", "teuer"), Case.ACCUSATIVE, "teuren Wein"),
        (noun_phrase("Milch", "none", "kalt"), Case.DATIVE, "kalter Milch"),
        (noun_phrase("Apfel", "ein", "rot", plural=True), Case.NOMINATIVE, "rote Äpfel"),
        (noun_phrase("Freund", "euer", "müde"), Case.ACCUSATIVE, "euren müden Freund"),
        (noun_phrase("Zimmer", "kein", "dunkel"), Case.DATIVE, "keinem dunklen Zimmer"),
        (noun_phrase("Student"), Case.ACCUSATIVE, "den Studenten"),
        (noun_phrase("Nachbar", "dieser"), Case.DATIVE, "diesem Nachbarn"),
        (noun_phrase("Lehrer"), Case.GENITIVE, "des Lehrers"),
        (Name("Müller", "Müller", "Herr"), Case.DATIVE, "Herrn Müller"),
        (PRONOUNS["sie"], Case.DATIVE, "ihr"),
        (RelativePronoun("p", True, "3p"), Case.DATIVE, "denen"),
    ],
)
def test_german_declension(nominal: Nominal, case: Case, expected: str) -> None:
    assert phrase(nominal, case) == expected


@pytest.mark.parametrize(
    ("infinitive", "present", "preterite", "participle"),
    [
        ("aufstehen", "steht", "stand", "aufgestanden"),
        ("arbeiten", "arbeitet", "arbeitete", "gearbeitet"),
        ("öffnen", "öffnet", "öffnete", "geöffnet"),
        ("lernen", "lernt", "lernte", "gelernt"),
        ("fotografieren", "fotografiert", "fotografierte", "fotografiert"),
        ("besuchen", "besucht", "besuchte", "besucht"),
        ("einkaufen", "kauft", "kaufte", "eingekauft"),
        ("vorbereiten", "bereitet", "bereitete", "vorbereitet"),
        ("enden", "endet", "endete", "geendet"),
        ("geben", "gibt", "gab", "gegeben"),
        ("fahren", "fährt", "fuhr", "gefahren"),
        ("bewundern", "bewundert", "bewunderte", "bewundert"),
    ],
)
def test_german_conjugation(infinitive: str, present: str, preterite: str, participle: str) -> None:
    verb = lexicon.verb(infinitive)
    assert german.present(verb.infinitive, "3s", verb.present) == present
    assert german.preterite(verb.infinitive, "3s", verb.preterite) == preterite
    assert german.participle(verb) == participle


def test_german_second_person() -> None:
    for infinitive, expected in {
        "lesen": "liest", "geben": "gibst", "fahren": "fährst", "einladen": "lädst", "arbeiten": "arbeitest",
        "lächeln": "lächelst", "behalten": "behältst", "essen": "isst", "wissen": "weißt",
    }.items():  # fmt: skip
        verb = lexicon.verb(infinitive)
        assert german.present(verb.infinitive, "2s", verb.present) == expected
    assert german.present("lächeln", "1s") == "lächle"


def test_english_morphology() -> None:
    assert english.noun(lexicon.noun("Frau"), True) == "women"
    assert english.noun(lexicon.noun("Tomate"), True) == "tomatoes"
    assert english.noun(lexicon.noun("Stadt"), True) == "cities"
    assert [english.third_person(base) for base in ("go", "watch", "carry", "play", "have")] == [
        "goes", "watches", "carries", "plays", "has",
    ]  # fmt: skip
    assert [english.progressive(base) for base in ("lie", "run", "write")] == ["lying", "running", "writing"]
    assert english.past(lexicon.verb("planen", accusative="event")) == "planned"
    adjectives = [lexicon.adjective(text) for text in ("alt", "groß", "glücklich", "interessant", "gut")]
    assert [english.comparative(entry) for entry in adjectives] == [
        "older", "bigger", "happier", "more interesting", "better",
    ]  # fmt: skip
    assert [english.indefinite_article(word) for word in ("apple", "university", "honest", "boy")] == [
        "an",
        "a",
        "an",
        "a",
    ]


def written(phrase: Phrase, stop: str = ".") -> tuple[str, str, str]:
    sentence = Sentence(phrase, stop)
    return sentence.german.text, sentence.english.text, corpus.pharaoh(sentence)


def garden_clause(tense: Tense) -> Clause:
    clause = Clause(lexicon.verb("essen", accusative="food"), tense, noun_phrase("Lehrer", adjective="alt"))
    apples = NounPhrase(lexicon.noun("Apfel"), "none", True, [lexicon.adjective("rot")], number=3)
    clause.add(Role.INDEFINITE, apples.phrase(Case.ACCUSATIVE))
    clause.add(Role.PLACE, prepositional(("in", "in"), Case.DATIVE, noun_phrase("Garten")))
    clause.add(Role.TIME, fixed("gestern", "yesterday", "ADV"))
    return clause


def test_perfect_with_a_verb_bracket() -> None:
    assert written(garden_clause(Tense.PERFECT).main()) == (
        "Der alte Lehrer hat gestern im Garten drei rote Äpfel gegessen.",
        "The old teacher ate three red apples in the garden yesterday.",
        "0-0 1-1 2-2 3-3 4-10 5-7 5-8 6-9 7-4 8-5 9-6 10-3",
    )


def test_inversion_and_verb_final_order() -> None:
    assert written(garden_clause(Tense.PERFECT).main(Role.TIME))[:2] == (
        "Gestern hat der alte Lehrer im Garten drei rote Äpfel gegessen.",
        "Yesterday the old teacher ate three red apples in the garden.",
    )
    dependent = garden_clause(Tense.PERFECT).final(fixed("weil", "because", "KOUS"))
    assert written(dependent)[0] == "Weil der alte Lehrer gestern im Garten drei rote Äpfel gegessen hat."


def test_a_separable_verb_in_all_its_positions() -> None:
    def rising(tense: Tense) -> Clause:
        clause = Clause(lexicon.verb("aufstehen"), tense, PRONOUNS["er"])
        clause.add(Role.TIME, fixed("morgens", "early", "ADV"))
        return clause

    assert written(rising(Tense.PRESENT).main()) == (
        "Er steht morgens auf.",
        "He gets up early.",
        "0-0 1-1 1-2 2-3 3-1 3-2",
    )
    assert written(rising(Tense.PERFECT).main())[0] == "Er ist morgens aufgestanden."
    assert written(rising(Tense.PRESENT).final(fixed("wenn", "when", "KOUS")))[0] == "Wenn er morgens aufsteht."
    assert written(rising(Tense.PRESENT).to_infinitive())[:2] == ("Morgens aufzustehen.", "To get up early.")


def test_negation_needs_do_in_english() -> None:
    negation = Concept()
    clause = Clause(lexicon.verb("kaufen", accusative="food"), Tense.PERFECT, noun_phrase("Frau"), negation=negation)
    cake = NounPhrase(lexicon.noun("Kuchen"), "kein", negation=negation)
    clause.add(Role.INDEFINITE, cake.phrase(Case.ACCUSATIVE))
    assert written(clause.main()) == (
        "Die Frau hat keinen Kuchen gekauft.",
        "The woman did not buy a cake.",
        "0-0 1-1 2-2 3-3 3-5 4-6 5-4",
    )


def test_questions_and_modals() -> None:
    clause = Clause(lexicon.verb("helfen"), Tense.PRESENT, PRONOUNS["Sie"], MODALS["können"])
    clause.add(Role.DATIVE_PRONOUN, PRONOUNS["ich"].phrase(Case.DATIVE))
    assert written(clause.question(), "?")[:2] == ("Können Sie mir helfen?", "Can you help me?")
    clause = Clause(lexicon.verb("wohnen"), Tense.PRESENT, PRONOUNS["du"])
    clause.add(Role.COMPLEMENT, fixed("wo", "where", "PWAV"))
    assert written(clause.question(Role.COMPLEMENT), "?")[:2] == ("Wo wohnst du?", "Where do you live?")


def test_a_relative_clause_moves_behind_the_verb() -> None:
    bus = noun_phrase("Bus")
    inner = Clause(lexicon.verb("fahren", subject="vehicle"), Tense.PRESENT, RelativePronoun("m", False, "3s"))
    inner.add(Role.COMPLEMENT, prepositional(("nach", "to"), Case.DATIVE, Name("Wien", "Vienna")))
    bus.relative = inner.relative(Role.SUBJECT)
    clause = Clause(lexicon.verb("nehmen"), Tense.PERFECT, Name("Anna", "Anna"))
    clause.add(Role.DEFINITE, bus.phrase(Case.ACCUSATIVE))
    assert written(clause.main())[:2] == (
        "Anna hat den Bus genommen, der nach Wien fährt.",
        "Anna took the bus that goes to Vienna.",
    )


def test_a_genitive_becomes_a_possessive() -> None:
    clause = Clause(lexicon.verb("suchen", accusative="object"), Tense.PRESENT, PRONOUNS["wir"])
    dog = NounPhrase(lexicon.noun("Hund"), owner=noun_phrase("Junge", adjective="klein"))
    clause.add(Role.DEFINITE, dog.phrase(Case.ACCUSATIVE))
    assert written(clause.main()) == (
        "Wir suchen den Hund des kleinen Jungen.",
        "We look for the small boy's dog.",
        "0-0 1-1 1-2 3-6 4-3 5-4 6-5",
    )


def test_an_enumeration() -> None:
    items = [noun_phrase("Apfel", "ein"), noun_phrase("Brot", "none"), noun_phrase("Birne", "ein", plural=True)]
    clause = Clause(lexicon.verb("kaufen", accusative="food"), Tense.PRESENT, PRONOUNS["sie"])
    clause.add(Role.INDEFINITE, Coordination(items, definite=False).phrase(Case.ACCUSATIVE))
    assert written(clause.main())[:2] == (
        "Sie kauft einen Apfel, Brot und Birnen.",
        "She buys an apple, bread and pears.",
    )
