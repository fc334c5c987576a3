//! One pool or several behind one front, made anew in a forked child. How tasks are submitted to it is in submit.rs.

use crate::pool::internal::sync::WaitLimit;
use crate::pool::{Error, MultiPool, Options, OptionsError, Pool, Stats, Strategy};
use crate::python::interpreter::contextvars;
use crate::python::interpreter::exit::{self, Closer};
use crate::python::values::errors::{self, Refusal};
use crate::python::values::options::{self, Given};
use crate::python::work::host::PyHost;
use pyo3::prelude::*;
use std::sync::atomic::AtomicUsize;

pub(super) enum Pools {
    One(Pool<PyHost>),
    Many(Box<MultiPool<PyHost>>),
}

/// One pool or several, and what is needed to make them anew in a forked child.
pub struct Front {
    pub(super) pools: Pools,
    options: Options,
    strategy: Option<(usize, Strategy)>,
    /// How many queued calls of loops were withdrawn since they were last removed from the queues.
    pub(super) withdrawn: AtomicUsize,
}

impl Front {
    pub(super) fn new(
        py: Python<'_>,
        given: Given,
        strategy: Option<(usize, Strategy)>,
    ) -> PyResult<Self> {
        let (options, hooks) = (given.options, given.hooks);
        let host = || PyHost::new(hooks.clone_ref(py), options.name.clone(), given.is_daemon);
        let pools = match strategy {
            None => Pool::with_host(host(), options.clone()).map(Pools::One),
            Some((size, strategy)) => MultiPool::with_hosts(size, strategy, &options, host)
                .map(|multi| Pools::Many(Box::new(multi))),
        };
        let pools = pools.map_err(|error: OptionsError| options::bad_options(py, &error))?;
        let front = Front {
            pools,
            options,
            strategy,
            withdrawn: AtomicUsize::new(0),
        };
        front.lend_context(py);
        let closer = |pool: &Pool<PyHost>| -> Box<dyn Closer> { Box::new(pool.remains()) };
        if !exit::register(front.pools().iter().map(closer).collect()) {
            return Err(exiting(py));
        }
        Ok(front)
    }

    /// If threads inherit their context: has workers that are started from now on begin in a copy of the caller's. Must
    /// be called before a task is offered, since any worker may start another one for it.
    #[inline]
    pub(super) fn lend_context(&self, py: Python<'_>) {
        #[cold]
        fn lend(front: &Front, py: Python<'_>) {
            for pool in front.pools() {
                if pool.capacity().is_none_or(|most| pool.running() < most) {
                    pool.host().hooks.lend_context(py);
                }
            }
        }
        if contextvars::are_inherited() {
            lend(self, py);
        }
    }

    /// The same with empty pools, for a forked child.
    pub(super) fn renewed(&self, py: Python<'_>) -> PyResult<Self> {
        let first = &self.pools()[0];
        let options = Options {
            capacity: first.capacity(),
            ..self.options.clone()
        };
        let given = Given {
            options,
            hooks: first.host().hooks.clone_ref(py),
            is_daemon: first.host().is_daemon,
        };
        let front = Front::new(py, given, self.strategy)?;
        if self.is_closed() {
            front.release();
        }
        Ok(front)
    }

    pub fn pools(&self) -> &[Pool<PyHost>] {
        match &self.pools {
            Pools::One(pool) => std::slice::from_ref(pool),
            Pools::Many(multi) => multi.pools(),
        }
    }

    pub(super) fn sum<N: std::iter::Sum>(&self, number: impl Fn(&Pool<PyHost>) -> N) -> N {
        self.pools().iter().map(number).sum()
    }

    /// Whether a worker could not be set up, so that the pool closed itself.
    pub fn is_broken(&self) -> bool {
        self.pools().iter().any(Pool::is_broken)
    }

    /// The error of a closed pool.
    pub fn check_open(&self) -> Result<(), Refusal> {
        if !self.is_closed() {
            return Ok(());
        }
        Err(Refusal::Pool(if self.is_broken() {
            Error::Broken
        } else {
            Error::Closed
        }))
    }

    /// The id that tells these pools from all others, for waits for their tasks.
    pub fn deadlock_group_id(&self) -> usize {
        self.pools()[0].deadlock_group_id()
    }

    /// The largest number of workers; `None`: unlimited.
    pub fn capacity(&self) -> Option<u32> {
        self.sum(|pool| pool.capacity().map(i64::from))
            .map(|sum| u32::try_from(sum).unwrap_or(u32::MAX))
    }

    /// Waits until all workers have left; the error comes with the indices of the pools whose workers have not.
    pub(super) fn watch_gone(
        &self,
        wait_limit: &mut WaitLimit<'_>,
    ) -> Result<(), (Error, Vec<usize>)> {
        match &self.pools {
            Pools::One(pool) => pool
                .watch_gone(wait_limit)
                .map_err(|error| (error, Vec::new())),
            Pools::Many(multi) => multi.watch_gone(wait_limit),
        }
    }
}

/// The methods that one pool and several have alike.
macro_rules! alike {
    ($($visible:vis fn $name:ident($($argument:ident: $type:ty)?) -> $result:ty;)*) => {
        impl Front {
            $($visible fn $name(&self, $($argument: $type)?) -> $result {
                match &self.pools {
                    Pools::One(pool) => pool.$name($($argument)?),
                    Pools::Many(multi) => multi.$name($($argument)?),
                }
            })*
        }
    };
}

alike! {
    pub fn is_closed() -> bool;
    pub fn release() -> bool;
    pub(super) fn reboot() -> ();
    pub(super) fn stats() -> Stats;
    pub(super) fn watch_idle(wait_limit: &mut WaitLimit<'_>) -> Result<(), Error>;
}

pub(super) fn exiting(py: Python<'_>) -> PyErr {
    errors::closed(py, "can't open a pool at interpreter shutdown")
}
