"""Markup is applied or removed, and never read aloud."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.engines.tts.text.normalization import read_aloud
from serve.engines.tts.text.plain_text import plain_text

pytestmark = pytest.mark.unit

SSML = {
    "<speak>Hello <break time='500ms'/>there</speak>": "Hello [pause 0.50s]there",
    'a <break strength="x-strong"/> b': "a [pause 1.00s] b",
    "a<break/>b": "a[pause 0.40s]b",
    'a <break time="1h"/> b': "a [pause 0.40s] b",
    '<sub alias="World Wide Web">WWW</sub> it': "World Wide Web it",
    '<say-as interpret-as="characters">abc1</say-as>': "a b c 1",
    '<say-as interpret-as="date">2024-01-02</say-as>': "2024-01-02",
    "It is <emphasis level='strong'>so</emphasis> good": "It is *so* good",
    '<say-as interpret-as="ordinal">3</say-as> of <say-as interpret-as="cardinal">1984</say-as>': "3rd of 1,984",
    '<prosody pitch="+2st">as usual</prosody>': "as usual",
    'a <prosody rate="slow" pitch="+2st">b <prosody rate="+100%">c</prosody> d</prosody> e': (
        "a [pace:75%] b [pace:150%] c [pace:75%] d [pace:100%] e"
    ),
    '<prosody rate="x-fast"/>a<prosody rate=".5">b</prosody></prosody>': "a [pace:50%] b [pace:100%]",
    "<p>One.</p><p>Two.</p>": "One. Two.",
    '<?xml version="1.0"?><speak>x</speak>': "x",
}
HTML = {
    "<b>Bold</b> and <i>it</i>": "*Bold* and *it*",
    'a <a href="https://x.org/?a=1">link</a>': "a link",
    "one<br>two<br/>three": "one two three",
    "<div class='a'><h1>Title</h1><ul><li>x</li></ul></div>": "Title x",
    "<script>alert(1)</script>safe<!-- not this -->": "safe",
    "Tom &amp; Jerry &lt;3 &#8364;5 &nbsp;x": "Tom & Jerry <3 €5 x",
    "<unknown a='1'>x</unknown> <x-y/>z": "x z",
    "x <y> z": "x <y> z",
    "&lt;b&gt;bold&lt;/b&gt; &amp; &lt;br/&gt;new": "*bold* & new",
    "a&#8203;b &#128512; &#xFEFF;c": "ab c",
    "if a < b and c > d": "if a < b and c > d",
    "a<b and c>d": "a<b and c>d",
    "5<7": "5<7",
}
MARKDOWN = {
    "# Title\nText": "Title Text",
    "## Deep ##": "Deep",
    "- [x] done\n- [ ] open": "- done - open",
    "* item\n+ other": "- item - other",
    "> quoted": "quoted",
    "a ~~wrong~~ word": "a wrong word",
    'see [docs](https://e.org/a_(b) "Title") now': "see docs now",
    "![a cat](cat.png)": "a cat",
    "text[^1]\n\n[^1]: note": "text",
    "[text][ref]\n\n[ref]: https://e.org": "text",
    "[![a cat](cat.png)](https://e.org) here": "a cat here",
    "[Ann]: I think and so on": "[Ann]: I think and so on",
    "[text][ref]\n\n[ref]: <a b> 'title'\n[two]: /x/y": "text",
    "Title\n=====\ntext": "Title text",
    "==marked== and ~struck~ but ~5 and ~6": "marked and struck but ~5 and ~6",
    "H~2~O is $x^2$ or $$y$$ for $5 and $6": "H2O is x^2 or y for $5 and $6",
    "__strong__ and _soft_ but snake_case_name": "*strong* and *soft* but snake_case_name",
    "***both***": "*both*",
    "```python\nprint(1)\n```": "print(1)",
    "| a | b |\n|---|:-:|\n| 1 | 2 |": "a, b. 1, 2.",
    "one\n\n---\n\ntwo": "one two",
    "<https://e.org>": "https://e.org",
    r"not \*marked\*": "not *marked*",
    "1. [x] first": "1. first",
}
SIGNS = {
    "zero\u200bwidth\ufeff and \u202edirection": "zerowidth and direction",
    "Hi 👋🏽 there 👨‍👩‍👧 🇩🇪!": "Hi there !",
    "press 1️⃣": "press",
    "I ❤️ it": "I it",
    "a[i] [sic] [12]": "a[i] [sic] [12]",
}


@pytest.mark.parametrize(("written", "plain"), [*SSML.items(), *HTML.items(), *MARKDOWN.items(), *SIGNS.items()])
def test_what_a_reader_has_before_them(written: str, plain: str) -> None:
    assert " ".join(plain_text(written).split()) == plain


def test_emoji_are_named_where_that_is_wanted() -> None:
    assert " ".join(plain_text("I ❤️ it 👋🏽", name_emoji=True).split()) == "I heavy black heart it waving hand sign"
    assert " ".join(plain_text("🇩🇪 1️⃣ 👨‍👩‍👧", name_emoji=True).split()) == "flag of D E 1 man woman girl"


@settings(max_examples=300, deadline=None)
@given(st.text("<>/&;[]()!#*_~`|\\-= \n\"'abrp1", max_size=80))
def test_any_text_is_taken_apart_and_nothing_of_it_is_invented(text: str) -> None:
    said = read_aloud(plain_text(text))
    assert said.isprintable()
    assert set(plain_text(text)) <= set(text) | set(" \n*-.,[]pause0123456789s<>&\"'" + "\xa0")


@settings(max_examples=50, deadline=2000)
@given(st.sampled_from("<[*_`|~&!("), st.integers(1, 5000))
def test_repeated_signs_take_no_time(sign: str, count: int) -> None:
    plain_text(sign * count + "a")
    plain_text(f" {sign}{sign}a" * count)
