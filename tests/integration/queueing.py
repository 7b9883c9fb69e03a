"""What queueing theory says of one server, first come first served, and Poisson arrivals: the truths that an instrument must find.

Times are in any one unit, rates in its inverse. `load` below is rate x E[S] and must be under 1.
"""

import math
from decimal import Decimal, localcontext

_LONGEST_SUM = 2000  # terms of Crommelin's sum; a load of 0.99 needs about 500 for a p99.99


def _load(rate: float, mean_service: float) -> float:
    load = rate * mean_service
    if not (rate > 0 and mean_service > 0 and load < 1):
        raise ValueError(f"rate {rate} x service {mean_service}: a stationary queue needs a load over 0 and under 1")
    return load


def mm1_response_quantile(rate: float, mean_service: float, p: float) -> float:
    """M/M/1: the response is exponential with rate 1/E[S] - rate."""
    _load(rate, mean_service)
    return -math.log1p(-p) / (1 / mean_service - rate)


def mm1_response_mean(rate: float, mean_service: float) -> float:
    _load(rate, mean_service)
    return 1 / (1 / mean_service - rate)


def md1_wait_at_most(rate: float, service: float, time: float) -> float:
    """M/D/1: P(W <= time), Crommelin (1932):

        (1 - r) sum over k = 0..floor(t / D) of e^(-L (k D - t)) (L (k D - t))^k / k!

    Its terms alternate and are as large as e^(L t) together, so the digits grow with L t, far beyond a double's."""
    load = _load(rate, service)
    if time < 0:
        return 0.0
    with localcontext() as context:
        context.prec = 40 + int(rate * time)
        whole, left = divmod(Decimal(time), Decimal(service))
        if whole > _LONGEST_SUM:
            raise ValueError(f"a wait of {time} is {whole} services: out of this sum's reach")
        r = Decimal(rate) * Decimal(service)
        # k D - t, counted in services, is k - whole - left/D: exact where a difference of doubles would not be.
        reached = whole + left / Decimal(service)
        total = Decimal(0)
        factorial = Decimal(1)
        for k in range(int(whole) + 1):
            factorial *= max(k, 1)
            at = r * (k - reached)
            # 0 to the 0 is 1 here, and an error for decimal.
            total += (-at).exp() * (at**k if k else Decimal(1)) / factorial
        return min(max(float((1 - Decimal(load)) * total), 0.0), 1.0)


def md1_response_quantile(rate: float, service: float, p: float) -> float:
    """M/D/1: the wait's quantile, by bisection of its law, and the service. Where p is under P(W = 0) = 1 - load: the service."""
    load = _load(rate, service)
    if p <= 1 - load:
        return service
    low, high = 0.0, service
    while md1_wait_at_most(rate, service, high) < p:
        low, high = high, 2 * high
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        if md1_wait_at_most(rate, service, middle) < p:
            low = middle
        else:
            high = middle
    return high + service


def md1_wait_mean(rate: float, service: float) -> float:
    load = _load(rate, service)
    return load * service / (2 * (1 - load))


def mg1_wait_mean(rate: float, mean_service: float, second_moment: float) -> float:
    """M/G/1: Pollaczek-Khinchine, rate E[S^2] / (2 (1 - load))."""
    return rate * second_moment / (2 * (1 - _load(rate, mean_service)))


def mg1_response_mean(rate: float, mean_service: float, second_moment: float) -> float:
    return mg1_wait_mean(rate, mean_service, second_moment) + mean_service


def stall_quantile(stall: float, run: float, p: float) -> float:
    """Quantile of the response where a server that takes no time stops once, for `stall`, in a run of even arrivals: those due in
    the stall wait from `stall` down to 0, evenly, so that (1 - p) run of them wait longer than this."""
    return max(stall - (1 - p) * run, 0.0)
