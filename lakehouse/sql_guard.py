"""Checks SQL queries on the parsed statement: the kind of statement, the tables and the functions.

The parser is sqlparser, the one of Polars' SQL, with the same dialect. So quotes, comments and calls are recognised exactly
as Polars does. Everything that is not on a list of this module is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

from schemas.errors import InvalidParameter

FUNCTIONS: Final = frozenset(
    """
    abs acos acosd asin asind atan atan2 atan2d atand cbrt ceil ceiling cos cosd cot cotd degrees div exp floor ln log log10
    log1p log2 mod pi pow power radians round sign sin sind sqrt tan tand truncate trunc
    bit_and bit_count bit_or bit_xor bitand bitor bitxor greatest least
    bit_length char_length character_length concat concat_ws date ends_with initcap left length lower lpad ltrim
    normalize octet_length regexp_like regexp_replace replace reverse right rpad rtrim split_part starts_with
    string_to_array strpos strptime strftime substr substring timestamp translate trim upper
    coalesce if ifnull nullif nvl case cast try_cast
    current_date current_time current_timestamp now localtime localtimestamp date_part date_trunc extract
    year quarter month week day dayofmonth dayofweek dayofyear hour minute second epoch
    any_value approx_count_distinct approx_quantile avg corr count count_if covar covar_pop covar_samp first first_value
    group_concat last last_value lag lead max median min nth_value ntile quantile_cont quantile_disc stddev stddev_pop
    stddev_samp stdev stdev_samp string_agg sum total var var_pop var_samp variance
    cume_dist dense_rank percent_rank rank row_number grouping grouping_id columns
    array_agg array_contains array_get array_length array_lower array_mean array_reverse array_sum array_to_string
    array_unique array_upper explode unnest struct
    """.split()  # noqa: SIM905 - a list of words reads better than 150 quoted strings
)
"""Functions of Polars' SQL that compute a value from values. None of them reads a file or generates rows."""

_BODIES: Final = frozenset({"Select", "Query", "SetOperation", "Values"})
_RELATIONS: Final = frozenset({"Table", "Derived", "NestedJoin", "UNNEST"})
_PLAIN_TABLE: Final = ("args", "version", "json_path", "sample")
"""Syntax after a table's name that is refused: arguments would make it a function."""


def check_query(sql: str, tables: Collection[str], param: str = "query") -> set[str]:
    """The tables that one SELECT names. Raises InvalidParameter(param) for anything but a query over ``tables``."""
    query = _query(sql, param)
    _check_kinds(query, param)
    return _named_tables(query, tables, param)


def check_condition(name: str, condition: str, param: str = "where") -> str:
    """The SELECT of the rows of table ``name`` for which a condition holds. Raises InvalidParameter(param).

    The condition must be one expression: with it, the statement differs from the one without in its WHERE alone.
    """
    # The condition is on separate lines, because it may end with a comment.
    sql = f"SELECT * FROM {name} WHERE (\n{condition}\n)"  # noqa: S608 - what it holds is checked below
    query = _query(sql, param)
    _check_kinds(query, param)
    _named_tables(query, (name,), param)
    if _without_condition(query) != _without_condition(_query(f"SELECT * FROM {name} WHERE (1)", param)):  # noqa: S608
        raise InvalidParameter("give one condition, as it would follow WHERE", param=param)
    return sql


def _query(sql: str, param: str) -> dict[str, Any]:
    """The only query of the text."""
    from sqloxide import parse_sql

    try:
        statements = parse_sql(sql=sql, dialect="generic")
    except ValueError as error:
        text = str(error).rpartition("ParserError(")[2].strip('")') or "the SQL cannot be read"
        raise InvalidParameter(f"{text[:200]}; only queries are answered: begin with SELECT or WITH", param=param) from None
    if len(statements) != 1 or "Query" not in statements[0]:
        raise InvalidParameter("only queries are answered, one at a time: begin with SELECT or WITH", param=param)
    query: dict[str, Any] = statements[0]["Query"]
    return query


def _check_kinds(query: Any, param: str) -> None:
    for name, value in _fields(query):
        if name == "body" and not _is_one_of(value, _BODIES):
            raise InvalidParameter("only queries are answered, not changes", param=param)
        if name == "SetOperation" and not all(_is_one_of(value[side], _BODIES) for side in ("left", "right")):
            raise InvalidParameter("only queries are answered, not changes", param=param)
        if name == "into" and value:
            raise InvalidParameter("SELECT INTO would make a table; only queries are answered", param=param)
        if name == "relation" and not _is_one_of(value, _RELATIONS):
            raise InvalidParameter("only tables and subqueries can stand behind FROM and JOIN", param=param)
        if name == "relation" and "Table" in value and any(value["Table"][key] is not None for key in _PLAIN_TABLE):
            called = _dotted(value["Table"]["name"])
            raise InvalidParameter(f"{called} is not a plain table; functions and versions cannot be read", param=param)
        if name == "Function" and _dotted(value["name"]).lower() not in FUNCTIONS:
            raise InvalidParameter(f"{_dotted(value['name'])}() is no function that can be used here", param=param)


def _named_tables(query: Any, tables: Collection[str], param: str) -> set[str]:
    named = {_dotted(value["Table"]["name"]) for name, value in _fields(query) if name == "relation" and "Table" in value}
    defined = {value["alias"]["name"]["value"] for name, found in _fields(query) if name == "cte_tables" for value in found}
    unknown = sorted(named - defined - set(tables))
    if unknown:
        raise InvalidParameter(
            f"table {unknown[0]!r} was not found; tables: {', '.join(tables)}",
            param=param,
        )
    return named & set(tables)


def _fields(node: Any) -> Iterator[tuple[str, Any]]:
    """Every (name, value) of the parsed statement, at any depth."""
    waiting = [node]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield from found.items()
            waiting.extend(found.values())
        elif isinstance(found, list):
            waiting.extend(found)


def _is_one_of(node: Any, kinds: Collection[str]) -> bool:
    return isinstance(node, dict) and len(node) == 1 and next(iter(node)) in kinds


def _dotted(name: list[dict[str, Any]]) -> str:
    return ".".join(str(part.get("Identifier", {}).get("value", "?")) for part in name)


def _without_condition(query: dict[str, Any]) -> Any:
    """The query with only the kind of its condition, which in our own statement is the expression in parentheses."""
    select = dict(query["body"].get("Select") or {})
    if isinstance(select.get("selection"), dict):
        select["selection"] = list(select["selection"])
    return _without_places({**query, "body": select or query["body"]})


def _without_places(node: Any) -> Any:
    """The node without positions in the text."""
    if isinstance(node, dict):
        return {key: _without_places(value) for key, value in node.items() if key not in ("span", "select_token")}
    if isinstance(node, list):
        return [_without_places(part) for part in node]
    return node
