"""os.fork: the child's pools are empty and usable, the parent's are untouched."""

from __future__ import annotations

import os

import pytest
from support import IN_CHILD, run_script

pytestmark = [
    pytest.mark.thread_unsafe(reason="starts processes"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.ants("D8"),
]

FORK = (
    IN_CHILD
    + """

def use(pool, count=20):
    done = Sum()
    for _ in range(count):
        pool.submit(done.add)
    assert pool.wait_idle(20)
    assert done.value == count
"""
)


def script(code: str) -> str:
    stdout, stderr = run_script(FORK + code)
    assert stderr == ""
    return stdout


@pytest.mark.parametrize("make", ["Pool(3)", "Pool(3, queue_size=None)", "Pool()", "MultiPool(3, 1)"])
def test_fork_with_a_busy_pool(make: str) -> None:
    stdout = script(f"""
pool = {make}
gate = Gate()
for _ in range(3):
    pool.submit(gate.hold)
gate.wait_entered(3)

def child():
    assert not pool.is_closed()
    assert (pool.running(), pool.waiting(), pool.queued()) == (0, 0, 0), pool
    assert pool.stats().busy == 0
    use(pool)
    pool.release_timeout(20)
    assert pool.running() == 0
    pool.reboot()
    use(pool)
    print("child")

in_child(child)
assert pool.running() == 3
assert pool.stats().busy == 3
gate.open()
assert pool.wait_idle(10)
assert pool.stats().completed == 3
use(pool)
pool.release_timeout(10)
print("parent")
""")
    assert stdout == "child\nparent\n"


def test_no_task_of_the_parent_runs_again() -> None:
    stdout = script("""
pool = Pool(1, queue_size=None)
gate = Gate()
ran = []
pool.submit(gate.hold)
for number in range(5):
    pool.submit(ran.append, number)

def child():
    assert pool.queued() == 0
    use(pool)
    print(ran)

in_child(child)
gate.open()
assert pool.wait_idle(10)
print(ran)
""")
    assert stdout == "[]\n[0, 1, 2, 3, 4]\n"


def test_fork_with_idle_workers_and_blocked_submitters() -> None:
    stdout = script("""
idle, full = Pool(4, disable_purge=True), Pool(1)
with Gate() as first:
    for _ in range(4):
        idle.submit(first.hold)
    first.wait_entered(4)
idle.wait_idle()
gate = Gate()
full.submit(gate.hold)
blocked = [threading.Thread(target=full.submit, args=(int,)) for _ in range(2)]
for thread in blocked:
    thread.start()
wait_until(lambda: full.waiting() == 2)

def child():
    assert (idle.running(), full.running(), full.waiting()) == (0, 0, 0)
    use(idle)
    use(full)

in_child(child)
assert (idle.running(), full.waiting()) == (4, 2)
gate.open()
for thread in blocked:
    thread.join()
use(idle)
use(full)
print("parent")
""")
    assert stdout == "parent\n"


def test_a_child_has_an_expiry_thread_of_its_own() -> None:
    stdout = script("""
resting, brief = Pool(2, expiry_duration=1000), Pool(2, expiry_duration=0.01)
resting.submit(int)
stop = threading.Event()

def come_and_go():
    # Forks meet the expiry at all that it does.
    while not stop.is_set():
        brief.submit(int)
        nap(0.005)

thread = threading.Thread(target=come_and_go)
thread.start()

def child():
    own = Pool(2, expiry_duration=0.01)
    for pool in (brief, own):
        pool.submit(int)
        wait_equal(pool.running, 0)
        assert pool.stats().expired == 1
    resting.submit(int)
    # With nobody at rest there is one thread again.
    for pool in (resting, brief, own):
        pool.release_timeout(10)
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/task")) == 1

for _ in range(20):
    in_child(child)
stop.set()
thread.join()
assert resting.running() == 1
print("parent")
""")
    assert stdout == "parent\n"


def test_open_stays_open_and_closed_stays_closed() -> None:
    stdout = script("""
open_pool, closed, tuned = Pool(2), Pool(2), Pool(2, nonblocking=True, name="forked")
closed.release()
tuned.tune(3)

def child():
    assert not open_pool.is_closed()
    assert closed.is_closed()
    try:
        closed.submit(int)
    except PoolClosedError:
        print("closed")
    closed.reboot()
    use(closed)
    # Options and the tuned capacity are kept.
    assert tuned.cap() == 3
    names = set()
    gate = Gate()
    def task():
        names.add(threading.current_thread().name)
        gate.hold()
    for _ in range(3):
        tuned.submit(task)
    gate.wait_entered(3)
    assert not tuned.try_submit(int)
    gate.open()
    print(sorted(names))

in_child(child)
assert closed.is_closed()
""")
    assert stdout == "closed\n['forked_0', 'forked_1', 'forked_2']\n"


def test_purging_works_in_the_child() -> None:
    stdout = script("""
pool = Pool(3, expiry_duration=0.02)
use(pool)

def child():
    use(pool)
    wait_until(lambda: pool.running() == 0)
    print("purged")

in_child(child)
use(pool)
wait_until(lambda: pool.running() == 0)
""")
    assert stdout == "purged\n"


@pytest.mark.parametrize("make", ["Pool(2)", "Pool(2, queue_size=None)"])
def test_fork_from_a_task(make: str) -> None:
    stdout = script(f"""
pool, other = {make}, Pool(2)

def child():
    assert pool.running() == 0
    use(pool)
    use(other)
    print("child")

pool.submit(in_child, child)
assert pool.wait_idle(30)
assert pool.stats().failed == 0
use(pool)
use(other)
print("parent")
""")
    assert stdout == "child\nparent\n"


def test_fork_under_load() -> None:
    # Locks are held, threads spawn, park and expire in the very moment of the fork.
    stdout = script("""
pool = Pool(4, expiry_duration=0.001)
stop = threading.Event()
done = Sum()
def flood():
    while not stop.is_set():
        pool.submit(done.add)
threads = [threading.Thread(target=flood) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(10):
    # Sum's lock, unlike the pool's, may be held by a thread that the child does not have: so a new one.
    in_child(lambda: use(pool))
stop.set()
for thread in threads:
    thread.join()
assert pool.wait_idle(30)
assert pool.stats().completed == done.value
print("parent")
""")
    assert stdout == "parent\n"


def test_a_fork_waits_for_a_worker_that_is_just_arriving() -> None:
    stdout = script("""
forking = threading.Event()
os.register_at_fork(before=forking.set)  # Runs before the module's own hook.
arrived = []
from pyants import _threads
init = _threads._init
def slow(thread, **options):
    init(thread, **options)
    # While this thread is being entered into the books of `threading`, another one forks, or had time to.
    arrived.append(Background(lambda: in_child(lambda: print("child", len(arrived), flush=True))))
    assert forking.wait(10)
    time.sleep(0.02)
    arrived.append(thread)
_threads._init = slow
pool = Pool(1)
use(pool)
arrived[0].result()
print("parent", len(arrived))
""")
    assert stdout == "child 2\nparent 2\n"


def test_a_fork_waits_for_a_worker_that_is_just_leaving() -> None:
    stdout = script("""
forking = threading.Event()
os.register_at_fork(before=forking.set)  # Runs before the module's own hook.
left = []
local = threading.local()
class Last:
    def __del__(self):
        left.append(Background(lambda: in_child(lambda: print("child", len(left), flush=True))))
        assert forking.wait(10)
        time.sleep(0.02)
        left.append(self)
def task():
    local.last = Last()
pool = Pool(1)
pool.submit(task)
pool.release_timeout(10)
left[0].result()
print("parent", len(left))
""")
    assert stdout == "child 2\nparent 2\n"


def test_a_fork_does_not_wait_for_ever_for_a_worker_that_waits_for_the_forking_thread() -> None:
    stdout = script("""
local = threading.local()
leaving, forked = threading.Event(), threading.Event()
class Last:
    def __del__(self):
        leaving.set()
        assert forked.wait(30)
def task():
    local.last = Last()
pool, other = Pool(1), Pool(1)
pool.submit(task)
pool.release()
assert leaving.wait(10)
in_child(lambda: use(other))
forked.set()
print("parent")
""")
    assert stdout == "parent\n"


def test_a_worker_that_does_not_get_away_does_not_keep_the_others() -> None:
    stdout = script("""
local = threading.local()
leaving, go = threading.Event(), threading.Event()
class Last:
    def __del__(self):
        leaving.set()
        assert go.wait(30)
def task():
    local.last = Last()
stuck, other = Pool(1), Pool(40)
stuck.submit(task)
stuck.release()
assert leaving.wait(10)
with Gate() as gate:
    for _ in range(40):
        other.submit(gate.hold)
other.release_timeout(20)
go.set()
stuck.reboot()
stuck.release_timeout(10)
print("parent")
""")
    assert stdout == "parent\n"


def test_a_fork_hook_may_wait_for_a_worker() -> None:
    # Hooks run in the order opposite to that of their registration: this one after the module's own.
    stdout, stderr = run_script(
        """
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)
pools = []
def hook():
    for pool in pools:
        pool.submit(print, "hook", flush=True)
        assert pool.wait_idle(30)
os.register_at_fork(before=hook)
import pyants
pools.append(pyants.Pool(1))
pid = os.fork()
if pid == 0:
    os._exit(0)
os.waitpid(pid, 0)
print("parent")
""",
        prelude=False,
    )
    assert (stdout, stderr) == ("hook\nparent\n", "")


def test_nothing_is_looked_up_or_imported_on_first_use() -> None:
    # A child forked while another thread does so would wait for the end of it for ever.
    stdout, stderr = run_script(
        """
import sys
import threading
import pyants
from pyants import _core
# Who looks into these only now finds other classes than those of the package.
del sys.modules["pyants._errors"], sys.modules["pyants._types"]
# What logging an exception imports it imports for everybody.
import logging
try:
    raise ValueError
except ValueError:
    logging.lastResort.handle(logging.LogRecord("", logging.ERROR, "", 1, "before", None, sys.exc_info()))
modules = set(sys.modules)

def raises(error, call, *args, **options):
    try:
        call(*args, **options)
    except Exception as raised:
        assert type(raised) is error, (type(raised), raised)
    else:
        raise AssertionError(error)

lock = threading.Lock()
lock.acquire()
pool = pyants.Pool(1, queue_size=1, expiry_duration=0.01)
multi = pyants.MultiPool(1, 1, pyants.LoadBalancingStrategy.LEAST_TASKS, nonblocking=True)
assert type(pool.stats()) is pyants.PoolStats
pyants.PoolWithFunc[[int]]
multi.submit(raises, pyants.PoolDeadlockError, multi.wait_idle)
assert multi.wait_idle(10)
multi.submit(lock.acquire, timeout=30)
raises(pyants.PoolOverloadError, multi.submit, int)
raises(pyants.PoolTimeoutError, multi.release_timeout, 0)
raises(pyants.PoolClosedError, multi.submit, int)
raises(pyants.InvalidPoolIndexError, multi.running_by_index, 1)
raises(pyants.InvalidPoolExpiryError, pyants.Pool, 1, expiry_duration=-1)
raises(pyants.InvalidPreAllocSizeError, pyants.Pool, -1, pre_alloc=True)
raises(pyants.InvalidMultiPoolSizeError, pyants.MultiPool, 0, 1)
raises(pyants.InvalidLoadBalancingStrategyError, pyants.MultiPool, 1, 1, 3)
raises(pyants.LackPoolFuncError, pyants.PoolWithFunc, 1, None)
lock.release()
pool.submit(int, "x")  # Goes to the log.
assert pool.wait_idle(10)
broken = pyants.Pool(1, initializer=int, initargs=("x",))
broken.submit(int)
assert broken.wait_idle(10)
raises(pyants.BrokenPoolError, broken.submit, int)
_core._fail_spawns(-1)
raises(pyants.PoolSpawnError, pyants.Pool(1).submit, int)
_core._fail_spawns(0)
print(sorted(set(sys.modules) - modules))
""",
        prelude=False,
    )
    assert stdout == "[]\n", stderr


def test_a_child_of_a_child() -> None:
    stdout = script("""
pool = Pool(2)
use(pool)
def grandchild():
    use(pool)
    print("grandchild", flush=True)
def child():
    use(pool)
    in_child(grandchild)
    use(pool)
    print("child")
in_child(child)
use(pool)
print("parent")
""")
    assert stdout == "grandchild\nchild\nparent\n"


def test_a_child_that_exits_in_the_usual_way() -> None:
    stdout = script("""
pool = Pool(2, disable_purge=True)
gate = Gate()
pool.submit(gate.hold)
gate.wait_entered(1)
pid = os.fork()
if pid == 0:
    signal.alarm(30)
    pool.submit(lambda: (time.sleep(0.05), print("child's task", flush=True)))
    sys.exit(5)
_, status = os.waitpid(pid, 0)
print(os.waitstatus_to_exitcode(status))
gate.open()
""")
    assert stdout == "child's task\n5\n"


def test_multiprocessing_with_fork() -> None:
    stdout = script("""
import multiprocessing
context = multiprocessing.get_context("fork")
pool = Pool(2)
use(pool)
def work(queue):
    done = Sum()
    for number in range(10):
        pool.submit(done.add, number)
    pool.wait_idle()
    queue.put(done.value)
queue = context.SimpleQueue()
process = context.Process(target=work, args=(queue,))
process.start()
print(queue.get())
process.join()
print(process.exitcode)
""")
    assert stdout == "45\n0\n"


def test_the_default_pool_in_a_child() -> None:
    stdout = script("""
import pyants
done = Sum()
pyants.submit(done.add)
assert pyants.wait_idle()
in_child(lambda: use(pyants))
use(pyants)
print("parent")
""")
    assert stdout == "parent\n"


def test_a_pool_dropped_in_the_child() -> None:
    stdout = script("""
import gc
pools = [Pool(2)]
gate = Gate()
pools[0].submit(gate.hold)
def child():
    pools.clear()
    gc.collect()
    use(Pool(2))
in_child(child)
gate.open()
assert pools[0].wait_idle(10)
print("parent")
""")
    assert stdout == "parent\n"
