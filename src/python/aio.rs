//! `AsyncPool`: calls that loops of asyncio wait for.
//!
//! A worker puts what a call came to into the mailbox of the loop that waits for it, and wakes the loop if nobody has since
//! it last looked: so a loop is woken once for as many results as there are by the time that it looks.
//!
//! To be woken costs more than many a call takes. So a loop that has just made calls, and would go to sleep now, first
//! looks out for their results for a moment, if that has paid lately.

use super::awaitable::{self, Awaitable, Prospect, Source, current_context};
use super::base::{Base, Front, check_callable};
use super::call::{self, Guarded};
use super::errors::{self, Refusal};
use super::executor::SharedScope;
use super::future::Bells;
use super::gil;
use super::host::{Hooks, PyHost, name_of};
use super::known;
use super::lifecycle;
use super::switch::Turns;
use super::task::{Call, Task};
use super::wait::detached;
use crate::pool::sync::{Luck, lock};
use crate::pool::{Error, Remains};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple, PyWeakrefMethods, PyWeakrefReference};
use pyo3::{PyTraverseError, PyVisit, ffi, intern};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// What takes a call back that has not begun.
#[pyclass(frozen, module = "pyants", name = "_Ticket")]
pub struct Ticket(Py<Awaitable>);

#[pymethods]
impl Ticket {
    /// Takes the call back, which is then to be cancelled; False: it has begun, or is over.
    fn withdraw(&self, py: Python<'_>) -> bool {
        self.0.get().withdraw(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }
}

/// Where exceptions go that nobody waits for: to the panic handler, which is the worker's business, or to the log.
pub struct Reporter {
    hooks: Arc<Hooks>,
    pool: Remains<PyHost>,
    /// What tells the pool's workers from other threads.
    family: usize,
    /// In which process, counted by forks, the pool is.
    generation: u64,
}

/// An exception for a worker to report.
pub struct Report {
    func: Py<PyAny>,
    raised: PyErr,
}

impl Reporter {
    fn of(front: &Front) -> Self {
        let pool = &front.pools()[0];
        Reporter {
            hooks: Arc::clone(&pool.host().hooks),
            pool: pool.remains(),
            family: front.family_id(),
            generation: lifecycle::generation(),
        }
    }

    fn is_ours(&self) -> bool {
        self.generation == lifecycle::generation()
    }

    /// An exception that nobody waits for any more. A worker tells the panic handler itself. Any other thread, the loop's
    /// mostly, is no place for a user's handler, which may take its time: a worker is asked to. Where there is none, in a
    /// pool that is closed, and where there is no handler, the exception goes to the log.
    pub fn report(&self, py: Python<'_>, raised: PyErr, source: Source) {
        let func = match source {
            Source::Call(func) => func,
            Source::Refusal(func) => {
                let what = name_of(func.bind(py));
                let logger = || self.hooks.logger(py);
                return errors::log(
                    py,
                    &raised,
                    "error",
                    "nobody awaited the refused call of %s",
                    what,
                    logger,
                );
            }
        };
        let report = Report { func, raised };
        if self.is_ours() && crate::pool::home_id() == self.family {
            let mut report = Some(report);
            self.pool.with_host(|host| {
                if let Some(report) = report.take() {
                    report.report(py, host);
                }
            });
            // Of several pools behind one front, the one that is asked may be gone before this worker's.
            if let Some(report) = report {
                report.log(py, &self.hooks);
            }
            return;
        }
        if !self.is_ours() || !self.hooks.has_panic_handler() {
            return report.log(py, &self.hooks);
        }
        let mut report = Some(report);
        self.pool
            .with_host(|host| report.take().map(|report| host.leave_report(report)));
        match report {
            Some(report) => report.log(py, &self.hooks),
            None if call::detach(py, || self.pool.summon()) => {}
            // If the pool is gone by now, what it left went to the log.
            None => drop(self.pool.with_host(|host| host.log_reports(py))),
        }
    }
}

impl Report {
    /// On a worker's thread.
    pub fn report(self, py: Python<'_>, host: &PyHost) {
        host.report(py, self.func.bind(py), self.raised, "task");
    }

    pub fn log(self, py: Python<'_>, hooks: &Hooks) {
        hooks.log(py, self.func.bind(py), &self.raised, "task");
    }
}

pub enum Letter {
    /// The task has begun: it was admitted at the latest now. `false`: it was refused, as the future of the result tells.
    Admission(Py<PyAny>, bool),
    /// What the call returned. With it goes the context, for the thread that made it to let go of it: free-threaded builds
    /// make much of objects that others let go of.
    Returned(Py<Awaitable>, Py<PyAny>, Py<PyAny>),
    Raised(Py<Awaitable>, PyErr, Option<Source>),
    /// The call raised, which the worker has reported: it was cancelled meanwhile.
    Ended(Py<Awaitable>),
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
    letters: Mutex<Letters>,
    /// There are letters: for a loop that looks out.
    has_mail: AtomicBool,
    /// The loop is about to look out; or it never does, as it does not tell what else it has to do.
    will_look: AtomicBool,
    /// How many calls in a row it was in vain to look out for, or not tried. Written by the loop's thread.
    vain: AtomicU32,
    luck: Luck,
    pub reporter: Reporter,
    /// How often the loop has fetched its mail.
    fetched: AtomicU32,
    /// A thread tries to wake the loop, which failed.
    is_retrying: AtomicBool,
}

impl Mailbox {
    /// Puts a letter in, and wakes the loop if nobody has since it last looked.
    pub fn post(self: &Arc<Self>, py: Python<'_>, letter: Letter) {
        {
            let mut letters = lock(&self.letters);
            letters.letters.push_back(letter);
            self.has_mail.store(true, Ordering::Relaxed);
            if std::mem::replace(&mut letters.woken, true) {
                return;
            }
        }
        if let Some(failure) = self.wake_for_letters(py) {
            failure.write_unraisable(py, None);
            self.wake_loop_later();
        }
    }

    /// Wakes the loop for letters that are noted as told of; `Some`: it could not be woken for a reason of its own, and they are
    /// not noted so any more. Whoever is sooner wakes it for them then: the next letter, or a thread that tries again.
    fn wake_for_letters(self: &Arc<Self>, py: Python<'_>) -> Option<PyErr> {
        let failure = self.wake_loop(py).err()?;
        if self.is_over(py).unwrap_or(true) {
            self.give_up(py);
            return None;
        }
        lock(&self.letters).woken = false;
        Some(failure)
    }

    /// Tries again to wake the loop, after a while, and until it is woken or is over. Not by a worker, which has others to
    /// serve.
    fn wake_loop_later(self: &Arc<Self>) {
        const FIRST: Duration = Duration::from_millis(5);
        const LONGEST: Duration = Duration::from_secs(1);
        if self.is_retrying.swap(true, Ordering::Relaxed) {
            return;
        }
        let mailbox = Arc::downgrade(self);
        let retry = move || {
            let mut pause = FIRST;
            let try_again = |py: Python<'_>| {
                let mailbox = mailbox.upgrade();
                mailbox.is_some_and(|mailbox| mailbox.wake_loop_again(py))
            };
            loop {
                std::thread::sleep(pause);
                pause = (pause * 2).min(LONGEST);
                // Without an interpreter there is nobody to wake.
                if call::attach(try_again) != Some(true) {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("pyants-wake".to_owned());
        if thread.spawn(retry).is_err() {
            self.is_retrying.store(false, Ordering::Relaxed);
        }
    }

    /// Wakes the loop for letters that nobody has woken it for; `true`: it was tried in vain.
    fn wake_loop_again(self: &Arc<Self>, py: Python<'_>) -> bool {
        {
            let mut letters = lock(&self.letters);
            // From here on whoever fails to wake the loop starts another retry: the loop may fetch its mail, and get more, before
            // this one has ended.
            self.is_retrying.store(false, Ordering::Relaxed);
            if letters.woken || letters.letters.is_empty() {
                return false;
            }
            letters.woken = true;
        }
        // Unless somebody else tries already.
        self.wake_for_letters(py).is_some() && !self.is_retrying.swap(true, Ordering::Relaxed)
    }

    /// Has the loop fetch its mail. By way of Python code: a loop in debug mode looks at the frame that calls it, and a
    /// worker's thread has none of its own.
    fn wake_loop(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        let event_loop = self.event_loop(py)?;
        let collect = Bound::new(py, Collect::new(self))?;
        let woken = known::WAKE_LOOP
            .get(py)
            .guarded_call1((event_loop, &collect));
        if woken.is_err() {
            // The loop has not got it, so it is not what tells that the loop has forgotten its mail.
            collect.get().called.store(true, Ordering::Relaxed);
        }
        woken.map(drop)
    }

    fn event_loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.event_loop
            .bind(py)
            .upgrade()
            .ok_or_else(|| PyRuntimeError::new_err("the loop is gone"))
    }

    /// A worker, between two tasks: lets others in if it is time, the loop first if that is to fetch its mail.
    pub fn let_others_in(&self, py: Python<'_>, turns: &mut Turns, bells: &mut Bells) {
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
        self.event_loop(py)?.guarded_method1(how, (what,)).map(drop)
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
        match event_loop.getattr_opt(intern!(py, "_ready"))? {
            Some(ready) if !ready.is_truthy()? => {}
            Some(_) => return Ok(()),
            None => {
                // It does not tell any more.
                self.will_look.store(true, Ordering::Relaxed);
                return Ok(());
            }
        }
        // Who posts meanwhile need not wake the loop.
        if std::mem::replace(&mut lock(&self.letters).woken, true) {
            return Ok(());
        }
        let found = call::detach(py, || {
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

    /// It belongs to this process, not to one that this was forked from.
    pub fn is_ours(&self) -> bool {
        self.reporter.is_ours()
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
                    .guarded_method0(intern!(py, "is_closed"))?
                    .is_truthy()
            })
    }

    /// Nobody will fetch what is in it: calls are cancelled, results let go, and exceptions reported.
    fn give_up(&self, py: Python<'_>) {
        let letters = {
            let mut letters = lock(&self.letters);
            letters.woken = false;
            self.has_mail.store(false, Ordering::Relaxed);
            std::mem::take(&mut letters.letters)
        };
        for letter in letters {
            match letter {
                Letter::Admission(..) => {}
                Letter::Returned(call, ..) | Letter::Ended(call) => call.get().give_up(),
                Letter::Raised(call, raised, source) => {
                    call.get().give_up();
                    if let Some(source) = source {
                        self.reporter.report(py, raised, source);
                    }
                }
            }
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
        let soon = self.is_debugged(py);
        letters
            .into_iter()
            .map(|letter| Self::hand_over(py, letter, soon))
            .fold(Ok(()), PyResult::and)
    }

    /// In debug mode a loop tells which of its callbacks take long, and knows them by their handles: each needs its own.
    fn is_debugged(&self, py: Python<'_>) -> bool {
        let event_loop = self.event_loop.bind(py).upgrade();
        event_loop.is_some_and(|event_loop| {
            event_loop
                .guarded_method0(intern!(py, "get_debug"))
                .and_then(|debug| debug.is_truthy())
                .unwrap_or(false)
        })
    }

    fn hand_over(py: Python<'_>, letter: Letter, soon: bool) -> PyResult<()> {
        match letter {
            Letter::Admission(future, admitted) => settle(future.bind(py), admitted),
            Letter::Returned(future, result, context) => {
                drop(context);
                Awaitable::settle(future.bind(py), Ok(result), soon)
            }
            Letter::Raised(future, raised, source) => {
                Awaitable::settle(future.bind(py), Err((raised, source)), soon)
            }
            Letter::Ended(future) => Awaitable::end(future.bind(py), soon),
        }
    }
}

/// Settles a future of asyncio's own, unless it was cancelled meanwhile.
fn settle(future: &Bound<'_, PyAny>, result: bool) -> PyResult<()> {
    let py = future.py();
    if !future.guarded_method0(intern!(py, "done"))?.is_truthy()? {
        future.guarded_method1(intern!(py, "set_result"), (result,))?;
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

    /// A loop that is forgotten, and not closed, holds this, and the mail leads back to the loop. Of those that were not
    /// called yet there is one at a time for a mailbox, so that the mail is shown once.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if self.called.load(Ordering::Relaxed) {
            return Ok(());
        }
        // This does not wait: who holds the lock is attached, and neither runs Python code nor detaches meanwhile.
        for letter in &lock(&self.mailbox.letters).letters {
            match letter {
                Letter::Admission(future, _) => visit.call(future)?,
                Letter::Returned(call, result, context) => {
                    visit.call(call)?;
                    visit.call(result)?;
                    visit.call(context)?;
                }
                Letter::Raised(call, ..) | Letter::Ended(call) => visit.call(call)?,
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        self.give_up();
    }
}

impl Collect {
    /// The loop was closed, or is garbage, before it came to this.
    fn give_up(&self) {
        // In a forked child the parent's locks are not to be touched.
        if self.called.swap(true, Ordering::Relaxed) || !self.mailbox.is_ours() {
            return;
        }
        call::aside(|py| self.mailbox.give_up(py));
    }
}

impl Drop for Collect {
    fn drop(&mut self) {
        self.give_up();
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
    abandon_on_cancel: AtomicBool,
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
            && mailbox.is_ours()
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
            letters: Mutex::new(Letters {
                letters: VecDeque::new(),
                woken: false,
            }),
            has_mail: AtomicBool::new(false),
            will_look: AtomicBool::new(!is_asyncios_own(event_loop)?),
            vain: AtomicU32::new(0),
            luck: Luck::new(LOOKOUT),
            reporter: Reporter::of(self.pool(py)?.get().front(py)?),
            fetched: AtomicU32::new(0),
            is_retrying: AtomicBool::new(false),
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
        let event_loop = get_running_loop.bind(py).guarded_call0()?;
        let pool = self.pool(py)?;
        let front = pool.get().front(py)?;
        check_callable(func)?;
        refuse_async(func)?;
        let mailbox = self.mailbox(py, &event_loop)?;
        let admission = match way {
            Way::Plain => None,
            Way::Told => Some(event_loop.guarded_method0(intern!(py, "create_future"))?),
        };
        let context = current_context(py)?;
        mailbox.call_to_look_out(py)?;
        let scope = self.scope.get();
        let is_open = scope.enter();
        let prospect = Prospect {
            call: Call::new(func.clone().unbind(), args, kwargs),
            context: context.unbind(),
            admission: admission.clone().map(Bound::unbind),
            scope: Arc::clone(&scope),
            pool: pool.clone().unbind(),
        };
        let abandons = self.abandon_on_cancel.load(Ordering::Relaxed);
        let call = Awaitable::new(event_loop.unbind(), mailbox, abandons, prospect);
        let call = match Bound::new(py, call) {
            Ok(call) => call,
            Err(failure) => {
                if is_open {
                    scope.leave();
                }
                return Err(failure);
            }
        };
        let enlisted = if is_open {
            front.enlist(py, Task::Async(call.clone().unbind()))
        } else {
            Err(Refusal::Pool(Error::Closed))
        };
        let mut started = Started {
            call,
            admission: None,
        };
        match enlisted {
            Ok(None) => {}
            Ok(Some(place)) => {
                started.call.get().stand(place);
                // The caller is told when the task is taken up.
                started.admission = admission;
            }
            // As what the call raises, it is told where the call is awaited, `gather(..., return_exceptions=True)` say.
            Err(refusal) => {
                let reason = refusal.into_exception(py);
                started.call.get().refuse_now(py, reason);
                if is_open {
                    scope.leave();
                }
            }
        }
        Ok(started)
    }
}

/// What a caller wants to be told of its call besides the result.
enum Way {
    Plain,
    /// When it is admitted.
    Told,
}

struct Started<'py> {
    call: Bound<'py, Awaitable>,
    admission: Option<Bound<'py, PyAny>>,
}

/// A call of an async function makes a coroutine and runs nothing, and no worker would await that.
fn refuse_async(func: &Bound<'_, PyAny>) -> PyResult<()> {
    if !awaitable::is_async(func)? {
        return Ok(());
    }
    Err(PyTypeError::new_err(format!(
        "fn must not be an async function, which a worker cannot await: await {} directly",
        name_of(func)
    )))
}

/// The loop goes through what it is to do at once as asyncio's own loops do, and so tells by `_ready` whether there is any.
fn is_asyncios_own(event_loop: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = event_loop.py();
    // These are asyncio's private names: a loop without them is as any other.
    let run_once = intern!(py, "_run_once");
    let asyncio = py.import(intern!(py, "asyncio"))?;
    let Some(base) = asyncio.getattr_opt(intern!(py, "BaseEventLoop"))? else {
        return Ok(false);
    };
    let base = base.getattr_opt(run_once)?;
    let own = event_loop.get_type().getattr_opt(run_once)?;
    let goes_by_it = own.zip(base).is_some_and(|(own, base)| own.is(&base));
    Ok(goes_by_it && event_loop.hasattr(intern!(py, "_ready"))?)
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
            abandon_on_cancel: AtomicBool::new(false),
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
        abandon_on_cancel: bool,
    ) -> PyResult<()> {
        awaitable::prepare(py)?;
        if self.pool.set(py, pool).is_err() {
            return Err(PyRuntimeError::new_err("a pool is initialised once"));
        }
        self.owns_pool.store(!shared, Ordering::Relaxed);
        self.abandon_on_cancel
            .store(abandon_on_cancel, Ordering::Relaxed);
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
    /// Never blocks: where the pool is full the call stands in line, and is taken up in its turn. Awaiting it raises
    /// what fn raised, PoolClosedError on a closed pool, and PoolOverloadError where the call may not wait. Cancelling
    /// takes the call back if it has not started; else see abandon_on_cancel.
    #[pyo3(signature = (r#fn, /, *args, **kwargs))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        r#fn: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, Awaitable>> {
        self.start(py, r#fn, args, kwargs, Way::Plain)
            .map(|started| started.call)
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
        let Started { call, admission } = self.start(py, r#fn, args, kwargs, Way::Told)?;
        let ticket = Ticket(call.clone().unbind());
        Ok((call, admission, ticket))
    }

    /// Accepts calls again; opens the pool again if it is its own.
    fn _reopen(&self, py: Python<'_>) -> PyResult<()> {
        let pool = self.pool(py)?;
        if self.owns_pool.load(Ordering::Relaxed) {
            pool.guarded_method0(intern!(py, "reboot"))?;
        }
        self.scope.get().open();
        Ok(())
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
            call::detach(py, || front.release());
            base.wait_gone(py, None, "aclose")?;
        }
        let mailboxes = std::mem::take(&mut *lock(&self.mailboxes));
        drop(mailboxes);
        Ok(())
    }

    /// Reports an exception of fn that nobody will ask for.
    fn _report(&self, r#fn: &Bound<'_, PyAny>, exception: Bound<'_, PyAny>) -> PyResult<()> {
        let py = r#fn.py();
        let reporter = Reporter::of(self.pool(py)?.get().front(py)?);
        let source = Source::Call(r#fn.clone().unbind());
        reporter.report(py, PyErr::from_value(exception), source);
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
