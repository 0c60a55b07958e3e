"""A worker gives slow hosts a share of its time, and the rest of it to everybody else."""

from __future__ import annotations

from keystow.slow_hosts import AT_ONCE, REMEMBERED_SECONDS, REST, SLOW_SECONDS, SlowHosts
from tests.support import StoppedClock


def known_slow(clock: StoppedClock) -> SlowHosts:
    hosts = SlowHosts(clock)
    assert hosts.admit("env1", "slow")
    hosts.ended("env1", "slow", 20)
    return hosts


def test_a_host_that_nobody_knows_is_asked_by_all_at_once() -> None:
    hosts = SlowHosts(StoppedClock())
    assert all(hosts.admit("env1", "new") for _ in range(100))


def test_a_slow_host_is_not_asked_while_the_worker_rests_and_others_are() -> None:
    clock = StoppedClock()
    hosts = known_slow(clock)
    assert not hosts.admit("env1", "slow")
    assert hosts.admit("env1", "quick")
    assert hosts.admit("env2", "slow"), "what one environment has seen says nothing for another"
    clock.advance(REST * 20 - 1)
    assert not hosts.admit("env1", "slow")
    clock.advance(1)
    assert hosts.admit("env1", "slow")


def test_many_slow_hosts_share_one_rest() -> None:
    clock = StoppedClock()
    hosts = known_slow(clock)
    assert hosts.admit("env1", "slow2")
    hosts.ended("env1", "slow2", 20)
    clock.advance(REST * 20)
    assert hosts.admit("env1", "slow")
    hosts.ended("env1", "slow", 20)
    assert not hosts.admit("env1", "slow2")


def test_a_slow_host_is_asked_by_so_many_at_once_at_most() -> None:
    clock = StoppedClock()
    hosts = known_slow(clock)
    clock.advance(REST * 20)
    assert [hosts.admit("env1", "slow") for _ in range(AT_ONCE + 5)].count(True) == AT_ONCE
    hosts.ended("env1", "slow", None)
    assert hosts.admit("env1", "slow")


def test_a_host_that_is_quick_again_is_like_any_other() -> None:
    clock = StoppedClock()
    hosts = known_slow(clock)
    clock.advance(REST * 20)
    assert hosts.admit("env1", "slow")
    hosts.ended("env1", "slow", SLOW_SECONDS - 1)
    assert all(hosts.admit("env1", "slow") for _ in range(100))


def test_a_slow_host_is_forgotten_in_time() -> None:
    clock = StoppedClock()
    hosts = known_slow(clock)
    clock.advance(REMEMBERED_SECONDS)
    assert all(hosts.admit("env1", "slow") for _ in range(100))
