//! Progress on a terminal: a line a running task, with a bar for transfers and the last lines that
//! RUN printed below its step; a finished task becomes a line that stays.
//!
//! Tasks of less than a tenth of a second are never drawn as running: bars must not flicker.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::{Duration, Instant};

use console::{Term, truncate_str};
use indicatif::style::ProgressTracker;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::lines::{Lines, one_line};
use super::retries::Retries;
use super::screen::{DisplayOptions, Screen, shown_time};
use super::step_output::StepOutput;
use crate::cli::message::draw_warning;
use crate::cli::size::Size;
use crate::cli::visible::visible;
use crate::progress::{Event, Outcome, Reporter, TaskId, TaskKind};

/// How often running tasks are drawn again; also the age at which they are first drawn.
const TICK: Duration = Duration::from_millis(100);

/// How many lines of a RUN step's output are shown below it.
const WINDOW: usize = 6;

/// A finished task of another kind than a step gets a line only if it took this long.
const WORTH_A_LINE: Duration = Duration::from_secs(1);

/// Terminals with fewer columns get shorter bars.
const NARROW: usize = 72;

/// Progress on a terminal.
pub(super) struct Bars {
    shared: Arc<Shared>,
    ticker: Once,
}

struct Shared {
    multi: MultiProgress,
    options: DisplayOptions,
    width: fn() -> usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tasks: BTreeMap<TaskId, Running>,
    retries: Retries,
    ended: bool,
}

struct Running {
    kind: TaskKind,
    name: String,
    started: Instant,
    done: u64,
    total: Option<u64>,
    bar: Option<ProgressBar>,
    window: Option<ProgressBar>,
    recent: VecDeque<String>,
    lines: Lines,
    log: StepOutput,
    printed: bool,
}

impl Bars {
    pub(super) fn new(options: DisplayOptions) -> Self {
        Self::on(
            ProgressDrawTarget::stderr(),
            || Term::stderr().size_checked().map_or(80, |(_, columns)| columns.into()),
            options,
        )
    }

    fn on(target: ProgressDrawTarget, width: fn() -> usize, options: DisplayOptions) -> Self {
        let multi = MultiProgress::with_draw_target(target);
        Self { shared: Arc::new(Shared { multi, options, width, state: Mutex::default() }), ticker: Once::new() }
    }

    /// Draws running tasks now and then, until there is nothing to draw for.
    fn start_ticker(&self) {
        let shared = Arc::downgrade(&self.shared);
        let tick = move |shared: &Weak<Shared>| shared.upgrade().is_some_and(|shared| shared.tick());
        self.ticker.call_once(|| {
            std::thread::spawn(move || {
                while tick(&shared) {
                    std::thread::sleep(TICK);
                }
            });
        });
    }
}

impl Reporter for Bars {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Started { .. }) {
            self.start_ticker();
        }
        self.shared.event(event);
    }
}

impl Screen for Bars {
    fn print(&self, message: &str) {
        let _drawing = self.shared.lock();
        self.shared.print(message);
    }

    fn end(&self) {
        let mut state = self.shared.lock();
        state.ended = true;
        for running in std::mem::take(&mut state.tasks).into_values() {
            running.clear();
        }
        // What cannot be drawn cannot be reported either.
        let _ = self.shared.multi.clear();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn print(&self, message: &str) {
        let _ = self.multi.println(message);
    }

    fn tick(&self) -> bool {
        let mut state = self.lock();
        for running in state.tasks.values_mut().filter(|running| running.started.elapsed() >= TICK) {
            self.draw(running);
        }
        !state.ended
    }

    fn draw(&self, running: &mut Running) {
        let width = (self.width)();
        let bar = running.bar.get_or_insert_with(|| {
            let bar = running.total.map_or_else(ProgressBar::no_length, ProgressBar::new);
            let bar = self.multi.add(bar.with_elapsed(running.started.elapsed()).with_message(running.name.clone()));
            bar.set_style(style(running.kind, running.total.is_some(), width));
            bar
        });
        bar.set_position(running.done);
        bar.tick();
        if running.recent.is_empty() {
            return;
        }
        let line = |line: &String| self.options.theme.faint(truncate_str(&format!("    {line}"), width, "…")).to_string();
        let text: Vec<String> = running.recent.iter().map(line).collect();
        let window = running.window.get_or_insert_with(|| {
            let window = self.multi.insert_after(bar, ProgressBar::no_length());
            window.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
            window
        });
        window.set_message(text.join("\n"));
    }

    fn event(&self, event: Event<'_>) {
        let mut state = self.lock();
        match event {
            Event::Started { task, kind, name, total } => {
                state.tasks.insert(task, Running::new(kind, one_line(name), total));
            }
            Event::Progress { task, done, total } => {
                let Some(running) = state.tasks.get_mut(&task) else { return };
                let newly_known = running.total.is_none() && total.is_some();
                (running.done, running.total) = (done, total);
                if let (Some(bar), Some(total)) = (&running.bar, total) {
                    bar.set_length(total);
                    if newly_known {
                        bar.set_style(style(running.kind, true, (self.width)()));
                    }
                }
            }
            Event::Output { task, bytes } => {
                if let Some(running) = state.tasks.get_mut(&task) {
                    running.output(bytes);
                }
            }
            Event::Retry { task, reason, attempt, delay } => {
                if !state.retries.is_news(reason, attempt, Instant::now()) && !self.options.verbose {
                    return;
                }
                let name = state.tasks.get(&task).map_or("", |running| running.name.as_str());
                let again = self.options.theme.warning("again");
                self.print(&format!("↻ {name}: {}; {again} in {} (try {attempt})", visible(reason), shown_time(delay)));
            }
            Event::Finished { task, outcome } => {
                if let Some(running) = state.tasks.remove(&task) {
                    self.finished(running, outcome);
                }
            }
            Event::Warning { message, hint } => self.print(&draw_warning(message, hint, self.options.theme)),
            Event::Note { message } if self.options.verbose => self.print(&format!("note: {}", visible(message))),
            Event::Note { .. } => {}
        }
    }

    fn finished(&self, running: Running, outcome: Outcome) {
        running.clear();
        let Running { kind, name, started, done, log, printed, .. } = running;
        let (elapsed, theme) = (started.elapsed(), self.options.theme);
        // The caller shows what failed: of a transfer that has not begun, once for all.
        let failed = outcome == Outcome::Failed && !(matches!(kind, TaskKind::Pull | TaskKind::Push) && done == 0);
        let slow = outcome != Outcome::Failed && elapsed >= WORTH_A_LINE;
        let worth_a_line = kind == TaskKind::Step || failed || slow || self.options.verbose;
        if !worth_a_line {
            return;
        }
        let sign = match outcome {
            Outcome::Failed => theme.bad("✗"),
            _ => theme.good("✓"),
        };
        let remark = match outcome {
            Outcome::Cached if kind == TaskKind::Step => "cached".to_owned(),
            Outcome::Cached => "was there already".to_owned(),
            _ if done > 0 && kind != TaskKind::Step => format!("{} in {}", Size(done), shown_time(elapsed)),
            _ => shown_time(elapsed),
        };
        let room = (self.width)().saturating_sub(remark.chars().count() + 5).max(10);
        self.print(&format!("{sign} {}  {}", truncate_str(&name, room, "…"), theme.faint(remark)));
        if outcome == Outcome::Failed && printed {
            log.pages(|lines| self.print(&lines.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")));
        }
    }
}

impl Running {
    fn new(kind: TaskKind, name: String, total: Option<u64>) -> Self {
        Self {
            kind,
            name,
            started: Instant::now(),
            done: 0,
            total,
            bar: None,
            window: None,
            recent: VecDeque::new(),
            lines: Lines::default(),
            log: StepOutput::default(),
            printed: false,
        }
    }

    fn output(&mut self, bytes: &[u8]) {
        self.printed = true;
        self.log.push(bytes);
        let recent = &mut self.recent;
        self.lines.push(bytes, |line| {
            if recent.len() == WINDOW {
                recent.pop_front();
            }
            recent.push_back(line.to_owned());
        });
    }

    fn clear(&self) {
        for bar in self.window.iter().chain(&self.bar) {
            bar.finish_and_clear();
        }
    }
}

/// How a running task is drawn. Templates are tested: none of them is wrong.
fn style(kind: TaskKind, known: bool, width: usize) -> ProgressStyle {
    let template = match (kind, known) {
        (TaskKind::Step | TaskKind::Work, false) => "{spinner} {wide_msg} {elapsed}",
        (_, false) if width < NARROW => "{spinner} {wide_msg} {done}",
        (_, false) => "{spinner} {wide_msg} {done} {speed}",
        (_, true) if width < NARROW => "{spinner} {wide_msg} {percent:>3}% {eta}",
        (_, true) => "{spinner} {wide_msg} {bar:20} {done:>6}/{all:6} {speed:>9} {eta:>4}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    let style = style
        .with_key("done", shown(|state| Size(state.pos()).to_string()))
        .with_key("all", shown(|state| Size(state.len().unwrap_or(0)).to_string()))
        .with_key("speed", shown(|state| format!("{}/s", Size(state.per_sec() as u64))));
    style.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ").progress_chars("━╸─")
}

fn shown(value: fn(&ProgressState) -> String) -> impl ProgressTracker {
    move |state: &ProgressState, text: &mut dyn Write| {
        // Writing to the line that is drawn cannot fail.
        let _ = text.write_str(&value(state));
    }
}

#[cfg(test)]
mod tests {
    use indicatif::TermLike;

    use super::*;
    use crate::cli::flags::ColorMode;
    use crate::cli::style::Theme;
    use crate::progress::{Progress, Task};

    /// A terminal in memory.
    #[derive(Clone)]
    struct Terminal(Arc<Mutex<vt100::Parser>>);

    impl Terminal {
        fn new(rows: u16, columns: u16) -> Self {
            Self(Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0))))
        }

        /// What a user sees, without what is empty at the ends of lines and of the screen.
        fn contents(&self) -> String {
            let columns = self.width();
            let rows: Vec<String> = self.0.lock().unwrap().screen().rows(0, columns).map(|row| row.trim_end().into()).collect();
            rows.join("\n").trim_end().to_owned()
        }

        fn write(&self, text: &str) -> std::io::Result<()> {
            self.0.lock().unwrap().process(text.as_bytes());
            Ok(())
        }

        /// Zero would be taken for one.
        fn move_cursor(&self, count: usize, way: char) -> std::io::Result<()> {
            if count == 0 { Ok(()) } else { self.write(&format!("\x1b[{count}{way}")) }
        }
    }

    impl std::fmt::Debug for Terminal {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(&self.contents())
        }
    }

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            self.0.lock().unwrap().screen().size().1
        }
        fn height(&self) -> u16 {
            self.0.lock().unwrap().screen().size().0
        }
        fn move_cursor_up(&self, count: usize) -> std::io::Result<()> {
            self.move_cursor(count, 'A')
        }
        fn move_cursor_down(&self, count: usize) -> std::io::Result<()> {
            self.move_cursor(count, 'B')
        }
        fn move_cursor_right(&self, count: usize) -> std::io::Result<()> {
            self.move_cursor(count, 'C')
        }
        fn move_cursor_left(&self, count: usize) -> std::io::Result<()> {
            self.move_cursor(count, 'D')
        }
        fn write_line(&self, text: &str) -> std::io::Result<()> {
            self.write(&format!("{text}\r\n"))
        }
        fn write_str(&self, text: &str) -> std::io::Result<()> {
            self.write(text)
        }
        fn clear_line(&self) -> std::io::Result<()> {
            self.write("\r\x1b[2K")
        }
        fn flush(&self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Bars on a terminal in memory, drawn only when the test says so.
    struct Screenful {
        terminal: Terminal,
        bars: Arc<Bars>,
        progress: Progress,
    }

    fn screenful<const COLUMNS: u16>() -> Screenful {
        let terminal = Terminal::new(24, COLUMNS);
        let options = DisplayOptions { theme: Theme::new(ColorMode::Never, true), verbose: false };
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let bars = Arc::new(Bars::on(target, || COLUMNS.into(), options));
        // No ticker: nothing is drawn behind the test's back.
        bars.ticker.call_once(|| {});
        Screenful { terminal, progress: Progress::new(bars.clone()), bars }
    }

    impl Screenful {
        fn draw(&self) -> String {
            let mut state = self.bars.shared.lock();
            state.tasks.values_mut().for_each(|running| self.bars.shared.draw(running));
            drop(state);
            self.terminal.contents()
        }

        fn run_with_output(&self, lines: usize) -> Task {
            let task = self.progress.task(TaskKind::Step, "[1/1] RUN make everything that there is to make", None);
            (1..=lines).for_each(|line| task.output(format!("output {line}\n").as_bytes()));
            task
        }
    }

    #[test]
    fn the_last_lines_of_a_running_step_scroll_below_it() {
        let screen = screenful::<40>();
        let task = screen.run_with_output(8);
        let drawn = screen.draw();
        let lines: Vec<&str> = drawn.lines().collect();
        assert!(lines[0].contains("[1/1] RUN make everything"), "{drawn}");
        let shown: Vec<String> = (3..=8).map(|line| format!("    output {line}")).collect();
        assert_eq!(lines[1..], shown);
        task.done();
        assert_eq!(screen.terminal.contents(), "✓ [1/1] RUN make everything tha…  0.0 s");
    }

    #[test]
    fn a_message_stands_above_what_is_running() {
        let screen = screenful::<80>();
        let task = screen.run_with_output(3);
        screen.draw();
        screen.bars.print("warning: careful");
        let drawn = screen.draw();
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(lines.len(), 5, "{drawn}");
        assert_eq!(lines[0], "warning: careful");
        assert!(lines[1].contains("[1/1] RUN"), "{drawn}");
        task.done();
        assert_eq!(screen.terminal.contents().lines().count(), 2);
    }

    #[test]
    fn a_failed_step_shows_all_that_it_printed() {
        let screen = screenful::<60>();
        let task = screen.run_with_output(10);
        screen.draw();
        drop(task);
        let drawn = screen.terminal.contents();
        assert!(drawn.starts_with("✗ [1/1] RUN make everything that there is to make  0.0 s\n    output 1\n"), "{drawn}");
        assert_eq!(drawn.lines().count(), 11);
    }

    #[test]
    fn a_transfer_shows_what_is_done_on_any_width() {
        let wide = screenful::<100>();
        let task = wide.progress.task(TaskKind::Push, "push 0123456789ab", Some(300_000_000));
        task.advance(120_000_000);
        let drawn = wide.draw();
        assert!(drawn.contains("push 0123456789ab") && drawn.contains("120MB/300MB"), "{drawn}");
        let narrow = screenful::<40>();
        let task = narrow.progress.task(TaskKind::Push, "push 0123456789ab", Some(300_000_000));
        task.advance(120_000_000);
        let drawn = narrow.draw();
        assert!(drawn.contains(" 40%") && drawn.lines().count() == 1, "{drawn}");
    }

    #[test]
    fn the_end_leaves_an_empty_line_and_nothing_running() {
        let screen = screenful::<80>();
        let _task = screen.run_with_output(3);
        screen.draw();
        screen.bars.end();
        assert_eq!(screen.terminal.contents(), "");
    }
}
