"""Helpers of search tests: texts and queries by seeded generators, and a PostgreSQL 15 to compare with.

``python -m tests.support.search_kit`` queries such a server and writes its answers to ``tests/data/search_queries.json``
and ``tests/data/search_tokens.json``, so that the comparison also runs without a server.
"""

from __future__ import annotations

import json
import os
import pwd
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import psycopg

DATA = Path(__file__).parents[1] / "data"
VERSION = "15."
NUM_TEXTS = 2000

_VOCABULARY: dict[str, list[str]] = json.loads((DATA / "search_words.json").read_text("utf-8"))
_WORDS, _GLUE, _ODD = (_VOCABULARY[name] for name in ("words", "glue", "odd"))


def texts(num: int = NUM_TEXTS, seed: int = 15) -> list[str]:
    """Turns of conversations, one in four with something odd in it. Deterministic."""
    chance = random.Random(seed)
    return [_text(chance) for _ in range(num)]


def _text(chance: random.Random) -> str:
    words = []
    odd = chance.random() < 0.25
    for _ in range(chance.randint(2, 30)):
        kind = chance.random()
        words.append(chance.choice(_ODD if odd and kind < 0.2 else _GLUE if kind < 0.55 else _WORDS))
        words[-1] += chance.choice([""] * 12 + [",", ".", "?", ";"])
    text = " ".join(words)
    return text[0].upper() + text[1:] + chance.choice([".", "?", "!", ""])


def queries(seed: int = 16) -> list[str]:
    """Ordinary queries, as cut from texts or put together, and odd ones."""
    chance = random.Random(seed)
    known = texts()
    found = [*_VOCABULARY["queries"]]
    found += [" ".join(chance.sample(_WORDS, chance.choice([1, 1, 2, 2, 3]))) for _ in range(60)]
    joints = ["-", "or ", "OR ", "-"]
    found += [f"{chance.choice(_WORDS)} {chance.choice(joints)}{chance.choice(_WORDS)}" for _ in range(40)]
    for _ in range(40):
        words = chance.choice(known).split()
        start = chance.randrange(len(words))
        cut = " ".join(words[start : start + chance.randint(2, 4)])
        found.append(f'"{cut}"' if chance.random() < 0.7 else cut)
    pieces = [*_WORDS, *_ODD, *_GLUE, '"', '"', "-", "or", "or", "(", ")", ":", "|"]
    gaps = ["", " "]
    found += [chance.choice(gaps).join(chance.choices(pieces, k=chance.randint(2, 5))) for _ in range(60)]
    return list(dict.fromkeys(found))


def odd_runs(num: int = 400, seed: int = 17) -> list[str]:
    """Strings that are hard to tokenise."""
    chance = random.Random(seed)
    words = _VOCABULARY["runs"]
    marks = [*"...--__//@:+,&#~ ", "://", "..", "<", ">", "<b>", "</b>", "&amp;", "’", "\u00a0", "?"]
    found: set[str] = set()
    while len(found) < num:
        found.add("".join(chance.choice(words) + chance.choice(marks) for _ in range(chance.randint(1, 4))).rstrip())
    return sorted(found)


def to_ranges(ids: Sequence[int]) -> str:
    """``[1, 2, 3, 7]`` as ``"1-3 7"``."""
    runs = [[i for _, i in run] for _, run in groupby(enumerate(sorted(ids)), lambda pair: pair[1] - pair[0])]
    return " ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def postgres_folder() -> Path | None:
    """Where PostgreSQL 15's programs are; None if they are not installed."""
    folders = [Path(found).resolve().parent for name in ("postgres", "initdb") if (found := shutil.which(name))]
    for folder in (*folders, Path("/usr/lib/postgresql/15/bin")):
        server = folder / "postgres"
        if server.exists() and (folder / "initdb").exists():
            version = subprocess.run([server, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
            if f" {VERSION}" in version:
                return folder
    return None


@contextmanager
def postgres(folder: Path) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A temporary server, on a socket in ``folder``'s own temporary folder, as a user that is not root."""
    owner = pwd.getpwuid(os.geteuid()) if os.geteuid() else pwd.getpwnam("nobody")
    identity = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if not os.geteuid() else {}
    home = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        os.chown(home, owner.pw_uid, owner.pw_gid)
        init = [
            folder / "initdb",
            "-D",
            home / "data",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "-A",
            "trust",
            "-U",
            "oracle",
            "-N",
        ]
        subprocess.run(init, check=True, capture_output=True, timeout=60, cwd=home, **identity)  # type: ignore[call-overload]
        options = f"-c listen_addresses= -c unix_socket_directories={home} -c fsync=off -c client_min_messages=error"
        control = [folder / "pg_ctl", "-D", home / "data", "-w", "-t", "60"]
        start = [*control, "-l", home / "log", "-o", options, "start"]
        subprocess.run(start, check=True, stdout=subprocess.DEVNULL, timeout=70, cwd=home, **identity)  # type: ignore[call-overload]
        try:
            with psycopg.connect(host=str(home), user="oracle", dbname="postgres", autocommit=True) as connection:
                yield connection
        finally:
            stop = [*control, "-m", "immediate", "stop"]
            subprocess.run(stop, check=True, capture_output=True, timeout=70, cwd=home, **identity)  # type: ignore[call-overload]
    finally:
        shutil.rmtree(home)


def postgres_ids(connection: psycopg.Connection[tuple[object, ...]]) -> dict[str, str]:
    """For each of ``queries`` the texts, by number, that PostgreSQL finds, as ranges."""
    connection.execute("create temp table turns (id int primary key, tsv tsvector)")
    with connection.cursor() as cursor:
        cursor.executemany("insert into turns values (%s, to_tsvector('english', %s))", list(enumerate(texts())))
    sql = "select id from turns where tsv @@ websearch_to_tsquery('english', %s)"
    return {query: to_ranges([int(str(row[0])) for row in connection.execute(sql, (query,))]) for query in queries()}


def postgres_lexemes(connection: psycopg.Connection[tuple[object, ...]], of: Sequence[str]) -> dict[str, dict[str, str]]:
    """For each text PostgreSQL's lexemes by position."""
    sql = "select position, lexeme from unnest(to_tsvector('english', %s)), unnest(positions) position order by 1"
    return {text: {str(row[0]): str(row[1]) for row in connection.execute(sql, (text,))} for text in of}


def _write(name: str, value: object) -> None:
    (DATA / name).write_text(json.dumps(value, ensure_ascii=False, indent=0) + "\n", "utf-8")


if __name__ == "__main__":
    programs = postgres_folder()
    if programs is None:
        raise SystemExit("PostgreSQL 15 is not installed: apt-get install postgresql-15")
    with postgres(programs) as server:
        _write("search_queries.json", postgres_ids(server))
        _write("search_tokens.json", postgres_lexemes(server, odd_runs()))
