"""Batches that are nearly right, for differential.py: the same for the same seed and number.

Most of them are JSON, so that the rules behind the structure are reached: trades of the generator and of the dirty
cases, with values replaced by hard ones, keys respelt, doubled, moved and dropped. A part is mangled byte by byte.
"""

import decimal
import math
import random
import re
from typing import NamedTuple

from dirty_cases import (BAD_NUMBERS, GO_NAMES, HUGE, LONG_FRACTION, NO_OBJECTS, TRADE_CASES, broken_messages, changed,
                         odd_messages, text_of)
from generate import Market
from trade_rules import INT64_MAX, INT_MAX

RECORD_TIME = 1_700_000_000
MAX_FUTURE = 600
_POOL_SECONDS = 16  # The trades of the pool are of so many seconds, from RECORD_TIME on.
# Of records: by the third and fourth, half of the pool's trades are future; by the fifth all; by the last, which is
# none, only those of after the year 9999.
STAMPS = (RECORD_TIME * 1000, RECORD_TIME * 1000 + 999, (RECORD_TIME + _POOL_SECONDS // 2 - MAX_FUTURE) * 1000,
          (RECORD_TIME + _POOL_SECONDS // 2 - MAX_FUTURE) * 1000 - 1, 0, -1)
_STAMP_WEIGHTS = (10, 2, 1, 1, 1, 4)

_DEEP = "[" * 300 + "]" * 300
NUMBERS = (
    *BAD_NUMBERS, "0", "-0", "-0.0", "0e5", "0.0e-99999", "1", "-1", "1e400", "-1e400", "1e-400", "-1e-400", "1e308",
    "1.7976931348623157e308", "1.7976931348623158e308", "1.7976931348623159e308", "5e-324", "2.4703282292062327e-324",
    "2.4703282292062328e-324", "2.2250738585072011e-308", "9007199254740993", "0.1", "1E+2", "1e+02", "1.0E-2", "1e20",
    "1e19", "99999999999999999999", "99999999999999999999.9999999999999", "100000000000000000000.0",
    "0.00000000000000000001e40", str(INT_MAX), str(INT_MAX + 1), str(-INT_MAX - 1), str(INT64_MAX), str(INT64_MAX + 1),
    str(2**64), str(2**32), "1.0", "1e0", "00", "-00", "0.", "5e-13", "0.5e-12", "1.5e-12", "2.5e-12", "1.50000e-12",
    "0.00000000000050000000000001", HUGE, LONG_FRACTION, f"1e{HUGE}", f"1e-{HUGE}", "1e-2147483649", "1e9999999999",
    "56", "8453", "100000", "2", "\u00b2", "1\u00a0", "1\0", "1\x0c", "1\x1a", "1\x7f")
TIMES = tuple(str(time) for time in (
    RECORD_TIME, RECORD_TIME + MAX_FUTURE - 1, RECORD_TIME + MAX_FUTURE, RECORD_TIME + MAX_FUTURE + 1, 0, 1,
    253402300799, 253402300800, 9223372036854775, 9223372036854776, INT64_MAX, INT64_MAX + 1))
TEXTS = (
    '""', '"a"', '"buy"', '"sell"', '"Buy"', '"b\\u0075y"', '"sol"', '"eth"', '"bsc"', '"base"', '"SOL"', '"1"',
    '"056"',
    '"\\u0000"', '"\\ud800"', '"\\udc00"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\ud83d"', '"\\uD83D\\uDE00x"',
    '"%s"' % ("p" * 64), '"%s"' % ("p" * 65), '"%s"' % ("p" * 63 + "\\u0070"), '"%s"' % ("p" * 63 + "\u00e9"), '" a"',
    '"a b"', '"~"', '"!"', '"\\u007f"', '"\\u007e"', '"\\u0020"', '"\u00e9"', '"\\/\\b\\f\\n\\r\\t\\\\\\""',
    '"\U0001f600"', '"\uffff"', '"\\uffff"', '"\ufeff"', '"null"', '"true"', '"["', '"}"', '"a\\\\"', '"\\\\\\""',
    '"\x7f"', "'a'", '"\\x"', '"\\u12"', '"\x01"', '"\t"')
OTHERS = ("null", "true", "false", "nul", "True", "nulll", "{}", "[]", "[null]", '[{"a": 1}]', '{"type": "buy"}', _DEEP,
          '{"a":' * 200 + "1" + "}" * 200, "undefined", "-", "\ufeff1", "// 1", "\x0c", "\x1a1")
_TEXT_FIELDS = ("pair_addr", "tx_hash", "hash_id", "type", "chain_id")
_IDENTITY_FIELDS = ("token_amount", "base_token_amount", "token_price_usd", "tx_hash", "hash_id", "transaction_index",
                    "log_index", "type", "chain_id_int", "pair_addr", "total_usd", "maker", "create_time")
_USED = ("slot", "block_num", "transaction_index", "log_index", "block_time", "chain_id_int", "chain_id", "pair_addr",
         "tx_hash", "hash_id", "type", "token_amount", "base_token_amount", "token_price_usd", "total_usd", "mcap",
         "fdv", "pump_point", "clamp", "pair_info")
_TAG_OF_GO_NAME = {go_name: tag for tag, go_name in GO_NAMES.items()}
_ODD_BYTES = (b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"\n", b"\0", b"\x0c", b"\x1a", b"\x7f", b"\x80",
              b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xf0\x9f\x98\x80", b"\xe2\x82", b"\xc0\x80",
              b"0", b"-", b".", b"e", b"null", b"\\u0000", b"\\ud800", b'"a":1,', b"},{", b"1e400", b"//", b"\\\"")


class Batch(NamedTuple):
    value: bytes
    timestamp_ms: int


def _pool():
    market = Market(1)
    trades = [market.trade(7, RECORD_TIME + second, swap_name=None) for second in range(_POOL_SECONDS)]
    # Most have few of the fields that nobody uses, for speed.
    return [trade if number % 8 == 0 else [member for member in trade if not member[0].startswith('"unused_1')
                                           and not member[0].startswith('"unused_2')]
            for number, trade in enumerate(trades)]


_POOL = _pool()
_BRIEF_CASES = tuple(case for case in TRADE_CASES if len(text_of(case(_POOL[1]))) < 20_000)  # The others are slow.
_POOL_TEXTS = [text_of(trade) for trade in _POOL[1:3]]
_MESSAGES = (*broken_messages(_POOL_TEXTS), *odd_messages(_POOL_TEXTS))


# ---- Values ----------------------------------------------------------------------------------------------------------


def _between_doubles(chance):
    """The exact middle of two neighbouring doubles, or a digit beside it: the hardest to round."""
    one = math.ldexp(chance.uniform(1, 2), chance.randrange(-60, 60))
    with decimal.localcontext(decimal.Context(prec=400)):
        text = f"{(decimal.Decimal(one) + decimal.Decimal(math.nextafter(one, math.inf))) / 2:f}"
    return text + chance.choice(("", "", "0", "1", "000000000000000000001"))


def _between_units(chance):
    """An amount at or beside the half of its last place."""
    whole = chance.choice(("0", str(chance.randrange(1000)), str(chance.randrange(10**20))))
    return f"{whole}.{chance.randrange(10**12):012}{chance.choice(('5', '50', '4999', '500001', '51', '6', '4'))}"


def _any_number(chance):
    sign = "-" if chance.random() < 0.1 else ""
    whole = str(chance.randrange(10 ** chance.randrange(1, 23)))
    fraction = "." + "".join(chance.choices("0123456789", k=chance.randrange(1, 25))) if chance.random() < 0.6 else ""
    exponent = ""
    if chance.random() < 0.4:
        exponent = chance.choice("eE") + chance.choice(("", "+", "-")) + str(chance.randrange(chance.choice((30, 400))))
    return sign + whole + fraction + exponent


def _number(chance):
    text = chance.choice((_between_doubles, _between_units, _any_number))(chance)
    return f'"{text}"' if chance.random() < 0.4 else text


def _pair_info(chance):
    members = []
    for _ in range(chance.randrange(4)):
        key = chance.choice(("token_addr", "TokenAddr", "token\\u005faddr", "tokenAddr", "other", "\\ud800"))
        value = chance.choice(TEXTS if chance.random() < 0.6 else OTHERS + NUMBERS)
        members.append(f'"{key}": {value}')
    return "{" + ", ".join(members) + "}"


def _hard_value(chance, tag):
    luck = chance.random()
    if luck < 0.15:
        return chance.choice(NUMBERS + TEXTS + OTHERS)
    if tag == "pair_info":
        return _pair_info(chance)
    if tag == "clamp":
        return chance.choice(OTHERS)
    if luck < 0.2:
        return '"' + chance.choice(("", "p")) + "\\" * chance.randrange(1, 70) + '"'
    if tag in _TEXT_FIELDS:
        return chance.choice(TEXTS)
    if tag == "block_time" and luck < 0.5:
        return chance.choice(TIMES)
    if luck < 0.55:
        return _number(chance)
    value = chance.choice(NUMBERS)
    return f'"{value}"' if chance.random() < 0.3 and not value.startswith('"') else value


# ---- Trades ----------------------------------------------------------------------------------------------------------


def _tag(key):
    return _TAG_OF_GO_NAME.get(key[1:-1], key[1:-1])


def _place(chance, trade):
    """The index of one member, mostly of a field that matters."""
    used = [index for index, (key, _) in enumerate(trade) if _tag(key) in _USED]
    return chance.choice(used) if used and chance.random() < 0.85 else chance.randrange(len(trade))


def _respelt(chance, key):
    tag = _tag(key)
    luck = chance.random()
    if luck < 0.5:
        return f'"{GO_NAMES.get(tag, tag) if key[1:-1] == tag else tag}"'
    if luck < 0.8 and len(key) > 2 and "\\" not in key:
        at = chance.randrange(1, len(key) - 1)
        return f"{key[:at]}\\u{ord(key[at]):04{chance.choice('xX')}}{key[at + 1:]}"
    return chance.choice((key.upper(), key.title(), key[:-1] + ' "', key[:-1] + '\\ud800"', '""',
                          f'"{GO_NAMES.get(tag, tag)}"'))


def _tweaked(chance, value):
    at = chance.randrange(len(value) + 1)
    luck = chance.random()
    letter = chance.choice('0123456789.eE+-" \\u_x')
    if luck < 0.4:
        return value[:at] + letter + value[at:]
    return value[:at] + (letter if luck < 0.8 else "") + value[at + 1:]


def _escaped(chance, value):
    """A string with one of its letters written as an escape."""
    if not re.fullmatch(r'"[^"\\]+"', value):
        return value
    at = chance.randrange(1, len(value) - 1)
    units = value[at].encode("utf-16-be", "surrogatepass").hex()
    return value[:at] + "".join(f"\\u{units[i:i + 4]}" for i in range(0, len(units), 4)) + value[at + 1:]


def _requoted(value):
    return value[1:-1] if value.startswith('"') else f'"{value}"'


def _mutate(chance, trade):
    """Changes one thing about a trade, in place."""
    if not trade:
        trade.append(('"type"', '"buy"'))
    at = _place(chance, trade)
    key, value = trade[at]
    luck = chance.random()
    if luck < 0.42:
        trade[at] = (key, _hard_value(chance, _tag(key)))
    elif luck < 0.50:
        trade[at] = (key, _tweaked(chance, value))
    elif luck < 0.54:
        trade[at] = (key, chance.choice((_requoted(value), _escaped(chance, value),
                                         _escaped(chance, _requoted(value)))))
    elif luck < 0.60:
        trade[at] = (_respelt(chance, key), value)
    elif luck < 0.65:
        del trade[at]
    elif luck < 0.68:
        trade[:] = changed(trade, block_time=chance.choice(TIMES))
    elif luck < 0.78:  # A second time, before or behind, in either spelling.
        again = _respelt(chance, key) if chance.random() < 0.5 else key
        trade.insert(chance.choice((0, at, at + 1, len(trade))), (again, _hard_value(chance, _tag(key))))
    elif luck < 0.86:  # A field that the generator's trades have not, or not in this place.
        tag = chance.choice(_USED)
        name = GO_NAMES[tag] if chance.random() < 0.4 else tag
        trade.insert(chance.randrange(len(trade) + 1), (f'"{name}"', _hard_value(chance, tag)))
    elif luck < 0.92:  # One that stands in for another: gone, or 0, or empty.
        first, second = chance.choice((("slot", "block_num"), ("chain_id_int", "chain_id"), ("tx_hash", "hash_id"),
                                       ("mcap", "fdv")))
        trade[:] = [member for member in trade if _tag(member[0]) not in (first, second)]
        trade.append((f'"{second}"', _hard_value(chance, second)))
        trade.insert(0, (f'"{first}"', chance.choice(("0", '""', "null", '"0"', "-0", _hard_value(chance, first)))))
    elif luck < 0.96:
        other = _place(chance, trade)
        trade[at], trade[other] = (key, trade[other][1]), (trade[other][0], value)
    else:
        chance.shuffle(trade)


def _near_copy(chance, trade):
    """The same trade, or one that differs in one text: only the identity tells them apart."""
    copy = list(trade)
    if chance.random() < 0.3:
        copy = [(key if chance.random() < 0.5 else f'"{GO_NAMES.get(_tag(key), _tag(key))}"', value)
                for key, value in copy]
    places = [index for index, (key, _) in enumerate(copy) if _tag(key) in _IDENTITY_FIELDS]
    if not places or chance.random() < 0.3:
        return copy
    at = chance.choice(places)
    key, value = copy[at]
    inner = value.strip('"')
    copy[at] = (key, chance.choice((
        _requoted(value), value.replace(inner, inner + "0") if "." in inner else value,
        value.replace(inner, inner + "e0"), '"sell"' if _tag(key) == "type" else "1",
        '"\\u0074x"' if "tx_" in key else "null", value.replace("t", "\\u0074"),
        value.replace(inner, inner.swapcase()))))
    return copy


def _elements(chance):
    trades = []
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4))):
        if trades and chance.random() < 0.3:
            trades.append(_near_copy(chance, chance.choice(trades)))
            continue
        trade = list(chance.choice(_POOL))
        if chance.random() < 0.2:
            made = chance.choice(_BRIEF_CASES)(trade)
            if isinstance(made, str):
                return [made]
            trade = list(made)
        for _ in range(chance.choice((0, 0, 1, 1, 1, 2, 3))):
            _mutate(chance, trade)
        trades.append(trade)
    elements = [_written(chance, trade) for trade in trades]
    if chance.random() < 0.06:
        elements.insert(chance.randrange(len(elements) + 1), chance.choice(NO_OBJECTS + OTHERS + TEXTS))
    return elements


def _written(chance, trade):
    text = text_of(trade)
    if chance.random() < 0.1:
        blank = chance.choice(("\n", "\t ", "\r\n", "  ", "", "\x0b", "\u00a0"))
        text = text.replace(chance.choice((", ", ": ")), chance.choice((f"{blank},", f",{blank}", f"{blank}:{blank}")))
    return text


# ---- Bytes -----------------------------------------------------------------------------------------------------------


def _mangle(chance, value):
    """Changes some bytes, at one place."""
    at = chance.randrange(len(value) + 1)
    end = min(len(value), at + chance.choice((1, 1, 1, 2, 4, 16, 200)))
    luck = chance.randrange(8)
    if luck == 0 and at < len(value):
        return value[:at] + bytes((value[at] ^ 1 << chance.randrange(8),)) + value[at + 1:]
    if luck in (1, 2):
        return value[:at] + chance.choice(_ODD_BYTES) + value[at:]
    if luck == 3:
        return value[:at] + chance.choice(_ODD_BYTES) + value[end:]
    if luck == 4:
        return value[:at] + value[end:]
    if luck == 5:
        return value[:end] + value[at:]
    if luck == 6:
        return value[:at] if chance.random() < 0.3 else value[:at] + bytes((chance.randrange(256),)) + value[end:]
    other = chance.choice(_MESSAGES)
    cut = chance.randrange(len(other) + 1)
    return value[:at] + other[cut:cut + chance.choice((3, 30, 300))] + value[end:]


def _mangle_inside(chance, value):
    """Changes a byte in a bare value or a string: mostly the structure stays."""
    places = [match.start() for match in re.finditer(rb"[0-9A-Za-z]", value)]
    if not places:
        return _mangle(chance, value)
    at = chance.choice(places)
    return value[:at] + chance.choice(_ODD_BYTES[10:30]) + value[at + chance.randrange(2):]


def batch(seed, number):
    chance = random.Random(f"{seed}/{number}")
    luck = chance.random()
    if luck < 0.04:
        value = chance.choice(_MESSAGES)
    elif luck < 0.0402:  # More than the decoder lists at once.
        many = ["5"] * chance.randrange(19_990, 20_010)
        value = ("[" + ",".join(_elements(chance) + many + _elements(chance)) + "]").encode()
    else:
        value = ("[" + ", ".join(_elements(chance)) + "]").encode("utf-8", "surrogatepass")
    luck = chance.random()
    if luck < 0.12:
        for _ in range(chance.choice((1, 1, 2, 4))):
            value = _mangle(chance, value)
    elif luck < 0.22:
        value = _mangle_inside(chance, value)
    elif luck < 0.24:
        value = chance.choice((b"\xef\xbb\xbf" + value, b" \n" + value + b"\r\n\t ", value + b"\0",
                               b"[" + value + b"]", value[1:], value[1:-1], value + value,
                               b'{"a":' + value + b"}", value.replace(b'"', b"'")))
    return Batch(value, chance.choices(STAMPS, _STAMP_WEIGHTS)[0])
