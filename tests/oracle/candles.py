"""The candles of a set of trades, each computed from its own trades: a slice of the pair's trades in chain order."""

import datetime
from bisect import bisect_left
from itertools import accumulate
from typing import NamedTuple

from trade_rules import PLACES

UNITS = 10**PLACES
SECONDS = {
    "1s": 1, "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "2h": 7200, "4h": 14400, "6h": 21600,
    "8h": 28800, "12h": 43200, "1d": 86400, "3d": 3 * 86400,
}
INTERVALS = (*SECONDS, "1w", "1M")
DEFAULT_INTERVALS = ("1m", "5m", "15m", "1h", "4h", "12h", "1d")
_DAY = 86400
_WEEK = 7 * _DAY
_MONDAY = 4 * _DAY  # 1970-01-01 was a Thursday; 1970-01-05 the first Monday.
_CALENDAR_CYCLE = 146097 * _DAY  # 400 Gregorian years: the calendar repeats, weekdays included.
_EPOCH = datetime.date(1970, 1, 1)


class Trade(NamedTuple):
    """An applied trade. The first eight fields are its position: trades compare in chain order, and none are equal."""

    block_time: int
    height: int
    transaction_index: int
    log_index: int
    topic: str
    partition: int
    offset: int
    index: int
    is_buy: bool
    price: float
    token_amount: int
    total_usd: int
    market_cap: float
    pump_point: float
    token_addr: str
    clamped: bool


class Candle(NamedTuple):
    """One candle; amount_usd and volume_token in units of 1e-12."""

    open: float
    high: float
    low: float
    close: float
    mcap_open: float
    mcap_high: float
    mcap_low: float
    mcap_close: float
    amount_usd: int
    volume_token: int
    buy_count: int
    sell_count: int
    total_count: int
    open_at: int
    close_at: int
    avg_price: float
    mkt_cap: float
    pump_point: float
    token_addr: str


def bucket(interval, time):
    """The bucket of a time >= 0, as [begin, end) in unix seconds UTC."""
    if interval == "1M":
        cycles, inside = divmod(time, _CALENDAR_CYCLE)
        first = (_EPOCH + datetime.timedelta(days=inside // _DAY)).replace(day=1)
        following = (first + datetime.timedelta(days=31)).replace(day=1)
        base = cycles * _CALENDAR_CYCLE
        return base + (first - _EPOCH).days * _DAY, base + (following - _EPOCH).days * _DAY
    if interval == "1w":
        begin = time - (time - _MONDAY) % _WEEK
        return begin, begin + _WEEK
    length = SECONDS[interval]
    begin = time - time % length
    return begin, begin + length


def parse_intervals(texts):
    """The names of intervals from a comma-separated text, 24h being 1d. Raises ValueError that names the bad one."""
    names = ["1d" if name.strip() == "24h" else name.strip() for name in texts.split(",") if name.strip()]
    for name in names:
        if name not in INTERVALS:
            raise ValueError(f"no interval '{name}': use some of {' '.join(INTERVALS)}")
    return list(dict.fromkeys(names))


def decimal_as_double(units):
    """The double nearest to a decimal in units of 1e-12 (int / int is correctly rounded in Python)."""
    return units / UNITS


class _Prices:
    """Prices and market caps of some trades of a pair, in chain order."""

    def __init__(self, trades):
        self.price = [trade.price for trade in trades]
        self.market_cap = [trade.market_cap for trade in trades]

    def over(self, begin, end):
        price, market_cap = self.price[begin:end], self.market_cap[begin:end]
        return (price[0], max(price), min(price), price[-1],
                market_cap[0], max(market_cap), min(market_cap), market_cap[-1])


def _running_total(values):
    return [0, *accumulate(values)]


def candles_of_pair(trades, intervals):
    """All candles of one pair's trades (in any order) as {(interval, candle_time): Candle}."""
    trades = sorted(trades)
    times = [trade.block_time for trade in trades]
    usd = _running_total(trade.total_usd for trade in trades)
    tokens = _running_total(trade.token_amount for trade in trades)
    buys = _running_total(trade.is_buy for trade in trades)
    every = _Prices(trades)
    unclamped_at = [at for at, trade in enumerate(trades) if not trade.clamped]
    unclamped = _Prices([trades[at] for at in unclamped_at])

    candles = {}
    for interval in intervals:
        begin = 0
        while begin < len(trades):
            candle_time, bucket_end = bucket(interval, times[begin])
            end = bisect_left(times, bucket_end, begin)
            first, last = bisect_left(unclamped_at, begin), bisect_left(unclamped_at, end)
            prices = unclamped.over(first, last) if first < last else every.over(begin, end)
            amount_usd, volume = usd[end] - usd[begin], tokens[end] - tokens[begin]
            buy_count, total_count = buys[end] - buys[begin], end - begin
            newest = trades[end - 1]
            candles[interval, candle_time] = Candle(
                *prices, amount_usd, volume, buy_count, total_count - buy_count, total_count,
                times[begin], newest.block_time, amount_usd / volume if volume else 0.0,
                newest.market_cap, newest.pump_point, newest.token_addr)
            begin = end
    return candles
