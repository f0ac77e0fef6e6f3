//! Which stage uses which: what a target needs, and cycles.
//!
//! Without recursion: a file may have many thousands of stages.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::StageIndex;
use super::source::Location;

/// One stage's use of another.
#[derive(Debug, Clone)]
pub(super) struct Use {
    /// The stage that is used.
    pub(super) stage: StageIndex,
    /// The instruction that uses it.
    pub(super) location: Arc<Location>,
    /// How the instruction names it.
    pub(super) word: String,
}

/// `target` with all that it uses, directly or not. `uses` has one list a stage.
pub(super) fn needed(uses: &[Vec<Use>], target: StageIndex) -> BTreeSet<StageIndex> {
    let mut needed = BTreeSet::from([target]);
    let mut open = vec![target];
    while let Some(stage) = open.pop() {
        open.extend(uses[stage.0].iter().map(|used| used.stage).filter(|stage| needed.insert(*stage)));
    }
    needed
}

/// A cycle of stages, if there is one: each stage with its use of the next, the last with its use
/// of the first.
pub(super) fn cycle(uses: &[Vec<Use>]) -> Option<Vec<(StageIndex, &Use)>> {
    let mut left: BTreeSet<StageIndex> = (0..uses.len()).map(StageIndex).collect();
    let distinct = |uses: &Vec<Use>| uses.iter().map(|used| used.stage).collect::<BTreeSet<_>>();
    let mut open: Vec<usize> = Vec::new();
    let mut users: Vec<Vec<StageIndex>> = vec![Vec::new(); uses.len()];
    for (user, uses) in uses.iter().enumerate() {
        let used = distinct(uses);
        open.push(used.len());
        used.into_iter().for_each(|used| users[used.0].push(StageIndex(user)));
    }
    let mut ready: Vec<StageIndex> = left.iter().copied().filter(|stage| open[stage.0] == 0).collect();
    while let Some(stage) = ready.pop() {
        left.remove(&stage);
        for user in &users[stage.0] {
            open[user.0] -= 1;
            if open[user.0] == 0 {
                ready.push(*user);
            }
        }
    }
    // Each stage that is left uses another one that is left, so going on for long enough ends in a
    // cycle.
    let next = |stage: StageIndex| uses[stage.0].iter().find(|used| left.contains(&used.stage));
    let mut first = *left.first()?;
    for _ in 0..left.len() {
        first = next(first)?.stage;
    }
    let mut cycle = Vec::new();
    let mut stage = first;
    loop {
        let used = next(stage)?;
        cycle.push((stage, used));
        stage = used.stage;
        if stage == first {
            return Some(cycle);
        }
    }
}
