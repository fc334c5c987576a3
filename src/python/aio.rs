//! `AsyncPool`: calls that loops of asyncio wait for.
//!
//! A worker puts what a call came to into the mailbox of the loop that waits for it, and wakes the loop if nobody has since
//! it last looked: so a loop is woken once for as many results as there are by the time that it looks.
//!
//! To be woken costs more than many a call takes. So a loop that has just made calls, and would go to sleep now, first
//! looks out for their results for a moment, if that has paid lately.

use super::awaitable::{self, Awaitable, current_context};
use super::base::Base;
use super::errors::{self, Refusal};
use super::executor::{Scope, SharedScope};
use super::future::Bells;
use super::gil;
use super::lifecycle;
use super::switch::Turns;
use super::task::{Call, Task};
use super::wait::detached;
use crate::pool::sync::{Luck, lock};
use crate::pool::{Error, Outcome};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple, PyWeakrefMethods, PyWeakrefReference};
use pyo3::{ffi, intern};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// A call that a loop waits for.
pub struct AsyncCall {
    call: Call,
    /// The caller's context, in which the call is made.
    context: Py<PyAny>,
    /// The loop's future of the result.
    future: Py<Awaitable>,
    /// The loop's future of the admission, where the caller waits for that.
    admission: Option<Py<PyAny>>,
    /// Where somebody may take the call back.
    ticket: Option<Arc<Claim>>,
    mailbox: Arc<Mailbox>,
    scope: Arc<Scope>,
}

/// Whether a call has begun, or was taken back before it could.
#[derive(Default)]
struct Claim(AtomicU8);

impl Claim {
    const BEGUN: u8 = 1;
    const WITHDRAWN: u8 = 2;

    /// Whoever is first decides.
    fn decide(&self, fate: u8) -> bool {
        self.0
            .compare_exchange(0, fate, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

/// What takes a call back that has not begun.
#[pyclass(frozen, module = "pyants", name = "_Ticket")]
pub struct Ticket(Arc<Claim>);

#[pymethods]
impl Ticket {
    /// Takes the call back; False: it has begun.
    fn withdraw(&self) -> bool {
        self.0.decide(Claim::WITHDRAWN)
    }
}

enum Letter {
    /// The task has begun: it was admitted at the latest now. `false`: it was refused, as the future of the result tells.
    Admission(Py<PyAny>, bool),
    /// What the call returned. With it goes the context, for the thread that made it to let go of it: free-threaded builds
    /// make much of objects that others let go of.
    Returned(Py<Awaitable>, Py<PyAny>, Py<PyAny>),
    /// What the call raised, and the callable; none where the call was refused.
    Raised(Py<Awaitable>, PyErr, Option<Py<PyAny>>),
}

struct Letters {
    letters: VecDeque<Letter>,
    /// The loop was woken and has not looked yet, or is looking out.
    woken: bool,
}

/// For how long a loop that would go to sleep may look out for its mail: longer than it takes to wake a worker.
const LOOKOUT: Duration = Duration::from_micros(50);
/// Under the GIL a look costs two waits for it, however short it is. So after so many calls in a row for which it was in vain
/// the loop looks out for one call of many only.
const FEW_IN_VAIN: u32 = 4;
const ONE_OF: u32 = 64;

/// What the calls of one loop came to, until the loop fetches it.
pub struct Mailbox {
    /// Weak, or a pool would keep the last loop it was used in. What waits for mail keeps its loop.
    event_loop: Py<PyWeakrefReference>,
    /// Where the loop lies.
    address: usize,
    /// In which process, counted by forks, the loop is.
    generation: u64,
    letters: Mutex<Letters>,
    /// There are letters: for a loop that looks out.
    has_mail: AtomicBool,
    /// The loop is about to look out; or it never does, as it does not tell what else it has to do.
    will_look: AtomicBool,
    /// How many calls in a row it was in vain to look out for, or not tried. Written by the loop's thread.
    vain: AtomicU32,
    luck: Luck,
    /// How often the loop has fetched its mail.
    fetched: AtomicU32,
    /// Where an exception goes that nobody waits for.
    pool: Py<Base>,
}

impl Mailbox {
    /// Puts a letter in, and wakes the loop if nobody has since it last looked.
    fn post(self: &Arc<Self>, py: Python<'_>, letter: Letter) {
        {
            let mut letters = lock(&self.letters);
            letters.letters.push_back(letter);
            self.has_mail.store(true, Ordering::Relaxed);
            if std::mem::replace(&mut letters.woken, true) {
                return;
            }
        }
        if self
            .call_loop(py, intern!(py, "call_soon_threadsafe"), Collect::new(self))
            .is_err()
        {
            // The loop is closed.
            self.give_up(py);
        }
    }

    /// A worker, between two tasks: lets others in if it is time, the loop first if that is to fetch its mail.
    fn let_others_in(&self, py: Python<'_>, turns: &mut Turns, bells: &mut Bells) {
        if self.has_mail.load(Ordering::Relaxed) {
            let fetched = self.fetched.load(Ordering::Relaxed);
            turns.let_loop_in(py, bells, || {
                self.fetched.load(Ordering::Relaxed) != fetched
            });
        } else {
            turns.let_others_in(py, true, bells);
        }
    }

    /// Has the loop call something of ours.
    fn call_loop<'py>(
        &self,
        py: Python<'py>,
        how: &Bound<'py, PyString>,
        what: impl IntoPyObject<'py>,
    ) -> PyResult<()> {
        let event_loop = self
            .event_loop
            .bind(py)
            .upgrade()
            .ok_or_else(|| PyRuntimeError::new_err("the loop is gone"))?;
        event_loop.call_method1(how, (what,)).map(drop)
    }

    /// On the loop's thread, which is about to make a call: has it look out for the result before it goes to sleep.
    fn call_to_look_out(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        if self.will_look.load(Ordering::Relaxed) {
            return Ok(());
        }
        let vain = self.vain.load(Ordering::Relaxed);
        if vain >= FEW_IN_VAIN && !vain.is_multiple_of(ONE_OF) {
            self.vain.store(vain.wrapping_add(1), Ordering::Relaxed);
            return Ok(());
        }
        self.will_look.store(true, Ordering::Relaxed);
        let lookout = Lookout {
            mailbox: Arc::downgrade(self),
            called: AtomicBool::new(false),
        };
        self.call_loop(py, intern!(py, "call_soon"), lookout)
    }

    /// On the loop's thread: if it has nothing else to do, looks out for mail for a moment, and hands it out.
    fn look_out(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        self.will_look.store(false, Ordering::Relaxed);
        let Some(event_loop) = self.event_loop.bind(py).upgrade() else {
            return Ok(());
        };
        if event_loop.getattr(intern!(py, "_ready"))?.is_truthy()? {
            return Ok(());
        }
        // Who posts meanwhile need not wake the loop.
        if std::mem::replace(&mut lock(&self.letters).woken, true) {
            return Ok(());
        }
        let found = lifecycle::detach(py, || {
            let has_mail = || self.has_mail.load(Ordering::Relaxed);
            let found = self.luck.spin_for(LOOKOUT, has_mail);
            if found {
                gil::hesitate(|| 0);
            }
            found
        });
        let vain = self.vain.load(Ordering::Relaxed).wrapping_add(1);
        self.vain
            .store(if found { 0 } else { vain }, Ordering::Relaxed);
        self.deliver(py)
    }

    /// It belongs to this loop, and not to one that lay where this one does.
    fn is_of(&self, event_loop: &Bound<'_, PyAny>) -> bool {
        self.event_loop
            .bind(event_loop.py())
            .upgrade()
            .is_some_and(|own| own.is(event_loop))
    }

    /// The loop will not call any more.
    fn is_over(&self, py: Python<'_>) -> PyResult<bool> {
        self.event_loop
            .bind(py)
            .upgrade()
            .map_or(Ok(true), |event_loop| {
                event_loop
                    .call_method0(intern!(py, "is_closed"))?
                    .is_truthy()
            })
    }

    /// Nobody will fetch what is in it: results are let go, and exceptions reported.
    fn give_up(&self, py: Python<'_>) {
        let letters = {
            let mut letters = lock(&self.letters);
            letters.woken = false;
            self.has_mail.store(false, Ordering::Relaxed);
            std::mem::take(&mut letters.letters)
        };
        for letter in letters {
            if let Letter::Raised(_, raised, func) = letter {
                self.report(py, raised, func);
            }
        }
    }

    /// The exception for a call that was refused after it was enlisted.
    fn refusal(&self, py: Python<'_>, error: &Error) -> PyErr {
        let is_broken = || {
            let front = self.pool.get().front(py);
            front.is_ok_and(|front| front.pools().iter().any(crate::pool::Pool::is_broken))
        };
        let same = match error {
            // The line is told of the closing, whatever brought it about.
            Error::Closed if !is_broken() => Error::Closed,
            Error::Closed | Error::Broken => Error::Broken,
            Error::Spawn(error) => {
                Error::Spawn(std::io::Error::new(error.kind(), error.to_string()))
            }
            _ => Error::Overload { in_flight: 0 },
        };
        Refusal::Pool(same).into_exception(py)
    }

    /// An exception that nobody waits for any more.
    pub fn report(&self, py: Python<'_>, raised: PyErr, func: Option<Py<PyAny>>) {
        // A refusal has no callable, and is nobody's failure.
        if let (Some(func), Ok(front)) = (func, self.pool.get().front(py)) {
            front.pools()[0]
                .host()
                .report(py, func.bind(py), raised, "task");
        }
    }

    /// On the loop's thread: hands out what has come, so much at a time that the loop's other business goes on.
    fn deliver(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        const MOST_AT_ONCE: usize = 256;
        self.fetched.fetch_add(1, Ordering::Relaxed);
        let (taken, more) = {
            let mut letters = lock(&self.letters);
            let most = letters.letters.len().min(MOST_AT_ONCE);
            let taken: Vec<_> = letters.letters.drain(..most).collect();
            letters.woken = !letters.letters.is_empty();
            self.has_mail.store(letters.woken, Ordering::Relaxed);
            (taken, letters.woken)
        };
        let again = if more {
            self.call_loop(py, intern!(py, "call_soon"), Collect::new(self))
        } else {
            Ok(())
        };
        self.hand_out(py, taken).and(again)
    }

    /// Ctrl-C, say, may come while a letter is handed out; the others are handed out all the same.
    fn hand_out(&self, py: Python<'_>, letters: Vec<Letter>) -> PyResult<()> {
        letters
            .into_iter()
            .map(|letter| self.hand_over(py, letter))
            .fold(Ok(()), PyResult::and)
    }

    fn hand_over(&self, py: Python<'_>, letter: Letter) -> PyResult<()> {
        match letter {
            Letter::Admission(future, admitted) => settle(future.bind(py), admitted),
            // Who cancelled it does not wait for it any more.
            Letter::Returned(future, ..) if future.get().is_done() => Ok(()),
            Letter::Returned(future, result, context) => {
                drop(context);
                Awaitable::settle(future.bind(py), Ok(result))
            }
            Letter::Raised(future, raised, func) if future.get().is_done() => {
                self.report(py, raised, func);
                Ok(())
            }
            Letter::Raised(future, raised, func) => {
                Awaitable::settle(future.bind(py), Err((raised, func)))
            }
        }
    }
}

/// Settles a future of asyncio's own, unless it was cancelled meanwhile.
fn settle(future: &Bound<'_, PyAny>, result: bool) -> PyResult<()> {
    let py = future.py();
    if !future.call_method0(intern!(py, "done"))?.is_truthy()? {
        future.call_method1(intern!(py, "set_result"), (result,))?;
    }
    Ok(())
}

/// What a loop calls to fetch its mail.
#[pyclass(frozen, module = "pyants", name = "_Collect")]
struct Collect {
    mailbox: Arc<Mailbox>,
    called: AtomicBool,
}

impl Collect {
    fn new(mailbox: &Arc<Mailbox>) -> Self {
        Collect {
            mailbox: Arc::clone(mailbox),
            called: AtomicBool::new(false),
        }
    }
}

#[pymethods]
impl Collect {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        self.called.store(true, Ordering::Relaxed);
        self.mailbox.deliver(py)
    }
}

impl Drop for Collect {
    fn drop(&mut self) {
        // Else the loop was closed before it came to it. In a forked child the parent's locks are not to be touched.
        if !*self.called.get_mut() && self.mailbox.generation == lifecycle::generation() {
            Python::try_attach(|py| self.mailbox.give_up(py));
        }
    }
}

/// What a loop calls to look out for mail that may come soon.
#[pyclass(frozen, module = "pyants", name = "_Lookout")]
struct Lookout {
    /// Weak, or a loop that does not run would keep the pool.
    mailbox: Weak<Mailbox>,
    called: AtomicBool,
}

#[pymethods]
impl Lookout {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        self.called.store(true, Ordering::Relaxed);
        self.mailbox
            .upgrade()
            .map_or(Ok(()), |mailbox| mailbox.look_out(py))
    }
}

impl Drop for Lookout {
    fn drop(&mut self) {
        if !*self.called.get_mut()
            && let Some(mailbox) = self.mailbox.upgrade()
        {
            mailbox.will_look.store(false, Ordering::Relaxed);
        }
    }
}

impl AsyncCall {
    /// The worker: makes the call and posts what it came to.
    pub fn run(self, py: Python<'_>, turns: &mut Turns, bells: &mut Bells) -> Outcome<Task> {
        let mailbox = Arc::clone(&self.mailbox);
        let outcome = self.run_and_post(py);
        mailbox.let_others_in(py, turns, bells);
        outcome
    }

    fn run_and_post(self, py: Python<'_>) -> Outcome<Task> {
        if let Some(admission) = self.admission {
            self.mailbox.post(py, Letter::Admission(admission, true));
        }
        let withdrawn = self
            .ticket
            .is_some_and(|ticket| !ticket.decide(Claim::BEGUN));
        if withdrawn || self.future.get().is_cancelled() {
            self.scope.leave();
            return Outcome::Cancelled;
        }
        let (func, result) = in_context(self.context.bind(py), || self.call.call(py));
        let outcome = match result {
            Ok(result) => {
                drop(func);
                self.mailbox.post(
                    py,
                    Letter::Returned(self.future, result.unbind(), self.context),
                );
                Outcome::Completed
            }
            Err(raised) => {
                let letter = Letter::Raised(self.future, raised, Some(func.unbind()));
                self.mailbox.post(py, letter);
                Outcome::Failed
            }
        };
        self.scope.leave();
        outcome
    }

    /// The call will not be made.
    pub fn refuse(self, py: Python<'_>, error: &Error) {
        // In this order: who learns that the admission was refused finds the reason. It is told once, since nobody may wait
        // for the admission.
        let reason = self.mailbox.refusal(py, error);
        self.mailbox
            .post(py, Letter::Raised(self.future, reason, None));
        if let Some(admission) = self.admission {
            self.mailbox.post(py, Letter::Admission(admission, false));
        }
        self.scope.leave();
    }
}

/// Calls `f` in a context of `contextvars`.
pub fn in_context<R>(context: &Bound<'_, PyAny>, f: impl FnOnce() -> R) -> R {
    let py = context.py();
    // SAFETY: a live object; one that is no context, or entered already, is refused with an exception.
    let entered = unsafe { ffi::PyContext_Enter(context.as_ptr()) } == 0;
    if !entered && let Some(failure) = PyErr::take(py) {
        failure.write_unraisable(py, Some(context));
    }
    let result = f();
    if entered {
        // SAFETY: it was entered above, by this thread; whatever `f` entered it has left.
        if unsafe { ffi::PyContext_Exit(context.as_ptr()) } != 0
            && let Some(failure) = PyErr::take(py)
        {
            failure.write_unraisable(py, Some(context));
        }
    }
    result
}

/// The native half of `pyants.AsyncPool`.
#[pyclass(frozen, subclass, weakref, module = "pyants", name = "_AsyncPool")]
pub struct AsyncPool {
    pool: PyOnceLock<Py<Base>>,
    get_running_loop: PyOnceLock<Py<PyAny>>,
    /// The pool is this object's own, and closed with it.
    owns_pool: AtomicBool,
    /// The calls made here.
    scope: SharedScope,
    /// One for each loop that has called lately.
    mailboxes: Mutex<Vec<Arc<Mailbox>>>,
}

impl AsyncPool {
    fn pool<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, Base>> {
        self.pool
            .get(py)
            .map(|pool| pool.bind(py))
            .ok_or_else(not_initialised)
    }

    fn mailbox(&self, py: Python<'_>, event_loop: &Bound<'_, PyAny>) -> PyResult<Arc<Mailbox>> {
        let address = event_loop.as_ptr() as usize;
        let known = lock(&self.mailboxes)
            .iter()
            .find(|mailbox| mailbox.address == address)
            .cloned();
        if let Some(mailbox) = known
            && mailbox.is_of(event_loop)
            && mailbox.generation == lifecycle::generation()
        {
            return Ok(mailbox);
        }
        let known = lock(&self.mailboxes).clone();
        let mut over = Vec::new();
        for mailbox in known {
            if mailbox.is_over(py)? {
                over.push(mailbox);
            }
        }
        let mailbox = Arc::new(Mailbox {
            event_loop: PyWeakrefReference::new(event_loop)?.unbind(),
            address,
            generation: lifecycle::generation(),
            letters: Mutex::new(Letters {
                letters: VecDeque::new(),
                woken: false,
            }),
            has_mail: AtomicBool::new(false),
            will_look: AtomicBool::new(!is_asyncios_own(event_loop)?),
            vain: AtomicU32::new(0),
            luck: Luck::new(LOOKOUT),
            fetched: AtomicU32::new(0),
            pool: self.pool(py)?.clone().unbind(),
        });
        let mut mailboxes = lock(&self.mailboxes);
        let is_over = |mailbox: &Arc<Mailbox>| over.iter().any(|other| Arc::ptr_eq(other, mailbox));
        // `over` holds on to them, so that none is dropped under the lock.
        mailboxes.retain(|mailbox| !is_over(mailbox));
        mailboxes.push(Arc::clone(&mailbox));
        drop(mailboxes);
        Ok(mailbox)
    }

    /// Starts a call; the loop's future of it.
    fn start<'py>(
        &self,
        py: Python<'py>,
        func: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<Bound<'py, PyDict>>,
        way: Way,
    ) -> PyResult<Started<'py>> {
        let get_running_loop = self.get_running_loop.get(py).ok_or_else(not_initialised)?;
        let event_loop = get_running_loop.bind(py).call0()?;
        let base = self.pool(py)?.get();
        let front = base.front(py)?;
        Base::check_call(front, func)?;
        let mailbox = self.mailbox(py, &event_loop)?;
        let future = Bound::new(
            py,
            Awaitable::new(event_loop.clone().unbind(), Arc::clone(&mailbox)),
        )?;
        let (admission, ticket) = match way {
            Way::Plain => (None, None),
            Way::Told => (
                Some(event_loop.call_method0(intern!(py, "create_future"))?),
                Some(Arc::default()),
            ),
        };
        let context = current_context(py)?;
        mailbox.call_to_look_out(py)?;
        let scope = self.scope.get();
        if !scope.enter() {
            return Err(Refusal::Pool(Error::Closed).into_exception(py));
        }
        let call = AsyncCall {
            call: Call::new(func.clone().unbind(), args, kwargs),
            context: context.unbind(),
            future: future.clone().unbind(),
            admission: admission.clone().map(Bound::unbind),
            ticket: ticket.clone(),
            mailbox,
            scope: Arc::clone(&scope),
        };
        match front.enlist(py, Task::Async(Box::new(call))) {
            Ok(in_line) => Ok(Started {
                future,
                // In line: the caller is told when the task is taken up.
                admission: admission.filter(|_| in_line),
                ticket,
            }),
            Err(refusal) => {
                scope.leave();
                Err(refusal.into_exception(py))
            }
        }
    }
}

/// What a caller wants to be told of its call besides the result.
enum Way {
    Plain,
    /// When it is admitted, and whether it has begun.
    Told,
}

struct Started<'py> {
    future: Bound<'py, Awaitable>,
    admission: Option<Bound<'py, PyAny>>,
    ticket: Option<Arc<Claim>>,
}

/// The loop goes through what it is to do at once as asyncio's own loops do, and so tells by `_ready` whether there is any.
fn is_asyncios_own(event_loop: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = event_loop.py();
    let run_once = intern!(py, "_run_once");
    let base = py
        .import(intern!(py, "asyncio"))?
        .getattr(intern!(py, "BaseEventLoop"))?;
    let own = event_loop.get_type().getattr_opt(run_once)?;
    Ok(own.is_some_and(|own| base.getattr(run_once).is_ok_and(|base| own.is(&base))))
}

fn not_initialised() -> PyErr {
    PyRuntimeError::new_err("the pool's __init__() was not called")
}

#[pymethods]
impl AsyncPool {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        AsyncPool {
            pool: PyOnceLock::new(),
            get_running_loop: PyOnceLock::new(),
            owns_pool: AtomicBool::new(false),
            scope: SharedScope::new(),
            mailboxes: Mutex::default(),
        }
    }

    /// What __init__ does.
    fn _set_up(
        &self,
        py: Python<'_>,
        pool: Py<Base>,
        get_running_loop: Py<PyAny>,
        shared: bool,
    ) -> PyResult<()> {
        awaitable::prepare(py)?;
        if self.pool.set(py, pool).is_err() {
            return Err(PyRuntimeError::new_err("a pool is initialised once"));
        }
        self.owns_pool.store(!shared, Ordering::Relaxed);
        let _ = self.get_running_loop.set(py, get_running_loop);
        Ok(())
    }

    /// The pool whose workers run the calls.
    #[getter]
    #[pyo3(name = "pool")]
    fn py_pool(&self, py: Python<'_>) -> PyResult<Py<Base>> {
        Ok(self.pool(py)?.clone().unbind())
    }

    /// Runs fn(*args, **kwargs) on a worker, in the caller's context, and returns an awaitable of its result.
    ///
    /// Never blocks: where the pool is full the call stands in line, and is taken up in its turn. Cancelling the
    /// awaitable takes the call back if it has not started. Raises PoolClosedError on a closed pool and
    /// PoolOverloadError where the call may not wait.
    #[pyo3(signature = (r#fn, /, *args, **kwargs))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        r#fn: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, Awaitable>> {
        self.start(py, r#fn, args, kwargs, Way::Plain)
            .map(|started| started.future)
    }

    /// As run(), with an awaitable of the admission where the call has to stand in line, and what takes it back.
    #[pyo3(signature = (r#fn, /, *args, **kwargs))]
    fn _enlist<'py>(
        &self,
        py: Python<'py>,
        r#fn: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<Bound<'py, PyDict>>,
    ) -> PyResult<(Bound<'py, Awaitable>, Option<Bound<'py, PyAny>>, Ticket)> {
        let started = self.start(py, r#fn, args, kwargs, Way::Told)?;
        let ticket = Ticket(started.ticket.unwrap_or_default());
        Ok((started.future, started.admission, ticket))
    }

    /// Accepts no more calls.
    fn _close(&self, py: Python<'_>) -> PyResult<()> {
        self.pool(py)?;
        self.scope.get().close();
        Ok(())
    }

    /// Waits, not on a loop's thread, until every call is done and, with a pool of its own, the workers are gone.
    fn _wait_closed(&self, py: Python<'_>) -> PyResult<()> {
        let scope = self.scope.get();
        let (waited, raised) = detached(py, None, |patience| scope.wait(patience));
        waited.map_err(|error| raised.unwrap_or_else(|| errors::raise(py, error, "aclose")))?;
        if self.owns_pool.load(Ordering::Relaxed) {
            // Not before: those that stand in line would be refused.
            let base = self.pool(py)?.get();
            let front = base.front(py)?;
            lifecycle::detach(py, || front.release());
            base.wait_gone(py, None, "aclose")?;
        }
        let mailboxes = std::mem::take(&mut *lock(&self.mailboxes));
        drop(mailboxes);
        Ok(())
    }

    /// Reports an exception of fn that nobody will ask for.
    fn _report(&self, r#fn: &Bound<'_, PyAny>, exception: Bound<'_, PyAny>) -> PyResult<()> {
        let py = r#fn.py();
        let front = self.pool(py)?.get().front(py)?;
        let raised = PyErr::from_value(exception);
        front.pools()[0].host().report(py, r#fn, raised, "task");
        Ok(())
    }

    /// No call is accepted any more.
    fn is_closed(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.scope.get().is_closed() || self.pool(py)?.get().front(py)?.is_closed())
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        // SAFETY: no token is needed to look at a cell that is written once; traversal runs while the thread is
        // attached, but PyO3 hands out no token for it.
        let py = unsafe { Python::assume_attached() };
        visit.call(self.pool.get(py))?;
        visit.call(self.get_running_loop.get(py))
    }
}
