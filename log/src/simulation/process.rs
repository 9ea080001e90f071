//! A process that uses a simulated disk: what it asks for is counted, and its fate decided.

use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::SimulatedDisk;
use super::contents::Contents;
use super::disk::{Lock, Node, State};
use super::fate::{Answer, Effect, Fate, Operation, OperationKind};
use super::names::NodeId;
use crate::{FileHandle, FileInfo, FileSystem, OpenMode};

type Fates = Arc<dyn Fn(&Operation) -> Fate + Send + Sync>;

/// The disk as one process sees it.
pub struct SimulatedProcess(Arc<Process>);

struct Process {
    disk: SimulatedDisk,
    id: u32,
    operations: AtomicU64,
    fates: Mutex<Fates>,
}

impl fmt::Debug for SimulatedProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimulatedProcess").field(&self.0.id).finish()
    }
}

impl SimulatedProcess {
    pub(super) fn new(disk: SimulatedDisk, id: u32) -> Self {
        let (operations, fates) = (AtomicU64::new(0), Mutex::new(Arc::new(|_: &Operation| Fate::DONE) as Fates));
        Self(Arc::new(Process { disk, id, operations, fates }))
    }

    /// Decides what becomes of each operation from now on. The function is called before the operation is done, on the thread
    /// that asks for it, and may let it wait.
    pub fn set_fates(&self, fates: impl Fn(&Operation) -> Fate + Send + Sync + 'static) {
        *self.0.fates.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(fates);
    }

    /// How many operations the process has asked for.
    pub fn operations(&self) -> u64 {
        self.0.operations.load(Ordering::SeqCst)
    }

    /// Whether the process has not been killed.
    pub fn is_running(&self) -> bool {
        self.0.disk.state().running.contains(&self.0.id)
    }

    /// Kills the process: its locks are free, what it has written stays, and all that it asks for from now on fails without
    /// effect.
    pub fn kill(&self) {
        self.0.disk.state().kill(self.0.id);
    }
}

fn killed() -> io::Error {
    io::Error::other("the process has been killed")
}

/// An operation that is being done.
struct Doing<'a> {
    process: &'a Process,
    state: MutexGuard<'a, State>,
    fate: Fate,
}

impl Process {
    /// Asks for an operation. Fails if the process does not run.
    fn begin(&self, kind: OperationKind, path: &Path, bytes: u64) -> io::Result<Doing<'_>> {
        let number = self.operations.fetch_add(1, Ordering::SeqCst);
        let fates = self.fates.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut fate = fates(&Operation { number, kind, path: path.to_owned(), bytes });
        if fate.effect == Effect::Part && !kind.has_parts() {
            fate.effect = Effect::Nothing;
        }
        if fate.answer == Answer::Done && fate.effect == Effect::Nothing {
            fate.effect = Effect::Whole;
        }
        let state = self.disk.state();
        if state.running.contains(&self.id) { Ok(Doing { process: self, state, fate }) } else { Err(killed()) }
    }
}

impl Doing<'_> {
    /// Does it, unless nothing is to be done, and answers.
    fn whole<T: Default>(mut self, action: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let done = if self.fate.effect == Effect::Nothing { Ok(T::default()) } else { action(&mut self.state) };
        self.answer(done)
    }

    fn answer<T>(mut self, done: io::Result<T>) -> io::Result<T> {
        match self.fate.answer {
            Answer::Done => done,
            Answer::Failed(failure) => Err(failure.error()),
            Answer::Killed => {
                self.state.kill(self.process.id);
                Err(killed())
            }
        }
    }

    /// How many of so many bytes are to be read or written. At least one of several, so that progress is made.
    fn share(&self, bytes: usize) -> usize {
        match self.fate.effect {
            Effect::Nothing => 0,
            Effect::Part => bytes.div_ceil(2),
            Effect::Whole => bytes,
        }
    }
}

impl FileSystem for SimulatedProcess {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn FileHandle>> {
        let creates = !matches!(mode, OpenMode::Read | OpenMode::Write);
        let kind = if creates { OperationKind::Create } else { OperationKind::Open };
        let mut doing = self.0.begin(kind, path, 0)?;
        let opened = match doing.fate.effect {
            Effect::Nothing => Ok((0, 0)),
            _ => open(&mut doing.state, path, mode).map(|node| (node, doing.state.next_handle())),
        };
        let (node, number) = doing.answer(opened)?;
        let (process, place) = (self.0.clone(), Mutex::new(0));
        Ok(Arc::new(Handle { process, node, number, place, writable: mode != OpenMode::Read }))
    }

    fn look_at(&self, path: &Path) -> io::Result<FileInfo> {
        let doing = self.0.begin(OperationKind::LookAt, path, 0)?;
        let found = doing.state.find(path).map(|node| match doing.state.node(node) {
            Node::Directory(_) => FileInfo { is_dir: true, bytes: 0 },
            Node::File(contents) => FileInfo { is_dir: false, bytes: contents.seen().len() as u64 },
        });
        doing.answer(found)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.begin(OperationKind::List, dir, 0)?.whole(|state| state.listed(state.find(dir)?))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let doing = self.0.begin(OperationKind::CreateDir, dir, 0)?;
        let most = if doing.fate.effect == Effect::Part { 1 } else { usize::MAX };
        doing.whole(|state| state.create_dirs(dir, most))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.begin(OperationKind::Rename, to, 0)?.whole(|state| {
            let node = state.find(from)?;
            let ((old_parent, old_name), (parent, name)) = (state.parent_of(from)?, state.parent_of(to)?);
            state.names(old_parent)?.set(&old_name, None);
            state.names(parent)?.set(&name, Some(node));
            state.paths.insert(node, to.to_owned());
            Ok(())
        })
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.begin(OperationKind::Link, to, 0)?.whole(|state| {
            let node = state.find(from)?;
            state.file(node)?;
            if state.find(to).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let (parent, name) = state.parent_of(to)?;
            state.names(parent)?.set(&name, Some(node));
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.begin(OperationKind::Remove, path, 0)?.whole(|state| {
            let node = state.find(path)?;
            state.file(node)?;
            let (parent, name) = state.parent_of(path)?;
            state.names(parent)?.set(&name, None);
            Ok(())
        })
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.begin(OperationKind::Remove, dir, 0)?.whole(|state| {
            let node = state.find(dir)?;
            if state.names(node)?.iter().next().is_some() {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            let (parent, name) = state.parent_of(dir)?;
            state.names(parent)?.set(&name, None);
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.begin(OperationKind::SyncDir, dir, 0)?.whole(|state| {
            let node = state.find(dir)?;
            state.names(node)?.sync();
            Ok(())
        })
    }

    fn process_id(&self) -> u32 {
        self.0.id
    }

    fn is_running(&self, process_id: u32) -> bool {
        self.0.disk.state().running.contains(&process_id)
    }
}

/// The file to be opened, created or emptied as the mode says.
fn open(state: &mut State, path: &Path, mode: OpenMode) -> io::Result<NodeId> {
    match state.find(path) {
        Ok(_) if mode == OpenMode::CreateNew => Err(io::ErrorKind::AlreadyExists.into()),
        Ok(node) => {
            let contents = state.file_mut(node)?;
            if mode == OpenMode::Replace {
                contents.set_size(0);
            }
            Ok(node)
        }
        Err(error) if matches!(mode, OpenMode::Read | OpenMode::Write) => Err(error),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Err(_) => {
            let (parent, name) = state.parent_of(path)?;
            let node = state.add(Node::File(Contents::default()));
            state.names(parent)?.set(&name, Some(node));
            state.paths.insert(node, path.to_owned());
            Ok(node)
        }
    }
}

/// An open file of a simulated process.
struct Handle {
    process: Arc<Process>,
    node: NodeId,
    number: u64,
    place: Mutex<u64>,
    writable: bool,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("process", &self.process.id).field("path", &self.path()).finish()
    }
}

impl Handle {
    fn begin(&self, kind: OperationKind, bytes: u64) -> io::Result<Doing<'_>> {
        self.process.begin(kind, &self.path(), bytes)
    }

    /// The name that the file had last.
    fn path(&self) -> PathBuf {
        self.process.disk.state().paths.get(&self.node).cloned().unwrap_or_default()
    }

    fn write(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        let mut doing = self.begin(OperationKind::Write, bytes.len() as u64)?;
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let share = &bytes[..doing.share(bytes.len())];
        let written = doing.state.write(self.node, share, at);
        doing.answer(written)
    }

    fn sync(&self) -> io::Result<()> {
        let mut doing = self.begin(OperationKind::Sync, 0)?;
        let is_killed = doing.fate.answer == Answer::Killed;
        let synced = doing.state.file_mut(self.node).map(|contents| match doing.fate.effect {
            Effect::Whole => contents.sync(),
            Effect::Nothing if is_killed => {}
            Effect::Part if is_killed => contents.sync_half(),
            Effect::Nothing => contents.fail_sync(false),
            Effect::Part => contents.fail_sync(true),
        });
        doing.answer(synced)
    }
}

impl FileHandle for Handle {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let doing = self.begin(OperationKind::Read, buffer.len() as u64)?;
        let share = doing.share(buffer.len());
        let read = doing.state.file(self.node).map(|contents| {
            let left = &contents.seen()[(at as usize).min(contents.seen().len())..];
            let filled = share.min(left.len());
            buffer[..filled].copy_from_slice(&left[..filled]);
            filled
        });
        doing.answer(read)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        self.write(bytes, at)
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let written = self.write(&bytes, *place)?;
        *place += written as u64;
        Ok(written)
    }

    fn seek(&self, at: u64) -> io::Result<()> {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = at;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn bytes(&self) -> io::Result<u64> {
        let doing = self.begin(OperationKind::Size, 0)?;
        let size = doing.state.file(self.node).map(|contents| contents.seen().len() as u64);
        doing.answer(size)
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        let doing = self.begin(OperationKind::SetSize, bytes)?;
        doing.whole(|state| {
            state.file_mut(self.node)?.set_size(bytes as usize);
            Ok(())
        })
    }

    fn try_lock(&self, shared: bool) -> io::Result<bool> {
        let lock = Lock { node: self.node, handle: self.number, process: self.process.id, shared };
        self.begin(OperationKind::Lock, 0)?.whole(|state| Ok(state.lock(lock)))
    }

    fn unlock(&self) -> io::Result<()> {
        self.begin(OperationKind::Lock, 0)?.whole(|state| {
            state.unlock(self.number);
            Ok(())
        })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.process.disk.state().unlock(self.number);
    }
}
