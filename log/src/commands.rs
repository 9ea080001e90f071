//! The way of commands to the committer: in order, and all that are there are taken at once.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::append_queue::Request;
use crate::{Deleted, LogError, Position, Result};

/// What the committer is asked to do.
pub(crate) enum Command {
    Append(Request),
    CreateSource { name: String, partitions: u32, reply: oneshot::Sender<Result<()>> },
    Seal { slots: Range<usize>, reply: oneshot::Sender<Result<()>> },
    Retain { below: Position, appended_before_micros: i64, reply: oneshot::Sender<Result<Vec<Deleted>>> },
    Close { reply: oneshot::Sender<Result<()>> },
}

/// What waits to be taken; `None` once nobody takes anything any more.
type Waiting = Mutex<Option<Vec<Command>>>;

fn lock(waiting: &Waiting) -> MutexGuard<'_, Option<Vec<Command>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where commands are put in.
#[derive(Clone)]
pub(crate) struct Commands(Arc<Waiting>);

/// Where they are taken out. Those that are left when this is dropped are dropped with it.
pub(crate) struct Taken(Arc<Waiting>);

pub(crate) fn channel() -> (Commands, Taken) {
    let waiting = Arc::new(Mutex::new(Some(Vec::new())));
    (Commands(waiting.clone()), Taken(waiting))
}

impl Commands {
    /// Fails if nobody would take it.
    pub fn send(&self, command: Command) -> Result<()> {
        let mut waiting = lock(&self.0);
        waiting.as_mut().ok_or(LogError::Closed)?.push(command);
        Ok(())
    }
}

impl Taken {
    /// All that are there, and not those that come meanwhile.
    ///
    /// Many producers append anew as soon as they are answered, about as fast as commands are taken one by one: whoever took until there is none
    /// would wait for all of them, and each round with them. So those that come later append while this round syncs.
    pub fn take(&self) -> Vec<Command> {
        let mut waiting = lock(&self.0);
        let Some(waiting) = waiting.as_mut() else { return Vec::new() };
        let room = Vec::with_capacity(waiting.len());
        std::mem::replace(waiting, room)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // Not while it is locked: those who wait for an answer are woken.
        let left = lock(&self.0).take();
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(slot: usize) -> (Command, oneshot::Receiver<Result<()>>) {
        let (reply, answer) = oneshot::channel();
        (Command::Seal { slots: slot..slot + 1, reply }, answer)
    }

    #[test]
    fn all_that_are_there_are_taken_in_order_and_later_ones_later() -> Result<()> {
        let (commands, taken) = channel();
        for slot in 0..3 {
            commands.send(seal(slot).0)?;
        }
        let order = |commands: Vec<Command>| -> Vec<usize> {
            let slot =
                |command: &Command| if let Command::Seal { slots, .. } = command { slots.start } else { usize::MAX };
            commands.iter().map(slot).collect()
        };
        let first = taken.take();
        commands.send(seal(3).0)?;
        assert_eq!(order(first), [0, 1, 2]);
        assert_eq!(order(taken.take()), [3]);
        assert!(taken.take().is_empty());
        Ok(())
    }

    #[test]
    fn what_nobody_takes_is_given_no_answer() -> Result<()> {
        let (commands, taken) = channel();
        let (command, answer) = seal(0);
        commands.send(command)?;
        drop(taken);
        assert!(answer.blocking_recv().is_err());
        assert!(matches!(commands.send(seal(1).0), Err(LogError::Closed)));
        Ok(())
    }
}
