//! Which processor the supervisor and the threads that call it run on.
//!
//! A call costs least where the two take turns on one processor: waking another one takes longer
//! than most calls do, on a virtual machine above all. The kernel is asked to wake each where the
//! other is (`notify::wake_up_here`) as long as one thread calls, and still moves one of them
//! whenever another processor has nothing to do. So a thread that makes call after call is kept on
//! one processor with the supervisor: `cp -a` of 11,000 files takes 1.3 s in place of 3.7, `pip
//! install` 3.4 in place of 4.1. A process that it makes and waits for is kept there as well: 500
//! times /bin/true take 0.67 s in place of 1.0.
//!
//! Nothing else is kept there, so what runs beside the thread has all processors. Threads are let
//! go when another one calls, when they make no calls for a while, start a thread, or when somebody
//! asks where they may run: nobody sees fewer processors than there are. Where threads call in
//! turns, each is woken where the kernel likes: all of them would come to the supervisor's
//! processor, and with `make -j4` the other one had nothing to do for twice as long.

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

use super::threads::Threads;

/// After so many calls in a row.
const CALLS: i32 = 16;

/// After so many calls the kernel may find a better processor for all, where another build has
/// come to theirs: it gets some milliseconds for that.
const MOST_CALLS: i32 = 16_384;
const FREE_CALLS: i32 = 512;

/// After so many calls it is looked whether those before it in the line wait: of a new process, and
/// from then on.
const FIRST_LOOK: u32 = 32;
const NEXT_LOOK: u32 = 256;

/// So many reports without a call are as good as a pause: nothing else ends the wait.
const REPORTS: u32 = 32;

/// Threads that have made no call for so long are let go.
pub(super) const PAUSE_MS: i64 = 5;

pub(super) struct Placement {
    /// Where everything may run; `None` where there is nothing to choose, or the command chooses
    /// itself.
    all: Option<CpuSet>,
    /// Each has made the next one and seems to wait for it: the last is the one that calls.
    line: Vec<Member>,
    /// How many calls the line has made in a row; below 0 they do not count.
    calls: i32,
    /// Whether the last two calls are the line's.
    in_a_row: bool,
    /// Threads that were let go and have made no call since: a process that one of them has made
    /// before may still be where its maker was.
    let_go: Vec<i32>,
    /// Whether the supervisor is kept: where a thread is, and until all are let go.
    is_kept: bool,
    calls_until_look: u32,
    reports: u32,
}

struct Member {
    thread: i32,
    kept: bool,
}

impl Placement {
    pub(super) fn new() -> Self {
        let all = sched_getaffinity(None).ok().filter(|all| all.count() > 1);
        Self {
            all: all.map(with_later_ones),
            line: Vec::new(),
            calls: 0,
            in_a_row: false,
            let_go: Vec::new(),
            is_kept: false,
            calls_until_look: NEXT_LOOK,
            reports: 0,
        }
    }

    /// Whether [`let_go`](Self::let_go) is to be called after a pause.
    pub(super) fn keeps(&self) -> bool {
        self.is_kept
    }

    /// Takes in that `thread` has made a call.
    pub(super) fn called(&mut self, thread: i32) {
        if self.line.last().is_none_or(|last| last.thread != thread) {
            // Those behind it in the line run at the same time.
            self.begin_with(thread);
        } else {
            self.in_a_row = true;
            if self.calls >= MOST_CALLS {
                self.let_go();
                self.calls = -FREE_CALLS;
            }
        }
        self.let_go.retain(|one| *one != thread);
        self.reports = 0;
        self.calls += 1;
        if self.calls >= CALLS && self.all.is_some() {
            self.keep();
            self.calls_until_look = self.calls_until_look.saturating_sub(1);
            if self.calls_until_look == 0 {
                self.calls_until_look = NEXT_LOOK;
                self.let_busy_ones_go();
            }
        }
    }

    /// Whether the supervisor and the thread that calls are to be woken where the other one is.
    pub(super) fn wakes_up_here(&self) -> bool {
        self.in_a_row
    }

    /// Keeps the thread that calls where the supervisor is.
    fn keep(&mut self) {
        let Some(last) = self.line.last_mut().filter(|last| !last.kept) else { return };
        last.kept = true;
        let thread = last.thread;
        let mut here = CpuSet::new();
        here.set(sched_getcpu());
        // What fails leaves both where they are, which costs time only.
        let _ = sched_setaffinity(Pid::from_raw(thread), &here);
        if !std::mem::replace(&mut self.is_kept, true) {
            let _ = sched_setaffinity(None, &here);
        }
    }

    /// Lets all run anywhere, until they have made some calls again.
    pub(super) fn let_go(&mut self) {
        self.calls = 0;
        self.let_first_ones_go(self.line.len());
        if let Some(all) = self.all.as_ref().filter(|_| self.is_kept) {
            let _ = sched_setaffinity(None, all);
        }
        self.is_kept = false;
    }

    /// Lets the first `count` of the line run anywhere.
    fn let_first_ones_go(&mut self, count: usize) {
        let Some(all) = &self.all else { return };
        for member in self.line[..count].iter_mut().filter(|member| member.kept) {
            member.kept = false;
            self.let_go.push(member.thread);
            let _ = sched_setaffinity(Pid::from_raw(member.thread), all);
        }
    }

    /// All others go their own way.
    fn begin_with(&mut self, thread: i32) {
        self.let_go();
        self.in_a_row = false;
        self.line.clear();
        self.line.push(Member { thread, kept: false });
    }

    /// `maker` has made a thread of its process, or a process, which has not run yet.
    pub(super) fn cloned(&mut self, maker: i32, new: i32, is_thread: bool) {
        // One whose maker was killed meanwhile has no number.
        if new <= 0 {
            return;
        }
        if is_thread || self.line.last().is_none_or(|last| last.thread != maker) {
            self.begin_with(maker);
        }
        // Its maker may have been kept at that moment. It gets what its maker has now.
        if self.let_go.contains(&maker)
            && let Ok(set) = sched_getaffinity(Pid::from_raw(maker))
        {
            let _ = sched_setaffinity(Pid::from_raw(new), &set);
        }
        if !is_thread {
            let kept = self.line.last().is_some_and(|maker| maker.kept);
            self.line.push(Member { thread: new, kept });
            self.calls_until_look = FIRST_LOOK;
        }
    }

    /// Something was reported: a thread has stopped or ended.
    pub(super) fn heard_reports(&mut self) {
        self.reports += 1;
        if self.reports >= REPORTS {
            self.reports = 0;
            self.let_go();
        }
    }

    /// Forgets threads that have gone without an end of their own: with execve only one of a
    /// process is left.
    pub(super) fn keep_only(&mut self, threads: &Threads) {
        let is_there = |thread: i32| threads.thread(thread).is_some();
        self.let_go.retain(|one| is_there(*one));
        self.line.retain(|member| is_there(member.thread));
    }

    pub(super) fn ended(&mut self, thread: i32) {
        self.let_go.retain(|one| *one != thread);
        self.line.retain(|member| member.thread != thread);
        if self.line.is_empty() {
            self.let_go();
        }
    }

    /// Those that work themselves while a process that they have made calls, and those before them.
    fn let_busy_ones_go(&mut self) {
        let waiting = &self.line[..self.line.len().saturating_sub(1)];
        let Some(busy) = waiting.iter().rposition(|member| member.kept && is_runnable(member.thread)) else { return };
        self.let_first_ones_go(busy + 1);
        self.line.drain(..=busy);
    }

    /// The command says itself where its threads run: that counts from now on.
    pub(super) fn leave_to_command(&mut self) {
        self.let_go();
        self.all = None;
    }
}

/// Whether a thread runs or could (proc_pid_stat(5)).
fn is_runnable(thread: i32) -> bool {
    let stat = std::fs::read(format!("/proc/{thread}/stat")).unwrap_or_default();
    stat.iter().rposition(|byte| *byte == b')').is_some_and(|end| stat.get(end + 2) == Some(&b'R'))
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

    fn this_thread() -> i32 {
        rustix::thread::gettid().as_raw_nonzero().get()
    }

    fn call(placement: &mut Placement, thread: i32, times: i32) {
        (0..times).for_each(|_| placement.called(thread));
    }

    /// The test's own thread stands for both.
    #[test]
    fn a_thread_is_kept_while_it_makes_call_after_call() {
        let (all, thread) = (processors(), this_thread());
        let mut placement = Placement::new();
        call(&mut placement, thread, CALLS - 1);
        assert_eq!((placement.keeps(), processors()), (false, all));
        call(&mut placement, thread, 1);
        assert_eq!((placement.keeps(), processors()), (all > 1, 1));
        placement.called(1);
        assert_eq!((placement.keeps(), processors()), (false, all), "another one calls");
        call(&mut placement, thread, CALLS);
        assert_eq!(processors(), 1);
        placement.let_go();
        assert_eq!(processors(), all);
        call(&mut placement, thread, CALLS);
        call(&mut placement, thread, MOST_CALLS - CALLS + 1);
        assert_eq!(processors(), all, "for a moment");
        call(&mut placement, thread, FREE_CALLS + CALLS);
        assert_eq!(processors(), 1);
        placement.ended(thread);
        assert_eq!((placement.keeps(), processors()), (false, all), "it has ended");
        call(&mut placement, thread, CALLS);
        placement.leave_to_command();
        call(&mut placement, thread, 2 * CALLS);
        assert_eq!((placement.keeps(), processors()), (false, all));
    }

    /// A process that is given the mask that it would inherit.
    struct Sleeper(std::process::Child);

    impl Sleeper {
        fn new() -> Self {
            Self(std::process::Command::new("sleep").arg("60").spawn().unwrap())
        }

        fn number(&self) -> i32 {
            self.0.id() as i32
        }

        fn processors(&self) -> u32 {
            sched_getaffinity(Pid::from_raw(self.number())).unwrap().count()
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_process_is_kept_with_its_maker_as_long_as_that_waits() {
        let all = processors();
        let shell = Sleeper::new();
        let mut placement = Placement::new();
        if placement.all.is_none() {
            return;
        }
        call(&mut placement, shell.number(), CALLS);
        assert_eq!((shell.processors(), processors()), (1, 1));
        let child = Sleeper::new();
        assert_eq!(child.processors(), 1, "as the kernel does");
        placement.cloned(shell.number(), child.number(), false);
        call(&mut placement, child.number(), CALLS);
        assert_eq!((shell.processors(), child.processors(), processors()), (1, 1, 1));
        placement.ended(child.number());
        call(&mut placement, shell.number(), 1);
        assert_eq!((shell.processors(), processors()), (1, 1));

        placement.cloned(shell.number(), child.number(), false);
        call(&mut placement, shell.number(), 1);
        assert_eq!([shell.processors(), child.processors(), processors()], [all; 3], "it does not wait");

        call(&mut placement, shell.number(), CALLS);
        let thread = Sleeper::new();
        placement.cloned(shell.number(), thread.number(), true);
        assert_eq!([shell.processors(), thread.processors(), processors()], [all; 3], "a thread");

        // A child alone is kept: with its end the supervisor is still to be let go.
        placement.let_go();
        placement.cloned(shell.number(), child.number(), false);
        call(&mut placement, child.number(), CALLS);
        assert_eq!((shell.processors(), child.processors(), processors()), (all, 1, 1));
        placement.ended(child.number());
        assert!(placement.keeps());
        placement.let_go();
        assert_eq!((placement.keeps(), processors()), (false, all));

        // Made while its maker was kept; before that is heard of, another one calls.
        call(&mut placement, shell.number(), CALLS);
        let late = Sleeper::new();
        placement.called(child.number());
        assert_eq!((shell.processors(), late.processors()), (all, 1));
        placement.cloned(shell.number(), late.number(), false);
        assert_eq!(late.processors(), all);
    }

    #[test]
    fn a_maker_that_works_itself_is_let_go() {
        let busy = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let busy = Sleeper(busy);
        let mut placement = Placement::new();
        if placement.all.is_none() {
            return;
        }
        let all = processors();
        call(&mut placement, busy.number(), CALLS);
        let child = Sleeper::new();
        placement.cloned(busy.number(), child.number(), false);
        assert_eq!((busy.processors(), child.processors()), (1, 1));
        call(&mut placement, child.number(), FIRST_LOOK as i32);
        assert_eq!((busy.processors(), child.processors(), processors()), (all, 1, 1));
        (0..REPORTS).for_each(|_| placement.heard_reports());
        assert_eq!((placement.keeps(), child.processors(), processors()), (false, all, all));
    }
}
