//! The mailbox of an asyncio loop: the outcomes of the calls that it waits for.
//!
//! A worker puts an outcome into the mailbox of the loop that waits for it, and wakes the loop unless it was woken
//! since it last looked: so the loop is woken once for all the results that are there by the time it looks.
//!
//! Waking costs more than many a call takes. So a loop that has just made calls, and would go to sleep now, first spins
//! for a moment until their results come, if that has paid lately.

use super::async_call::{AsyncCall, Letter, Post};
use super::event_loop::{EventLoop, Ready};
use super::spin::LoopSpin;
use crate::pool::internal::sync::lock;
use crate::python::interpreter::call::{self, Guarded};
use crate::python::interpreter::lookup;
use crate::python::interpreter::turns::Turns;
use crate::python::interpreter::wait::Wakeups;
use crate::python::values::reporter::Reporter;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit, intern};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

#[derive(Default)]
struct Letters {
    letters: VecDeque<Letter>,
    /// The loop was woken and has not looked yet, or is spinning.
    woken: bool,
}

/// The outcomes of one loop's calls, until the loop fetches them.
pub struct Mailbox {
    /// A reference to itself, for the callbacks given to the loop.
    own: Weak<Mailbox>,
    event_loop: EventLoop,
    letters: Mutex<Letters>,
    /// Whether there are letters, for a loop that spins.
    has_mail: AtomicBool,
    spin: LoopSpin,
    reporter: Reporter,
    /// How often the loop has fetched its mail.
    fetched: AtomicU32,
    /// Waking the loop failed, and a thread is retrying.
    is_retrying: AtomicBool,
}

impl Mailbox {
    /// A mailbox for this loop.
    pub fn new(event_loop: &Bound<'_, PyAny>, reporter: Reporter) -> PyResult<Arc<Self>> {
        let (py, event_loop) = (event_loop.py(), EventLoop::new(event_loop)?);
        let spin = LoopSpin::new();
        if !event_loop.is_asyncios_own(py)? {
            spin.never();
        }
        Ok(Arc::new_cyclic(|own| Mailbox {
            own: Weak::clone(own),
            event_loop,
            letters: Mutex::default(),
            has_mail: AtomicBool::new(false),
            spin,
            reporter,
            fetched: AtomicU32::new(0),
            is_retrying: AtomicBool::new(false),
        }))
    }

    /// Whether the mailbox belongs to a loop that is, or was, at that address.
    pub fn is_at(&self, event_loop: &Bound<'_, PyAny>) -> bool {
        self.event_loop.is_at(event_loop)
    }

    /// Whether the mailbox belongs to this loop, and not to a former one at the same address.
    pub fn is_of(&self, event_loop: &Bound<'_, PyAny>) -> bool {
        self.event_loop.is(event_loop)
    }

    /// Whether the loop is closed or gone and runs no more callbacks.
    pub fn is_over(&self, py: Python<'_>) -> PyResult<bool> {
        self.event_loop.is_over(py)
    }

    /// Wakes the loop for letters already marked as `woken`, or gives them up if it is over. If that fails the mark is
    /// removed, so that the next letter or a retry, whichever comes first, wakes the loop for them.
    fn wake_for_letters(&self, py: Python<'_>) -> PyResult<()> {
        self.wake_loop(py).or_else(|failure| {
            if self.is_over(py).unwrap_or(true) {
                self.give_up(py);
                return Ok(());
            }
            lock(&self.letters).woken = false;
            Err(failure)
        })
    }

    /// Retries to wake the loop, until it is woken or over. Not on a worker, which has other callers to serve.
    fn wake_loop_later(&self) {
        const FIRST: Duration = Duration::from_millis(5);
        const LONGEST: Duration = Duration::from_secs(1);
        if self.is_retrying.swap(true, Ordering::Relaxed) {
            return;
        }
        let mailbox = Weak::clone(&self.own);
        let retry = move || {
            let mut pause = FIRST;
            let try_again = |py: Python<'_>| {
                let mailbox = mailbox.upgrade();
                mailbox.is_some_and(|mailbox| mailbox.wake_loop_again(py))
            };
            loop {
                std::thread::sleep(pause);
                pause = (pause * 2).min(LONGEST);
                // Without an interpreter there is no loop to wake.
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

    /// Wakes the loop for letters that it was not woken for yet; `true`: that failed.
    fn wake_loop_again(&self, py: Python<'_>) -> bool {
        {
            let mut letters = lock(&self.letters);
            // From here on a thread that fails to wake the loop starts another retry: the loop may fetch its mail, and
            // get more, before this one has ended.
            self.is_retrying.store(false, Ordering::Relaxed);
            if letters.woken || letters.letters.is_empty() {
                return false;
            }
            letters.woken = true;
        }
        // Unless another thread is retrying already.
        self.wake_for_letters(py).is_err() && !self.is_retrying.swap(true, Ordering::Relaxed)
    }

    /// Has the loop fetch its mail. Goes through Python code, since a loop in debug mode looks at the frame of its
    /// caller, and a worker's thread has none of its own.
    fn wake_loop(&self, py: Python<'_>) -> PyResult<()> {
        let event_loop = self.event_loop.get(py)?;
        let collect = Bound::new(py, Collect::new(self))?;
        let woken = lookup::WAKE_LOOP.invoke(py, (event_loop, &collect));
        if woken.is_err() {
            // The loop has not got it, so dropping it must not count as the loop dropping its mail.
            collect.get().called.store(true, Ordering::Relaxed);
        }
        woken.map(drop)
    }

    /// On the loop's thread, which is about to make a call: has it spin for the result before it goes to sleep.
    pub fn call_to_spin(&self, py: Python<'_>) -> PyResult<()> {
        if !self.spin.is_wanted() {
            return Ok(());
        }
        let callback = SpinForResults {
            mailbox: Weak::clone(&self.own),
            called: AtomicBool::new(false),
        };
        self.event_loop.call_soon(py, callback)
    }

    /// On the loop's thread: if it has nothing else to do, spins for mail for a moment, and delivers it.
    fn spin(&self, py: Python<'_>) -> PyResult<()> {
        self.spin.begin();
        match self.event_loop.ready(py)? {
            Ready::Nothing => {}
            Ready::Something => return Ok(()),
            Ready::Unknown => {
                self.spin.never();
                return Ok(());
            }
        }
        // From here on a thread that posts need not wake the loop.
        if std::mem::replace(&mut lock(&self.letters).woken, true) {
            return Ok(());
        }
        self.spin.spin(py, || self.has_mail.load(Ordering::Relaxed));
        self.deliver(py)
    }

    /// No loop will fetch the letters: cancels the calls, drops their results, and reports exceptions.
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

    /// On the loop's thread: delivers what has come, in portions, so that the loop's other work goes on.
    fn deliver(&self, py: Python<'_>) -> PyResult<()> {
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
            self.event_loop.call_soon(py, Collect::new(self))
        } else {
            Ok(())
        };
        self.hand_out(py, taken).and(again)
    }

    /// Delivers all letters, even if an exception such as Ctrl-C comes while one is being delivered.
    fn hand_out(&self, py: Python<'_>, letters: Vec<Letter>) -> PyResult<()> {
        let soon = self.event_loop.is_debugged(py);
        letters
            .into_iter()
            .map(|letter| Self::hand_over(py, letter, soon))
            .fold(Ok(()), PyResult::and)
    }

    fn hand_over(py: Python<'_>, letter: Letter, soon: bool) -> PyResult<()> {
        match letter {
            Letter::Admission(future, admitted) => settle(future.bind(py), admitted),
            Letter::Returned(future, result, context) => {
                drop(context);
                AsyncCall::settle(future.bind(py), Ok(result), soon)
            }
            Letter::Raised(future, raised, source) => {
                AsyncCall::settle(future.bind(py), Err((raised, source)), soon)
            }
            Letter::Ended(future) => AsyncCall::end(future.bind(py), soon),
        }
    }
}

impl Post for Mailbox {
    /// Puts a letter in, and wakes the loop unless it was woken since it last looked.
    fn post(&self, py: Python<'_>, letter: Letter) {
        {
            let mut letters = lock(&self.letters);
            letters.letters.push_back(letter);
            self.has_mail.store(true, Ordering::Relaxed);
            if std::mem::replace(&mut letters.woken, true) {
                return;
            }
        }
        if let Err(failure) = self.wake_for_letters(py) {
            failure.write_unraisable(py, None);
            self.wake_loop_later();
        }
    }

    fn let_others_in(&self, py: Python<'_>, turns: &mut Turns, wakeups: &mut Wakeups) {
        if self.has_mail.load(Ordering::Relaxed) {
            let fetched = self.fetched.load(Ordering::Relaxed);
            turns.let_loop_in(py, wakeups, || {
                self.fetched.load(Ordering::Relaxed) != fetched
            });
        } else {
            turns.let_others_in(py, true, wakeups);
        }
    }

    fn reporter(&self) -> &Reporter {
        &self.reporter
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

/// The callback by which a loop fetches its mail.
#[pyclass(frozen, module = "pyants", name = "_Collect")]
struct Collect {
    mailbox: Arc<Mailbox>,
    called: AtomicBool,
}

impl Collect {
    fn new(mailbox: &Mailbox) -> Self {
        Collect {
            mailbox: mailbox.own.upgrade().expect("whoever borrows it has one"),
            called: AtomicBool::new(false),
        }
    }

    /// The loop was closed, or is garbage, before it called this.
    fn give_up(&self) {
        // In a forked child the parent's locks must not be touched.
        if self.called.swap(true, Ordering::Relaxed) || !self.mailbox.is_ours() {
            return;
        }
        call::aside(|py| self.mailbox.give_up(py));
    }
}

#[pymethods]
impl Collect {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        self.called.store(true, Ordering::Relaxed);
        self.mailbox.deliver(py)
    }

    /// A forgotten loop that was never closed holds this object, and the mail leads back to the loop. At most one that
    /// was not called yet exists for each mailbox, so the mail is visited once.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if self.called.load(Ordering::Relaxed) {
            return Ok(());
        }
        // Does not block: a thread with the lock is attached and neither runs Python code nor detaches meanwhile.
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

impl Drop for Collect {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// The callback by which a loop spins for mail that may come soon.
#[pyclass(frozen, module = "pyants", name = "_SpinForResults")]
struct SpinForResults {
    /// Weak, or a loop that does not run would keep the pool alive.
    mailbox: Weak<Mailbox>,
    called: AtomicBool,
}

#[pymethods]
impl SpinForResults {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        self.called.store(true, Ordering::Relaxed);
        self.mailbox
            .upgrade()
            .map_or(Ok(()), |mailbox| mailbox.spin(py))
    }
}

impl Drop for SpinForResults {
    fn drop(&mut self) {
        if *self.called.get_mut() {
            return;
        }
        if let Some(mailbox) = self.mailbox.upgrade() {
            mailbox.spin.begin();
        }
    }
}
