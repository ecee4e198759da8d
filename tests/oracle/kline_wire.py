"""The published protobuf, described here a second time from the contract, not from the project's .proto file."""

import math

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from oracle import candle_as_kline

_FIELD = descriptor_pb2.FieldDescriptorProto
_KLINE_FIELDS = (  # The field number is the place in this list, from 1.
    ("chain_id", _FIELD.TYPE_INT64), ("interval", _FIELD.TYPE_STRING), ("pair_addr", _FIELD.TYPE_STRING),
    ("open", _FIELD.TYPE_DOUBLE), ("high", _FIELD.TYPE_DOUBLE), ("low", _FIELD.TYPE_DOUBLE),
    ("close", _FIELD.TYPE_DOUBLE), ("mcap_open", _FIELD.TYPE_DOUBLE), ("mcap_high", _FIELD.TYPE_DOUBLE),
    ("mcap_low", _FIELD.TYPE_DOUBLE), ("mcap_close", _FIELD.TYPE_DOUBLE), ("amount_usd", _FIELD.TYPE_DOUBLE),
    ("volume_token", _FIELD.TYPE_DOUBLE), ("candle_time", _FIELD.TYPE_INT64), ("buy_count", _FIELD.TYPE_INT64),
    ("sell_count", _FIELD.TYPE_INT64), ("total_count", _FIELD.TYPE_INT64), ("close_at", _FIELD.TYPE_INT64),
    ("open_at", _FIELD.TYPE_INT64), ("avg_price", _FIELD.TYPE_DOUBLE), ("mkt_cap", _FIELD.TYPE_DOUBLE),
    ("pump_point", _FIELD.TYPE_DOUBLE), ("token_addr", _FIELD.TYPE_STRING), ("closed", _FIELD.TYPE_BOOL),
)
FIELD_NAMES = tuple(name for name, _ in _KLINE_FIELDS)
VALUE_NAMES = FIELD_NAMES[:-1]  # All but `closed`, which depends on the time.
_WINDOWS = ("1m", "5m", "15m", "1h", "4h", "12h", "24h")
FLUCTUATION_MAX = 999.99


def _message_classes():
    file = descriptor_pb2.FileDescriptorProto(name="oracle_kline.proto", package="oracle", syntax="proto3")
    kline, fluctuation, klines = (file.message_type.add(name=name) for name in ("Kline", "KlineFluctuation", "Klines"))
    for number, (name, kind) in enumerate(_KLINE_FIELDS, 1):
        kline.field.add(name=name, number=number, type=kind, label=_FIELD.LABEL_OPTIONAL)
    for number, window in enumerate(_WINDOWS, 1):
        fluctuation.field.add(name=f"kline_fluctuation_{window}", number=number, type=_FIELD.TYPE_DOUBLE,
                              label=_FIELD.LABEL_OPTIONAL)
    klines.field.add(name="list", number=1, type=_FIELD.TYPE_MESSAGE, label=_FIELD.LABEL_REPEATED,
                     type_name=".oracle.Kline")
    klines.field.add(name="fluctuation", number=7, type=_FIELD.TYPE_MESSAGE, label=_FIELD.LABEL_OPTIONAL,
                     type_name=".oracle.KlineFluctuation")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptors = [pool.FindMessageTypeByName(f"oracle.{name}") for name in ("Kline", "Klines")]
    if hasattr(message_factory, "GetMessageClass"):  # protobuf 4.22 and newer
        return [message_factory.GetMessageClass(descriptor) for descriptor in descriptors]
    factory = message_factory.MessageFactory(pool)
    return [factory.GetPrototype(descriptor) for descriptor in descriptors]


Kline, Klines = _message_classes()


def values(kline):
    """The fields of a Kline but `closed`, in the order of VALUE_NAMES."""
    return tuple(getattr(kline, name) for name in VALUE_NAMES)


def expected_values(key, candle):
    fields = candle_as_kline(key, candle)
    return tuple(fields[name] for name in VALUE_NAMES)


def key_of(kline):
    return kline.interval, kline.chain_id, kline.pair_addr, kline.candle_time


def parse_kline(raw):
    """Raises ValueError where the bytes are no Kline."""
    try:
        return Kline.FromString(raw)
    except DecodeError as error:
        raise ValueError(f"no protobuf Kline: {error}") from None


def parse_klines(raw):
    """Raises ValueError where the bytes are no Klines, or hold a fluctuation that cannot be."""
    try:
        klines = Klines.FromString(raw)
    except DecodeError as error:
        raise ValueError(f"no protobuf Klines: {error}") from None
    for window in _WINDOWS:
        value = getattr(klines.fluctuation, f"kline_fluctuation_{window}")
        if not math.isfinite(value) or not -1 <= value <= FLUCTUATION_MAX:
            raise ValueError(f"kline_fluctuation_{window} is {value}")
    return klines
