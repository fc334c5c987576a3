//! Accepted tasks that are taken back, or cancelled, before a worker begins them.

use crate::pool::host::Host;
use crate::pool::shared::Core;
use crate::pool::sync::atomic::Ordering;
use crate::pool::sync::{Arc, contain};

impl<H: Host> Core<H> {
    /// Takes back at most `most` of the tasks that wait for a worker.
    pub fn extract_if(
        self: &Arc<Self>,
        most: usize,
        mut wanted: impl FnMut(&H::Task) -> bool,
    ) -> Vec<H::Task> {
        let mut taken = Vec::new();
        let mut others = Vec::new();
        // Once a task was passed over, all must be taken out and put back, or it would lose its turn.
        while taken.len() < most || !others.is_empty() {
            let Some(task) = self.queue.pop() else {
                break;
            };
            if taken.len() < most && wanted(&task) {
                taken.push(task);
            } else {
                others.push(task);
            }
        }
        // Back in their order, as if their submitters had just put them there.
        for task in others {
            self.queue.push(task);
        }
        self.wake_if_due();
        taken
    }

    pub fn cancel(self: &Arc<Self>, tasks: Vec<H::Task>) {
        if tasks.is_empty() {
            return;
        }
        let count = tasks.len() as u64;
        contain(|| self.host.cancelled(tasks));
        self.count_cancelled(count);
    }

    /// Counts tasks that entered but will not run.
    pub fn count_cancelled(self: &Arc<Self>, count: u64) {
        self.tallies.cancelled.fetch_add(count, Ordering::Release);
        if self.admission.leave_many(count) {
            self.let_in();
        } else {
            self.offer_permits();
        }
        self.watch.notify();
    }
}
