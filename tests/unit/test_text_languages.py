"""Numbers, money, dates, times, units and signs, said in the voice's language: a table for each."""

from __future__ import annotations

import pytest

from schemas.speech import Part
from serve.engines.tts.passages import passages
from serve.engines.tts.text.languages.hindi import HINDI
from serve.engines.tts.text.markup import parts_of
from serve.engines.tts.text.normalization import read_aloud

pytestmark = pytest.mark.unit

SPANISH = [
    ("Cuesta $3,50 o 1.234,50 €.", "Cuesta tres dólares con cincuenta centavos o mil doscientos treinta y cuatro euros con cincuenta céntimos."),  # noqa: E501
    ("Son 21 euros, 21 libras y 200 £.", "Son veintiún euros, veintiuna libras y doscientas libras."),
    ("€2,5 millones y 1 €", "dos coma cinco millones de euros y un euro"),
    ("El 12/03/2024 y el 1984-12-01", "El doce de marzo de dos mil veinticuatro y el uno de diciembre de mil novecientos ochenta y cuatro"),  # noqa: E501
    ("A las 15:30, a la 1:00", "A las quince y treinta, a la una en punto"),
    ("a las 9:05 a. m. y 4 p.m.", "a las nueve y cinco de la mañana y cuatro de la tarde"),
    ("5 km, 20 °C, 60 km/h y 1 kg", "cinco kilómetros, veinte grados Celsius, sesenta kilómetros por hora y un kilo"),
    ("10 %, -5, 1/2 y 2 1/2", "diez por ciento, menos cinco, un medio y dos y un medio"),
    ("3.º, 2ª y 1er", "tercero, segunda y primero"),
    ("10-20 personas en 1984", "diez a veinte personas en mil novecientos ochenta y cuatro"),
    ("El Dr. Pérez: ana.lopez@ejemplo.es", "El doctor Pérez: ana punto lopez arroba ejemplo punto es"),
    ("3,14159, 007 y 1.000.000", "tres coma uno cuatro uno cinco nueve, cero cero siete y un millón"),
    ("el 21 de mayo, 31 libros, 1 casa", "el veintiuno de mayo, treinta y un libros, una casa"),
    ("100% + 3 & #5", "cien por ciento más tres y número cinco"),
]  # fmt: skip
FRENCH = [
    ("3,50 €, 1 234,50 $ et 1 €", "trois euros cinquante, mille deux cent trente-quatre dollars cinquante et un euro"),
    (
        "En 1998 l'équipe, 3 m'ont vu, 2 l.",
        "En mille neuf cent quatre-vingt-dix-huit l'équipe, trois m'ont vu, deux litres.",
    ),
    ("£21 et 2,5 millions €", "vingt et une livres et deux virgule cinq millions d'euros"),
    ("Le 01/05/2024 à 15h30, puis 1:00.", "Le premier mai deux mille vingt-quatre à quinze heures trente, puis une heure."),
    ("le 1 mai 1984", "le premier mai mille neuf cent quatre-vingt-quatre"),
    ("5 km, 20 °C, 90 %, -5", "cinq kilomètres, vingt degrés Celsius, quatre-vingt-dix pour cent, moins cinq"),
    ("1er, 1re et 2e", "premier, première et deuxième"),
    ("Mme Dupont et M. Martin, etc.", "madame Dupont et monsieur Martin, et cetera"),
    ("3/4 de 80 ans, 10-20 km", "trois quarts de quatre-vingts ans, dix à vingt kilomètres"),
    ("06 12 34", "zéro six douze trente-quatre"),
]
ITALIAN = [
    ("3,50 € o $1.234,50", "tre euro e cinquanta centesimi o milleduecentotrentaquattro dollari e cinquanta centesimi"),
    ("€2,5 milioni e 1 £", "due virgola cinque milioni di euro e una sterlina"),
    ("Nel 2006 l’Italia; 2 l.", "Nel duemilasei l'Italia; due litri."),
    ("Il 01/05/2024 alle 15:30 e all'1:00.", "Il primo maggio duemilaventiquattro alle quindici e trenta e all'una."),
    ("Il 1 maggio 1984", "Il primo maggio millenovecentottantaquattro"),
    ("1 km, 20 °C, 90 %, -5, 1 ora", "un chilometro, venti gradi Celsius, novanta per cento, meno cinque, una ora"),
    ("3º e 2ª, 3/4", "terzo e seconda, tre quarti"),
    ("il Sig. Rossi e la Dott.ssa Neri, ecc.", "il signor Rossi e la dottoressa Neri, eccetera"),
]
PORTUGUESE = [
    ("R$ 3,50 ou US$ 1.200", "três reais e cinquenta centavos ou mil e duzentos dólares"),
    ("R$ 2,5 milhões e 200 £", "dois vírgula cinco milhões de reais e duzentas libras"),
    ("Em 01/05/2024", "Em primeiro de maio de dois mil e vinte e quatro"),
    ("às 15h30, 15:00 e 1:00.", "às quinze e trinta, quinze horas e uma hora."),
    ("1 de maio de 1984, 2 casas", "primeiro de maio de mil novecentos e oitenta e quatro, duas casas"),
    ("5 km, 20 °C, 90%, -5", "cinco quilômetros, vinte graus Celsius, noventa por cento, menos cinco"),
    ("1º e 2ª, 1/2", "primeiro e segunda, um meio"),
    ("O Dr. Silva e a Sra. Souza, etc.", "O doutor Silva e a senhora Souza, etcétera"),
]  # fmt: skip
HINDI_TABLE = [
    ("₹1,23,456.50 और ₹1", "एक लाख तेईस हज़ार चार सौ छप्पन रुपये पचास पैसे और एक रुपया"),
    ("₹2 करोड़, $3.50", "दो करोड़ रुपये, तीन डॉलर पचास सेंट"),
    ("12/03/2024 को 15:30 बजे और 9:00 बजे।", "बारह मार्च दो हज़ार चौबीस को पंद्रह बजकर तीस मिनट और नौ बजे."),
    ("५ किमी, 20°C, 90%, -5", "पाँच किलोमीटर, बीस डिग्री सेल्सियस, नब्बे प्रतिशत, माइनस पाँच"),
    ("1984 में 3.14, 1/2", "उन्नीस सौ चौरासी में तीन दशमलव एक चार, आधा"),
    ("5वाँ, 1ला, 2री", "पाँचवाँ, पहला, दूसरी"),
    ("डॉ. शर्मा, 10-20 लोग", "डॉक्टर शर्मा, दस से बीस लोग"),
]
TABLES = {"es": SPANISH, "fr": FRENCH, "it": ITALIAN, "pt-br": PORTUGUESE, "hi": HINDI_TABLE}


@pytest.mark.parametrize(
    ("language", "written", "said"),
    [(language, written, said) for language, table in TABLES.items() for written, said in table],
)
def test_figures_become_words(language: str, written: str, said: str) -> None:
    assert read_aloud(written, language) == said


@pytest.mark.parametrize("language", TABLES)
def test_no_figure_is_left_whatever_surrounds_it(language: str) -> None:
    for written in ("a1b2", "1.2.3", "99999999999999999999", "1/0", "25:61", "32/13/2020", "0", "1.5e10", "x²", "٣", "5%5"):
        assert not any(c.isdigit() for c in read_aloud(written, language)), read_aloud(written, language)


def test_hindi_counts_in_lakhs_and_crores() -> None:
    numbers = {0: "शून्य", 99: "निन्यानवे", 100: "एक सौ", 1_05_000: "एक लाख पाँच हज़ार", 2_50_00_000: "दो करोड़ पचास लाख"}
    assert {number: HINDI.cardinal(number) for number in numbers} == numbers
    assert len({HINDI.cardinal(number) for number in range(100)}) == 100


def test_marks_do_not_take_hindi_words_apart() -> None:
    assert parts_of("नमस्कार... आप *कैसे* हैं?", "hi") == (
        Part("नमस्कार...", elongated=True),
        Part("आप"),
        Part("कैसे", emphasis=True),
        Part("हैं?"),
    )


def test_only_english_shouts() -> None:
    assert parts_of("you did NOT", "en-gb")[-1] == Part("not", emphasis=True)
    assert parts_of("NO es así", "es") == (Part("NO es así"),)


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("es", "El Sr. Díaz llegó. ¿Vienes?", [["el", "señor", "díaz", "llegó"], ["vienes"]]),
        ("fr", "M. Petit dort. Chut !", [["monsieur", "petit", "dort"], ["chut"]]),
        ("hi", "यह किताब है। वह घर है।", [["यह", "किताब", "है"], ["वह", "घर", "है"]]),
        ("pt-br", "A Sra. Lima saiu. Não!", [["a", "senhora", "lima", "saiu"], ["não"]]),
    ],
)
def test_sentences_end_where_they_do_in_each_language(language: str, text: str, words: list[list[str]]) -> None:
    assert [list(passage.words) for passage in passages(text, 0, language)] == words
