//! The only way from native code into Python: every call into Python goes through this file.
//!
//! Two things can go wrong when native code calls Python, and without this file both crashed the process.
//!
//! **The interpreter ends while a thread is in Python, or on its way back into it.** Up to CPython 3.13 the interpreter
//! ends such a thread by `pthread_exit`, which unwinds its stack; Rust frames cannot be unwound this way, and abort the
//! process. From 3.14 on CPython blocks the thread for ever instead. [`guard_thread`] does the same on older versions:
//! once for each thread it registers a cleanup handler with the C library, which `pthread_exit` calls *before* it
//! unwinds the first frame, and which does not return while the interpreter is ending.
//!
//! **A destructor runs Python while an exception is pending.** An object may be dropped at any time, even while its
//! thread unwinds Python frames with an exception set, and code that is called with an exception set misbehaves in
//! every possible way. [`aside`] saves and restores the exception.

use super::gil::{self, Gate};
use pyo3::call::PyCallArgs;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

/// PyO3's calls, made on a guarded thread.
pub trait Guarded<'py>: PyAnyMethods<'py> {
    /// `self()`.
    #[inline]
    fn guarded_call0(&self) -> PyResult<Bound<'py, PyAny>> {
        guard_thread();
        self.call0()
    }

    /// `self(*args)`.
    #[inline]
    fn guarded_call1(&self, args: impl PyCallArgs<'py>) -> PyResult<Bound<'py, PyAny>> {
        guard_thread();
        self.call1(args)
    }

    /// `self(*args, **kwargs)`.
    #[inline]
    fn guarded_call(
        &self,
        args: impl PyCallArgs<'py>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        guard_thread();
        self.call(args, kwargs)
    }

    /// `self.name()`.
    #[inline]
    fn guarded_method0(
        &self,
        name: impl IntoPyObject<'py, Target = PyString>,
    ) -> PyResult<Bound<'py, PyAny>> {
        guard_thread();
        self.call_method0(name)
    }

    /// `self.name(*args)`.
    #[inline]
    fn guarded_method1(
        &self,
        name: impl IntoPyObject<'py, Target = PyString>,
        args: impl PyCallArgs<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        guard_thread();
        self.call_method1(name, args)
    }

    /// `self.name(*args, **kwargs)`.
    #[inline]
    fn guarded_method(
        &self,
        name: impl IntoPyObject<'py, Target = PyString>,
        args: impl PyCallArgs<'py>,
        kwargs: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyAny>> {
        guard_thread();
        self.call_method(name, args, Some(kwargs))
    }
}

impl<'py> Guarded<'py> for Bound<'py, PyAny> {}

/// Attaches this thread, which native code created, while `body` runs; `None`: there is no interpreter, or it is
/// ending.
pub fn attach<R>(body: impl FnOnce(Python<'_>) -> R) -> Option<R> {
    guard_thread();
    Python::try_attach(body)
}

/// Runs `body` detached from the interpreter, as everything that blocks or makes system calls has to.
pub fn detach<R: Send>(py: Python<'_>, body: impl FnOnce() -> R + Send) -> R {
    guard_thread();
    let result = py.detach(|| {
        gil::given_up();
        body()
    });
    gil::taken();
    result
}

/// As `detach`, for a worker that must pass the gate before it attaches again.
pub fn detach_to_gate<R>(py: Python<'_>, wait: impl FnOnce() -> (R, Gate)) -> R {
    guard_thread();
    let wait = OnThisThread(wait);
    let OnThisThread((result, gate)) = py.detach(move || {
        gil::given_up();
        OnThisThread(wait.call())
    });
    drop(gate);
    gil::taken();
    result
}

/// A value that stays on its thread, which `Python::detach` cannot know.
struct OnThisThread<T>(T);

// SAFETY: `Python::detach` calls its closure, and returns the result, on the calling thread. It demands `Send` only to
// keep values bound to the interpreter out of the closure. This wraps only the core's wait, which knows nothing of
// Python and so holds nothing bound to it, its result, the wakeups, and the gate's lock.
unsafe impl<T> Send for OnThisThread<T> {}

impl<R, F: FnOnce() -> R> OnThisThread<F> {
    fn call(self) -> R {
        (self.0)()
    }
}

/// Runs `body` attached, from code that may be part of a destructor, with the thread's pending exception saved around
/// it. `None`: there is no interpreter any more.
pub fn aside<R>(body: impl FnOnce(Python<'_>) -> R) -> Option<R> {
    attach(|py| {
        let _pending = Pending::set_aside(py);
        body(py)
    })
}

/// Drops Python objects while attached. If there is no interpreter any more they are leaked.
pub fn drop_attached<T>(objects: T) {
    let mut objects = Some(objects);
    attach(|_| drop(objects.take()));
    std::mem::forget(objects);
}

/// A pending exception, to be set again.
struct Pending<'py> {
    #[allow(dead_code)] // Its owner is attached.
    py: Python<'py>,
    #[cfg(Py_3_12)]
    exception: *mut ffi::PyObject,
    #[cfg(not(Py_3_12))]
    exception: [*mut ffi::PyObject; 3],
}

impl<'py> Pending<'py> {
    fn set_aside(py: Python<'py>) -> Self {
        #[cfg(Py_3_12)]
        // SAFETY: this thread is attached. The reference that is returned, if any, is owned from here on.
        let exception = unsafe { ffi::PyErr_GetRaisedException() };
        #[cfg(not(Py_3_12))]
        let exception = {
            let mut parts = [std::ptr::null_mut(); 3];
            let [class, value, traceback] = &mut parts;
            // SAFETY: as above, for the three references that make up an exception before 3.12.
            unsafe { ffi::PyErr_Fetch(class, value, traceback) };
            parts
        };
        Pending { py, exception }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        #[cfg(Py_3_12)]
        // SAFETY: this thread is attached, and gives away the reference that it owns (null clears the exception).
        unsafe {
            ffi::PyErr_SetRaisedException(self.exception);
        }
        #[cfg(not(Py_3_12))]
        {
            let [class, value, traceback] = self.exception;
            // SAFETY: as above.
            unsafe { ffi::PyErr_Restore(class, value, traceback) };
        }
    }
}

#[cfg(not(Py_3_14))]
mod guard {
    use pyo3::ffi;
    use std::cell::{Cell, OnceCell};
    use std::ffi::{CStr, c_char, c_int, c_void};
    use std::sync::OnceLock;
    use std::time::Duration;

    thread_local! {
        /// The cell has no destructor, so it can also be read in the destructors of other thread-locals.
        static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
        static GUARD: OnceCell<Guard> = const { OnceCell::new() };
    }

    /// From here until it ends, this thread blocks for ever, instead of being unwound, when the interpreter ends.
    #[inline]
    pub fn guard_thread() {
        if !IS_GUARDED.get() {
            register();
        }
    }

    type Routine = unsafe extern "C" fn(*mut c_void);
    type Push = unsafe extern "C" fn(*mut Buffer, Routine, *mut c_void);
    type Pop = unsafe extern "C" fn(*mut Buffer, c_int);

    /// `struct _pthread_cleanup_buffer` of glibc and `struct __ptcb` of musl: the C library's record of a handler.
    #[repr(C)]
    struct Buffer {
        routine: *const c_void,
        argument: *mut c_void,
        #[cfg(not(target_env = "musl"))]
        canceltype: c_int,
        previous: *mut Buffer,
    }

    impl Buffer {
        const fn new() -> Self {
            Buffer {
                routine: std::ptr::null(),
                argument: std::ptr::null_mut(),
                #[cfg(not(target_env = "musl"))]
                canceltype: 0,
                previous: std::ptr::null_mut(),
            }
        }
    }

    unsafe extern "C" {
        fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    }

    /// The functions that register a cleanup handler with the C library and remove the last one: in the Linux Standard
    /// Base, hence in glibc, and in musl. Where they are missing (macOS), `pthread_exit` does not unwind either.
    #[derive(Clone, Copy)]
    struct Handlers {
        push: Push,
        pop: Pop,
    }

    impl Handlers {
        fn of_the_system() -> Option<Self> {
            static HANDLERS: OnceLock<Option<Handlers>> = OnceLock::new();
            const PUSH: &CStr = c"_pthread_cleanup_push";
            const POP: &CStr = c"_pthread_cleanup_pop";
            // SAFETY: a null handle (RTLD_DEFAULT on Linux) searches what the process has loaded already.
            let find = |name: &CStr| unsafe { dlsym(std::ptr::null_mut(), name.as_ptr()) };
            *HANDLERS.get_or_init(|| {
                Some(Handlers {
                    // SAFETY: the function of this name has this type; a null pointer becomes `None`.
                    push: unsafe { std::mem::transmute::<*mut c_void, Option<Push>>(find(PUSH)) }?,
                    // SAFETY: as above.
                    pop: unsafe { std::mem::transmute::<*mut c_void, Option<Pop>>(find(POP)) }?,
                })
            })
        }

        /// The buffer that was pushed last and not popped.
        fn last(self) -> *mut Buffer {
            let mut probe = Buffer::new();
            // SAFETY: the probe lives until it is popped, at once. Pushing it stores the former last buffer in it.
            unsafe {
                (self.push)(&raw mut probe, sleep_for_ever, std::ptr::null_mut());
                (self.pop)(&raw mut probe, 0);
            }
            probe.previous
        }
    }

    /// The thread's registered handler. Dropped when the thread ends, or never: while the interpreter is ending the
    /// handler does not return, and the destructors of thread-locals run after the handlers.
    struct Guard {
        handlers: Handlers,
        buffer: *mut Buffer,
    }

    impl Drop for Guard {
        fn drop(&mut self) {
            // Destructors of other thread-locals may call Python after this one, and guard the thread anew.
            IS_GUARDED.set(false);
            let last = self.handlers.last();
            if last == self.buffer {
                // SAFETY: this thread pushed it, and it is the next to be popped. It is not run.
                unsafe { (self.handlers.pop)(self.buffer, 0) };
            } else if !last.is_null() {
                // Other code has pushed a buffer on top, which points to ours: ours stays.
                return;
            }
            // SAFETY: it comes from `Box::into_raw`, and the C library no longer refers to it: either it was just
            // popped, or there are no buffers at all, as after `pthread_exit` has called every handler.
            drop(unsafe { Box::from_raw(self.buffer) });
        }
    }

    /// The C library calls the handler when it is about to leave the frame that holds the buffer. Ours is on the heap,
    /// in none of the thread's frames: glibc compares its address with the stack pointer, counted down from the top of
    /// the stack, and takes it as left at the first step; musl calls all handlers without comparing. So it is called
    /// before any frame is unwound (tests/process/test_exit_states.py checks this).
    #[cold]
    fn register() {
        IS_GUARDED.set(true);
        let Some(handlers) = Handlers::of_the_system() else {
            return;
        };
        let buffer = Box::into_raw(Box::new(Buffer::new()));
        // SAFETY: the buffer is valid until `Guard` pops it. Handlers of callers further up stay registered below it.
        unsafe { (handlers.push)(buffer, sleep_for_ever, std::ptr::null_mut()) };
        // If the thread's own guard is dropped already (destructor of another thread-local), this one is leaked.
        let guard = std::mem::ManuallyDrop::new(Guard { handlers, buffer });
        let _ = GUARD.try_with(|own| {
            let guard = std::mem::ManuallyDrop::into_inner(guard);
            own.set(guard).map_err(std::mem::forget)
        });
    }

    /// Called by `pthread_exit`. Returns, and so lets the thread end, unless the interpreter is ending.
    unsafe extern "C" fn sleep_for_ever(_: *mut c_void) {
        if is_ending() {
            loop {
                std::thread::sleep(Duration::MAX);
            }
        }
    }

    fn is_ending() -> bool {
        #[cfg(Py_3_13)]
        // SAFETY: may be called at any time.
        let finalizing = unsafe { ffi::Py_IsFinalizing() } != 0;
        #[cfg(not(Py_3_13))]
        // SAFETY: as above; this is the same function, by the name it had before it became public.
        let finalizing = unsafe { _Py_IsFinalizing() } != 0;
        // SAFETY: as above. An interpreter that is gone no longer says that it is finalizing.
        finalizing || unsafe { ffi::Py_IsInitialized() } == 0
    }

    #[cfg(not(Py_3_13))]
    unsafe extern "C" {
        fn _Py_IsFinalizing() -> c_int;
    }
}

#[cfg(Py_3_14)]
mod guard {
    /// This interpreter already does by itself what the guard does on older ones.
    #[inline]
    pub fn guard_thread() {}
}

pub use guard::guard_thread;
