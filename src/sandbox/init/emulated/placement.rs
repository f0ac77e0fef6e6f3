//! Which processor the supervisor and the thread that calls it run on.
//!
//! A call costs least where the two take turns on one processor: waking another one takes longer
//! than most calls do, on a virtual machine above all. The kernel is asked to wake each where the
//! other is (`notify::wake_up_here`), and still moves one of them whenever another processor has
//! nothing to do. So a thread that makes call after call is kept on one processor with the
//! supervisor: `cp -a` of 11,000 files takes 1.3 s in place of 3.7, `pip install` 3.4 in place of
//! 4.1.
//!
//! Nothing else is kept there, so what runs beside the thread has all processors. A thread is let
//! go when another one calls, when it makes no calls for a while, starts a thread, a process or a
//! program, or when somebody asks where it may run: nobody sees fewer processors than there are.

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// After so many calls in a row.
const CALLS: i32 = 16;

/// After so many calls the kernel may find a better processor for both, where another build has
/// come to theirs: it gets some milliseconds for that.
const MOST_CALLS: i32 = 16_384;
const FREE_CALLS: i32 = 512;

/// A thread that has made no call for so long is let go.
pub(super) const PAUSE_MS: i64 = 5;

pub(super) struct Placement {
    /// Where everything may run; `None` where there is nothing to choose, or the command chooses
    /// itself.
    all: Option<CpuSet>,
    kept: Option<i32>,
    last: i32,
    /// How many calls `last` has made in a row; below 0 they do not count.
    calls: i32,
}

impl Placement {
    pub(super) fn new() -> Self {
        let all = sched_getaffinity(None).ok().filter(|all| all.count() > 1);
        Self { all: all.map(with_later_ones), kept: None, last: 0, calls: 0 }
    }

    /// Whether [`let_go`](Self::let_go) is to be called after a pause.
    pub(super) fn keeps(&self) -> bool {
        self.kept.is_some()
    }

    /// Takes in that `thread` has made a call.
    pub(super) fn called(&mut self, thread: i32) {
        if thread != self.last {
            self.let_go();
            self.last = thread;
        } else if self.calls >= MOST_CALLS {
            self.let_go();
            self.calls = -FREE_CALLS;
        }
        self.calls += 1;
        if self.calls == CALLS {
            self.keep(thread);
        }
    }

    fn keep(&mut self, thread: i32) {
        if self.all.is_none() {
            return;
        }
        let mut here = CpuSet::new();
        here.set(sched_getcpu());
        // What fails leaves both where they are, which costs time only.
        if sched_setaffinity(Pid::from_raw(thread), &here).is_ok() {
            self.kept = Some(thread);
            let _ = sched_setaffinity(None, &here);
        }
    }

    /// Lets all run anywhere, until one thread has made some calls again.
    pub(super) fn let_go(&mut self) {
        self.calls = 0;
        if let (Some(thread), Some(all)) = (self.kept.take(), &self.all) {
            let _ = sched_setaffinity(Pid::from_raw(thread), all);
            let _ = sched_setaffinity(None, all);
        }
    }

    /// As `let_go`, also for a `new` thread or process, which has not run yet: its maker may have
    /// been kept at that moment. It gets what its maker has now.
    pub(super) fn let_go_with(&mut self, maker: i32, new: i32) {
        self.let_go();
        if let Ok(set) = sched_getaffinity(Pid::from_raw(maker)) {
            let _ = sched_setaffinity(Pid::from_raw(new), &set);
        }
    }

    /// The command says itself where its threads run: that counts from now on.
    pub(super) fn leave_to_command(&mut self) {
        self.let_go();
        self.all = None;
    }
}

/// Where the command was started on all processors that this process may use, all that there can
/// be, since the kernel takes those that may be used at the time: that can change.
fn with_later_ones(now: CpuSet) -> CpuSet {
    let mut every = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|processor| every.set(processor));
    let same = sched_setaffinity(None, &every).is_ok() && sched_getaffinity(None).is_ok_and(|then| then == now);
    if same {
        return every;
    }
    // It was started on some of them (taskset, isolated processors).
    let _ = sched_setaffinity(None, &now);
    now
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processors() -> u32 {
        sched_getaffinity(None).unwrap().count()
    }

    /// The test's own thread stands for both.
    #[test]
    fn a_thread_is_kept_while_it_makes_call_after_call() {
        let (all, thread) = (processors(), rustix::thread::gettid().as_raw_nonzero().get());
        let mut placement = Placement::new();
        let call = |placement: &mut Placement, times| (0..times).for_each(|_| placement.called(thread));
        call(&mut placement, CALLS - 1);
        assert_eq!((placement.keeps(), processors()), (false, all));
        call(&mut placement, 1);
        assert_eq!((placement.keeps(), processors()), (all > 1, 1));
        placement.called(1);
        assert_eq!((placement.keeps(), processors()), (false, all), "another one calls");
        call(&mut placement, CALLS);
        assert_eq!(processors(), 1);
        placement.let_go();
        assert_eq!(processors(), all);
        call(&mut placement, CALLS);
        call(&mut placement, MOST_CALLS - CALLS + 1);
        assert_eq!(processors(), all, "for a moment");
        call(&mut placement, FREE_CALLS + CALLS);
        assert_eq!(processors(), 1);
        placement.leave_to_command();
        call(&mut placement, 2 * CALLS);
        assert_eq!((placement.keeps(), processors()), (false, all));
    }
}
