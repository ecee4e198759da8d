"""The text of a message: which values its JSON holds, and where each trade's own bytes stand.

A message has the structure of RFC 8259 in UTF-8: brackets, commas, colons and strings are judged everywhere, scalars
(numbers, true, false, null) are judged only where somebody uses them. So `[{"a": nul}]` is a message of one object
whose value of "a" is MALFORMED, while `[{"a": 1,}]` is no message at all.

Two readers give the same answer. `read_quickly` is json.loads, which knows nothing of malformed scalars and of spans;
`read_carefully` is the definition. Where the quick one raises, the careful one decides.
"""

import json
import re
import sys


class BrokenStructure(Exception):
    """The bytes are not JSON in structure."""


class NeedsCare(Exception):
    """The quick reader cannot decide this message."""


class Number(str):
    """A JSON number, as its text: what was sent is never rounded on the way in."""

    __slots__ = ()


class _Malformed:
    def __repr__(self):
        return "MALFORMED"


MALFORMED = _Malformed()
_UNFINISHED = object()
ARRAY = object()  # Any array inside a trade: no field is one, so its contents never matter.

INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_BLANKS = re.compile(rb"[ \t\n\r]*")
_STRING = re.compile(rb'"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*"')
_SCALAR = re.compile(rb'[^ \t\n\r\[\]{},:"\\]+')
_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt]))')
_SHORT_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_SURROGATE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")

# A trade's spellings: the Go name of each field that the rules look at, and its tag.
TAG_OF_GO_NAME = {
    "Slot": "slot", "BlockNum": "block_num", "TransactionIndex": "transaction_index", "LogIndex": "log_index",
    "BlockTime": "block_time", "ChainIdInt": "chain_id_int", "ChainId": "chain_id", "PairAddr": "pair_addr",
    "TxHash": "tx_hash", "HashId": "hash_id", "Type": "type", "TokenAmount": "token_amount",
    "BaseTokenAmount": "base_token_amount", "TokenPriceUSD": "token_price_usd", "TotalUSD": "total_usd", "Mcap": "mcap",
    "Fdv": "fdv", "PumpPoint": "pump_point", "Clamp": "clamp", "PairInfo": "pair_info",
}
PAIR_INFO_TAG_OF_GO_NAME = {"TokenAddr": "token_addr"}
_GO_NAMES = frozenset(TAG_OF_GO_NAME)


class Fields(list):
    """The members of one object in the order in which they stand, as (key, value)."""

    __slots__ = ()

    def by_tag(self, tag_of_go_name):
        """The members as a dict; where a key stands twice, in whatever spelling, the last one counts."""
        return {tag_of_go_name.get(key, key): value for key, value in self}


# ---- The careful reader ----------------------------------------------------------------------------------------------


def _unescape(match):
    return chr(int(match[1], 16)) if match[1] else _SHORT_ESCAPES[match[2]]


def _join_surrogates(match):
    high, low = match[0]
    return chr(0x10000 + ((ord(high) - 0xD800) << 10) + (ord(low) - 0xDC00))


def _string_value(raw):
    """The text of a quoted string; a lone surrogate stays in it as such, and is_text() refuses it where it is used."""
    text = raw[1:-1].decode("utf-8")
    if "\\" not in text:
        return text
    return _SURROGATE_PAIR.sub(_join_surrogates, _ESCAPE.sub(_unescape, text))


def _scalar_value(raw):
    if raw in (b"true", b"false", b"null"):
        return {b"true": True, b"false": False, b"null": None}[raw]
    text = raw.decode("utf-8")
    return Number(text) if NUMBER.fullmatch(text) else MALFORMED


class _Walk:
    """One pass over a message, without recursion: nesting may be as deep as the message is long."""

    def __init__(self, raw):
        self.raw = raw
        self.at = 0
        self.open = []  # Of each bracket around the current position: the Fields of an object, None for an array.
        self.keys = []  # Of each object around the current position: the key whose value is being read.
        self.elements = []  # Of the outermost array: (value, begin, end).
        self.element_begin = 0

    def fail(self, expected):
        raise BrokenStructure(f"expected {expected} at byte {self.at}")

    def skip_blanks(self):
        self.at = _BLANKS.match(self.raw, self.at).end()

    def byte(self):
        return self.raw[self.at:self.at + 1]

    def take(self, pattern, expected):
        match = pattern.match(self.raw, self.at)
        if not match:
            self.fail(expected)
        self.at = match.end()
        return match[0]

    def take_key(self):
        self.keys.append(_string_value(self.take(_STRING, "a key")))
        self.skip_blanks()
        if self.byte() != b":":
            self.fail("':'")
        self.at += 1

    def take_value(self):
        """Reads a scalar or string whole; of a bracket that holds anything, up to its first value: _UNFINISHED."""
        self.skip_blanks()
        if len(self.open) == 1 and self.open[0] is None:
            self.element_begin = self.at
        byte = self.byte()
        if byte == b'"':
            return _string_value(self.take(_STRING, "a well-formed string"))
        if byte not in (b"{", b"["):
            return _scalar_value(self.take(_SCALAR, "a value"))
        self.at += 1
        self.skip_blanks()
        if self.byte() == (b"}" if byte == b"{" else b"]"):
            self.at += 1
            return Fields() if byte == b"{" else ARRAY
        self.open.append(Fields() if byte == b"{" else None)
        if byte == b"{":
            self.take_key()
        return _UNFINISHED

    def put(self, value):
        """Hands a value to the bracket around it, and closes brackets: the outermost value, or _UNFINISHED."""
        while self.open:
            around = self.open[-1]
            if around is not None:
                around.append((self.keys.pop(), value))
            elif len(self.open) == 1:
                self.elements.append((value, self.element_begin, self.at))
            self.skip_blanks()
            byte = self.byte()
            self.at += 1
            if byte == b",":
                self.skip_blanks()
                if around is not None:
                    self.take_key()
                return _UNFINISHED
            if byte != (b"]" if around is None else b"}"):
                self.at -= 1
                self.fail("',' or a closing bracket")
            self.open.pop()
            value = ARRAY if around is None else around
        return value

    def run(self):
        value = _UNFINISHED
        while value is _UNFINISHED:
            value = self.take_value()
            if value is not _UNFINISHED:
                value = self.put(value)
        self.skip_blanks()
        if self.at != len(self.raw):
            self.fail("the end of the message")
        return value


def read_carefully(raw):
    """The trades of a message as [(value, begin, end)], raw[begin:end] being the trade's own bytes.

    A value is Fields, str, Number, ARRAY, MALFORMED, bool or None. Raises BrokenStructure where the message is no JSON
    array.
    """
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BrokenStructure(f"not UTF-8 at byte {error.start}") from None
    walk = _Walk(raw)
    if walk.run() is not ARRAY:
        raise BrokenStructure("not an array")
    return walk.elements


# ---- The quick reader ------------------------------------------------------------------------------------------------


def _needs_care(_constant):
    raise NeedsCare


_quick = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=_needs_care)


def read_quickly(raw):
    """The trades of a message as a list of values, where an object is a dict. Raises NeedsCare where it cannot tell."""
    try:
        value = _quick.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise NeedsCare from None
    if type(value) is not list:
        raise NeedsCare
    return value


def fields_by_tag(trade):
    """The members of one trade of either reader, each under its tag. Raises NeedsCare where their order matters."""
    if type(trade) is Fields:
        fields = trade.by_tag(TAG_OF_GO_NAME)
    elif _GO_NAMES.isdisjoint(trade):
        fields = trade
    else:
        fields = _renamed(trade, TAG_OF_GO_NAME)
    return fields


def pair_info_by_tag(pair_info):
    if type(pair_info) is Fields:
        return pair_info.by_tag(PAIR_INFO_TAG_OF_GO_NAME)
    if "TokenAddr" not in pair_info:
        return pair_info
    return _renamed(pair_info, PAIR_INFO_TAG_OF_GO_NAME)


def _renamed(members, tag_of_go_name):
    """A dict does not know which of two spellings came last, so where both are there the careful reader decides."""
    renamed = {tag_of_go_name.get(key, key): value for key, value in members.items()}
    if len(renamed) != len(members):
        raise NeedsCare
    return renamed


def is_object(value):
    return type(value) in (dict, Fields)


def is_text(value):
    """A string, not a number, that is Unicode: a lone surrogate escape is none."""
    if type(value) is not str:
        return False
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


if sys.version_info < (3, 11):
    raise SystemExit("tests/oracle needs Python 3.11 or newer")
