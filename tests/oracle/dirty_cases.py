"""One bad, odd or borderline trade or message for each line of the contract's fine print.

A trade is a list of (raw key, raw value): both are JSON text, so that anything can stand there. What becomes of a case
is not written here: the recomputation says it, and test_oracle.py says it for the rules themselves.
"""

from trade_rules import INT64_MAX, INT_MAX

HUGE = "1" + "0123456789" * 40  # 401 digits
LONG_FRACTION = "0." + "0123456789" * 40
BAD_NUMBERS = ("NaN", '"NaN"', "Infinity", "-Infinity", "nul", "1.2.3", "01", "-01", "1.", ".5", "+1", "1e", "1e+",
               "--1",
               "0x10", '""', '" 1"', '"1 "', '"1_0"', '"1,5"', '"0x1"', "true", "[]", "{}", "[1]", '"one"', '"\\ud800"',
               '"\\u0661"', '"١"', "١")
GO_NAMES = {
    "slot": "Slot", "block_num": "BlockNum", "transaction_index": "TransactionIndex", "log_index": "LogIndex",
    "block_time": "BlockTime", "chain_id_int": "ChainIdInt", "chain_id": "ChainId", "pair_addr": "PairAddr",
    "tx_hash": "TxHash", "hash_id": "HashId", "maker": "Maker", "type": "Type", "token_amount": "TokenAmount",
    "base_token_amount": "BaseTokenAmount", "token_price_usd": "TokenPriceUSD",
    "base_token_price_usd": "BaseTokenPriceUSD", "total_usd": "TotalUSD", "mcap": "Mcap", "fdv": "Fdv",
    "pump_point": "PumpPoint", "clamp": "Clamp", "pair_info": "PairInfo", "swap_name": "SwapName",
    "create_time": "CreateTime",
}
NUMERIC = ("slot", "transaction_index", "log_index", "block_time", "chain_id_int", "token_amount", "base_token_amount",
           "token_price_usd", "base_token_price_usd", "total_usd", "mcap", "fdv", "pump_point")


def text_of(trade):
    return "{" + ", ".join(f"{key}: {value}" for key, value in trade) + "}"


def value_of(trade, name):
    return dict(trade)[f'"{name}"']


def changed(trade, **values):
    """The trade with some values replaced or added; None removes the field."""
    replaced = [(key, values.get(key.strip('"'), value)) for key, value in trade]
    names = {key for key, _ in trade}
    added = [(f'"{name}"', value) for name, value in values.items() if f'"{name}"' not in names]
    return [(key, value) for key, value in replaced + added if value is not None]


def renamed(trade, names):
    return [(f'"{names[key[1:-1]]}"' if key[1:-1] in names else key, value) for key, value in trade]


def _each(name, *values):
    return [lambda trade, value=value: changed(trade, **{name: value}) for value in values]


def _quoted(value):
    return value if value.startswith('"') else f'"{value}"'


def _spellings():
    halves = [dict(list(GO_NAMES.items())[::2]), dict(list(GO_NAMES.items())[1::2])]
    return [
        lambda trade: renamed(trade, GO_NAMES),
        *(lambda trade, half=half: renamed(trade, half) for half in halves),
        lambda trade: changed(trade, **{name: _quoted(value_of(trade, name)) for name in NUMERIC}),
        lambda trade: renamed(changed(trade, **{name: _quoted(value_of(trade, name)) for name in NUMERIC}), GO_NAMES),
        lambda trade: changed(trade, pair_info='{"TokenAddr": "GoSpelling"}'),
        lambda trade: renamed(changed(trade, pair_info='{"TokenAddr": "GoSpelling"}'), GO_NAMES),
        lambda trade: [("".join(('"', *(f"\\u{ord(letter):04x}" for letter in key[1:-1]), '"')), value)
                       for key, value in trade],
        lambda trade: [(key.replace("a", "\\u0061", 1).replace("_", "\\u005F", 1), value) for key, value in trade],
        lambda trade: [(key.upper(), value) for key, value in trade],  # No spelling: needed fields are missing.
        lambda trade: list(reversed(trade)),
    ]


def _types():
    return _each("type", '"buy"', '"sell"', '"add_position"', '"remove_position"', '"add"', '"remove"', '"create"',
                 '"token_mint"', '"Buy"', '"BUY"', '" buy"', '"buy "', '""', "null", None, "5", "true", "{}", "[]",
                 "buy", "NaN", '"b\\u0075y"', '"se\\u006Cl"', '"\\ud83d\\ude00"', '"\\ud800"', '"buy\\u0000"')


def _prices():
    return _each("token_price_usd", "0", '"0"', "0.0", "-0", '"-0.0"', "0e5", "1e-400", "-1e-400", '"1e-400"', "null",
                 None, "-1", '"-1e-5"', "-5e-324", "1e400", '"1e400"', "1e308", "1.7976931348623157e308",
                 "1.7976931348623159e308", "5e-324", "2e-324", "1.5e-07", '"1.5E-07"', "1E+3", HUGE, f'"{HUGE}"',
                 LONG_FRACTION, "0.1000000000000000055511151231257827021181583404541015625", "9007199254740993",
                 "1e99999999999999999999", "1e-99999999999999999999", '"\\u0031.5"', *BAD_NUMBERS)


def _integers():
    cases = []
    for name in ("transaction_index", "log_index"):
        cases += _each(name, "0", '"7"', "-0", '"-0"', "null", None, "1.0", "1e3", "-1", '"-1"', str(INT_MAX),
                       str(INT_MAX + 1), HUGE, '"\\u0031"', *BAD_NUMBERS)
    for name in ("slot", "block_time"):
        cases += _each(name, "1.0", "1e3", "-1", '"-1"', str(INT64_MAX + 1), "99999999999999999999", HUGE, *BAD_NUMBERS)
    cases += _each("slot", str(INT64_MAX), f'"{INT64_MAX}"', "0", "null", None, '"0"', "-0")
    cases += _each("block_time", "null", None, "0", "-0")
    for slot in ("0", "null", None, '"-0"', "5", "-1", "nul"):
        cases += [lambda trade, slot=slot, block=block: changed(trade, slot=slot, block_num=block)
                  for block in ("0", '"0"', "77", '"78"', "null", "-1", "1.5", "nul", '"x"', str(INT64_MAX))]
    return cases


def _chains():
    cases = _each("chain_id_int", "1", "56", '"100000"', "2", "5", "8454", "-1", "100000.0", "1e5", str(INT_MAX + 1),
                  HUGE, *BAD_NUMBERS)
    for number in ("0", "null", None, '"0"', "-0", "56", "nul"):
        cases += [lambda trade, number=number, name=name: changed(trade, chain_id_int=number, chain_id=name)
                  for name in ('"sol"', '"eth"', '"bsc"', '"100000"', '"1"', '"56"', '"01"', '"SOL"', '"solana"', '""',
                               '"0"', "100000", "null", "true", "nul", '"s\\u006fl"', '" sol"', '"-1"', f'"{HUGE}"')]
    return cases


def _texts():
    cases = _each("pair_addr", '""', "null", None, "5", "true", "{}", "nul", '"%s"' % ("p" * 64), '"%s"' % ("p" * 65),
                  '"a b"', '"é"', '"\\u0041bc"', '"abc\\u007f"', '"abc\\u0000"', '"\\ud800"', '"~!#$%:/"',
                  '"a\\"b\\\\c"', '"\\u00e9"', '"\\ud83d\\ude00"', '"abc\\n"', '"DROP\'--"', '"' + "\\u0070" * 64 + '"')
    for tx_hash in ('""', "null", None, '"tx"', '"\\ud800"', "5", "nul", '"é\\u00e9\\ud83d\\ude00"', '"\\u0000"'):
        cases += [lambda trade, tx=tx_hash, other=other: changed(trade, tx_hash=tx, hash_id=other)
                  for other in ('"310#7"', '""', "null", None, "5", "nul", '"\\udc00"')]
    return cases


def _amounts():
    cases = []
    for name in ("token_amount", "total_usd", "base_token_amount"):
        cases += _each(
            name, "0", '"-0"', "-0.0e5", '"-1e-400"', "-1e-400", "-1", "1e20", "100000000000000000000", "1e19",
            '"9.9e19"', "99999999999999999999.999999999999999", "0.0000000000005", "1.5e-12", "2.5e-12", '"3.5E-12"',
            "1e-13", "0.00000000000050000000000000000000001", "0.0000000000015000", HUGE, f'"{HUGE}"', LONG_FRACTION,
            f"1e-{HUGE}", f"1e{HUGE}", f"0e{HUGE}", f"-0e-{HUGE}", "0.000001e26", "0.000001e25",
            "123456789012345678901234567890e-12", "1.5e-07", "null", None, '"\\u0031.50"', *BAD_NUMBERS)
    return cases


def _optional_fields():
    cases = []
    for market_cap in ("0", "null", None, "-1e-400", '"0"', "5", "-1", "nul", "1e400", '"7.5"', *BAD_NUMBERS[:4]):
        cases += [lambda trade, mcap=market_cap, fdv=fdv: changed(trade, mcap=mcap, fdv=fdv)
                  for fdv in ("0", "null", None, "8.25", '"9e3"', "-1", "-1e-400", "1e400", "nul", '""')]
    cases += _each("pump_point", "0", "-0", "-1e-400", "-0.5", "2", '"0.25"', "null", None, "1e400", "-1e400", HUGE,
                   *BAD_NUMBERS)
    cases += _each("clamp", "true", "false", "null", None, '"true"', "1", "0", "tru", "{}", "[]", '""')
    cases += _each("pair_info", "null", None, "{}", '"x"', "[]", "5", "nul", '{"token_addr": null}',
                   '{"token_addr": 5}', '{"token_addr": ""}', '{"token_addr": "%s"}' % ("t" * 64),
                   '{"token_addr": "%s"}' % ("t" * 65), '{"token_addr": "a b"}', '{"token_addr": "\\u0054"}',
                   '{"token_addr": "\\ud800"}', '{"token_addr": nul}', '{"token_addr": "a", "token_addr": "b"}',
                   '{"token_addr": "a", "TokenAddr": "b"}',
                   '{"TokenAddr": "a", "token_addr": "b"}', '{"TokenAddr": "a", "token_addr": null}',
                   '{"TokenAddr": "a", "token_addr": 5}', '{"token_addr": 5, "TokenAddr": "b"}',
                   '{"other": nul, "token_addr": "t", "deep": {"token_addr": 5}}', '{"token\\u005faddr": "escaped"}')
    return cases


def _unused_fields():
    cases = []
    for name in ("maker", "swap_name", "create_time", "base_token_price_usd", "unknown", "Unknown", "pair",
                 "PAIR_ADDR"):
        cases += _each(name, "nul", "NaN", "1.2.3", "0x1", "5", "null", "{}", '{"pair_addr": 5, "type": "sell"}',
                       "[[[{}]]]", '"\\ud800"', '"é日本\\u0000"', HUGE, "'x'", "-", '"garbage"')
    cases += _each("deep", "[" * 900 + "]" * 900, '{"a":' * 900 + "1" + "}" * 900)
    cases += _each("long", '"%s"' % ("x" * 100_000), "[" + ",".join(["1"] * 10_000) + "]")
    return cases


def _repeated_keys():
    def twice(name, first, last, last_name=None):
        return lambda trade: [(f'"{name}"', first), *changed(trade, **{name: None}), (f'"{last_name or name}"', last)]

    cases = [lambda trade: trade + trade]
    for name, good, bad in (("pair_addr", '"TwicePair"', "5"), ("token_price_usd", "2.5", "nul"),
                            ("type", '"sell"', "7"), ("slot", "77", '"x"'), ("token_amount", "5", "-5"),
                            ("clamp", "true", '"true"')):
        go_name = GO_NAMES[name]
        cases += [twice(name, good, bad), twice(name, bad, good), twice(name, good, bad, go_name),
                  twice(name, bad, good, go_name), twice(go_name, good, bad, name), twice(go_name, bad, good, name),
                  twice(name, good, "null"), twice(name, good, "null", go_name), twice(name, "null", good, go_name),
                  lambda trade, name=name, go=go_name, good=good, bad=bad:
                      [(f'"{name}"', bad), (f'"{go}"', bad), *changed(trade, **{name: None}), (f'"{name}"', good)]]
    cases.append(lambda trade: [('"pair_info"', "5"), *trade])
    cases.append(lambda trade: [*trade, ('"PairInfo"', '{"other": 1}')])
    cases.append(lambda trade: [*trade, ('"p\\u0061ir_addr"', '"EscapedLast"')])
    return cases


TRADE_CASES = tuple(case for cases in (_spellings, _types, _prices, _integers, _chains, _texts, _amounts,
                                       _optional_fields, _unused_fields, _repeated_keys) for case in cases())

NO_OBJECTS = ("5", '"x"', '"{}"', "null", "true", "false", "[]", "[{}]", "nul", "NaN", "-", "'x'", "1.2.3", "{}", HUGE)


def broken_messages(trades):
    """Messages that are dead whole, made from the texts of good trades."""
    good = "[" + ", ".join(trades) + "]"
    one = trades[0]
    with_field = [f'[{one[:-1]}, "unused": {value}}}]' for value in (
        '"a\x01b"', '"a\tb"', '"\\q"', '"\\u12"', '"\\u12g4"', '"\\x41"', '"a', "", ",", ":", "[", "{", "]", "[}",
        "{]", "[1,]", "[,1]", "[1,,2]", "{1:2}", "{a:2}", '{"a"}', '{"a":}', '{"a":1,}', '{"a" 1}', '{"a"::1}', "1 2",
        '1"a"', '"a"1', '"a""b"', "\\u0031", "1\\", "[1 2]", "[]1", "1[]", "{}{}", '"a"\\',
        "nul l", '{"a":1 "b":2}', "{null:1}")]
    texts = [
        "", " ", "\n", "[", "]", "[[", "{", "}", "{}", one, "null", "nul", "true", "5", '"x"', f'"{"y" * 50}"', "NaN",
        "[]]", "[][]", good[:-1], good[:-2], good[:len(good) // 2], good + "x", good + good, good + ",", good + " 1",
        "x" + good, "," + good, good + "]", "[" + good, good[:-1] + ",]", "[," + good[1:], f"[{one} {one}]",
        good.replace('": ', '" ', 1), good.replace('": ', '":: ', 1), good.replace(", ", ",, ", 1), "\ufeff" + good,
        good + "\0", "// comment\n" + good, good.replace('"', "'"), good[:-1] + "}", "{" + good[1:], f"{one}, {one}",
        f"{one}\n{one}", '{"trades": ' + good + "}", good.replace("[", "(", 1), *with_field]
    messages = [text.encode() for text in texts]
    for bad in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80", b"\xf5"):
        messages.append(good.replace('"unused_1": "', '"unused_1": "\0', 1).encode().replace(b"\0", bad, 1))
    messages.append(good.encode("utf-16"))
    messages.append(good.encode() + b"\xff")
    return messages


def odd_messages(trades):
    """Messages that are in order although they look odd."""
    good = "[" + ", ".join(trades) + "]"
    return [text.encode() for text in (
        "[]", " [ ] ", "[\n]", f" \t\r\n{good}\r\n\t ", good.replace(", ", "\n,\t").replace(": ", " :\r\n "),
        "[" + ", ".join(NO_OBJECTS) + "]", "[" + ", ".join(f"{trade}, nul" for trade in trades) + "]",
        "[" + ",".join(f"  {trade}  " for trade in trades) + "]", "[[" + trades[0] + "]]",
        "[" + "[" * 500 + "]" * 500 + "]")]
