"""What one trade of a message is: ignored, without price, invalid, or a candidate for the candles.

The rules are those that look at the trade alone. What depends on the other trades of its partition (future, late,
duplicate) is judged in oracle.py.
"""

import functools
import re
from typing import NamedTuple

from message_text import INTEGER, NUMBER, Number, fields_by_tag, is_object, is_text, pair_info_by_tag

INT_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1
PLACES = 12  # Amounts are counted in units of 1e-12.
CHAIN_OF_NAME = {"sol": 100000, "eth": 1, "bsc": 56, "base": 8453}

_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]*")
_DECIMAL_PARTS = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?)([0-9]+))?")
_PLAIN_DECIMAL = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,12}))?")
_CHAIN_DIGITS = re.compile(r"0|[1-9][0-9]*")


class Invalid(Exception):
    """The trade goes to the dead letters; the message says which field and why."""


class Candidate(NamedTuple):
    """A well-formed buy or sell with a price. Amounts in units of 1e-12."""

    identity: tuple
    chain: int
    pair: str
    block_time: int
    height: int  # slot, or block_num where there is no slot
    transaction_index: int
    log_index: int
    is_buy: bool
    price: float
    token_amount: int
    total_usd: int
    market_cap: float
    pump_point: float
    token_addr: str
    clamped: bool


# ---- Values of fields ------------------------------------------------------------------------------------------------


def number_text(name, value):
    """The number as it was sent, without quotes."""
    if type(value) is Number:
        return str(value)
    if type(value) is str and NUMBER.fullmatch(value):
        return value
    raise Invalid(f"{name} is no number")


def integer(name, value, largest):
    text = number_text(name, value)
    if not INTEGER.fullmatch(text):
        raise Invalid(f"{name} is no plain integer")
    if text == "-0":
        return 0
    if text[0] == "-" or len(text) > 19:
        raise Invalid(f"{name} is out of range")
    number = int(text)
    if number > largest:
        raise Invalid(f"{name} is out of range")
    return number


def double(name, value):
    """The nearest double; never infinite, and never -0."""
    number = float(number_text(name, value))
    if number in (float("inf"), float("-inf")):
        raise Invalid(f"{name} is out of range")
    return number + 0.0


def amount(name, value):
    """The decimal in units of 1e-12, rounded half-even; the limits hold for the exact value before rounding."""
    text = number_text(name, value)
    plain = _PLAIN_DECIMAL.fullmatch(text)
    if plain:
        return int(plain[1] + (plain[2] or "").ljust(PLACES, "0"))
    sign, whole, fraction, exponent_sign, exponent = _DECIMAL_PARTS.fullmatch(text).groups(default="")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return 0
    if sign:
        raise Invalid(f"{name} is negative")
    # The value is 0.digits * 10^scale, and the first digit is not 0. An exponent of more than 18 digits is further off
    # than any number of leading zeros or trailing digits that fits in a message could make up for.
    exponent = exponent.lstrip("0") or "0"
    power = int(exponent) if len(exponent) <= 18 else 10**18
    scale = len(digits) - len(fraction) + (-power if exponent_sign == "-" else power)
    if scale > 20:
        raise Invalid(f"{name} is 1e20 or more")
    return _round_half_even(digits, scale + PLACES)


def _round_half_even(digits, keep):
    """0.digits * 10^keep, as an integer. The first digit is not 0."""
    if keep < 0:
        return 0
    kept = int(digits[:keep].ljust(keep, "0") or "0")
    rest = digits[keep:].rstrip("0")
    above_half = rest > "5"  # As texts without trailing zeros: "5" is half, "49" is below, "51" and "6" are above.
    return kept + 1 if above_half or (rest == "5" and kept % 2 == 1) else kept


def text(name, value):
    if not is_text(value):
        raise Invalid(f"{name} is no string")
    return value


@functools.lru_cache(maxsize=1 << 16)
def _is_address(value):
    return len(value) <= 64 and _VISIBLE_ASCII.fullmatch(value) is not None


# ---- Fields ----------------------------------------------------------------------------------------------------------


def _needed(fields, name):
    value = fields.get(name)
    if value is None:
        raise Invalid(f"{name} is missing")
    return value


def _height(fields):
    slot = fields.get("slot")
    if slot is not None:
        number = integer("slot", slot, INT64_MAX)
        if number != 0:
            return number
    return integer("block_num", _needed(fields, "block_num"), INT64_MAX)


def _chain(fields, chains):
    chain = 0
    if fields.get("chain_id_int") is not None:
        chain = integer("chain_id_int", fields["chain_id_int"], INT_MAX)
    if chain == 0:
        name = text("chain_id", _needed(fields, "chain_id"))
        if name in CHAIN_OF_NAME:
            chain = CHAIN_OF_NAME[name]
        elif _CHAIN_DIGITS.fullmatch(name) and len(name) <= 10:
            chain = int(name)
        else:
            raise Invalid("chain_id is no chain")
    if chain not in chains:
        raise Invalid(f"chain {chain} is not one of {sorted(chains)}")
    return chain


def _pair(fields):
    pair = text("pair_addr", _needed(fields, "pair_addr"))
    if not pair or not _is_address(pair):
        raise Invalid("pair_addr is not 1..64 printable ASCII characters")
    return pair


def _transaction(fields):
    if fields.get("tx_hash") is not None:
        tx_hash = text("tx_hash", fields["tx_hash"])
        if tx_hash:
            return tx_hash
    hash_id = text("hash_id", _needed(fields, "hash_id"))
    if not hash_id:
        raise Invalid("tx_hash and hash_id are empty")
    return hash_id


def _index(fields, name):
    value = fields.get(name)
    return 0 if value is None else integer(name, value, INT_MAX)


def _optional_double(fields, name):
    value = fields.get(name)
    return 0.0 if value is None else double(name, value)


def _market_cap(fields):
    market_cap = 0.0
    for name in ("mcap", "fdv"):
        market_cap = _optional_double(fields, name)
        if market_cap < 0:
            raise Invalid(f"{name} is negative")
        if market_cap > 0:
            break
    return market_cap


def _token_addr(fields):
    pair_info = fields.get("pair_info")
    if pair_info is None:
        return ""
    if not is_object(pair_info):
        raise Invalid("pair_info is no object")
    value = pair_info_by_tag(pair_info).get("token_addr")
    token_addr = "" if value is None else text("token_addr", value)
    if not _is_address(token_addr):
        raise Invalid("token_addr is not 0..64 printable ASCII characters")
    return token_addr


def _clamped(fields):
    clamp = fields.get("clamp")
    if clamp is None or clamp is False:
        return False
    if clamp is True:
        return True
    raise Invalid("clamp is no bool")


def read_trade(value, chains):
    """One trade: a Candidate, or "ignored" or "no_price". Raises Invalid, and NeedsCare as fields_by_tag does."""
    if not is_object(value):
        raise Invalid("not an object")
    fields = fields_by_tag(value)

    kind = text("type", _needed(fields, "type"))
    if kind not in ("buy", "sell"):
        return "ignored"

    price_value = fields.get("token_price_usd")
    price = 0.0 if price_value is None else double("token_price_usd", price_value)
    if price == 0:
        return "no_price"
    if price < 0:
        raise Invalid("token_price_usd is negative")

    chain, pair = _chain(fields, chains), _pair(fields)
    transaction_index, log_index = _index(fields, "transaction_index"), _index(fields, "log_index")
    token_amount_value, base_amount_value = _needed(fields, "token_amount"), fields.get("base_token_amount")
    token_amount = amount("token_amount", token_amount_value)
    base_amount_text = ""
    if base_amount_value is not None:
        amount("base_token_amount", base_amount_value)
        base_amount_text = str(base_amount_value)
    identity = (chain, pair, _transaction(fields), transaction_index, log_index, kind, str(token_amount_value),
                base_amount_text, str(price_value))
    return Candidate(
        identity, chain, pair,
        block_time=integer("block_time", _needed(fields, "block_time"), INT64_MAX),
        height=_height(fields), transaction_index=transaction_index, log_index=log_index,
        is_buy=kind == "buy", price=price, token_amount=token_amount,
        total_usd=amount("total_usd", _needed(fields, "total_usd")),
        market_cap=_market_cap(fields), pump_point=_optional_double(fields, "pump_point"),
        token_addr=_token_addr(fields), clamped=_clamped(fields))
