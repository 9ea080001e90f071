//! The disk that simulated processes share, and what can happen to all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::contents::Contents;
use super::names::{Names, NodeId};
use super::process::SimulatedProcess;
use super::random::{Random, Survival};

#[derive(Clone, Debug)]
pub(super) enum Node {
    Directory(Names),
    File(Contents),
}

/// Who has a file's lock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lock {
    pub node: NodeId,
    pub handle: u64,
    pub process: u32,
    pub shared: bool,
}

#[derive(Clone, Debug)]
pub(super) struct State {
    /// By number; the first is the root.
    nodes: Vec<Node>,
    /// The name that each file was given last.
    pub paths: BTreeMap<NodeId, PathBuf>,
    pub locks: Vec<Lock>,
    pub running: BTreeSet<u32>,
    processes: u32,
    handles: u64,
    capacity_bytes: Option<u64>,
}

/// A disk in memory. Cheap to clone; clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

impl Default for SimulatedDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimulatedDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::with(State {
            nodes: vec![Node::Directory(Names::default())],
            paths: BTreeMap::new(),
            locks: Vec::new(),
            running: BTreeSet::new(),
            processes: 0,
            handles: 0,
            capacity_bytes: None,
        })
    }

    fn with(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another disk with the same contents, those not yet durable included, that no process uses yet.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copied = Self::with(self.state().clone());
        copied.kill_all();
        copied
    }

    /// A new process that uses the disk. It can be passed in as [`Options::files`](crate::Options::files).
    pub fn process(&self) -> Arc<SimulatedProcess> {
        let mut state = self.state();
        state.processes += 1;
        let id = state.processes;
        state.running.insert(id);
        drop(state);
        Arc::new(SimulatedProcess::new(self.clone(), id))
    }

    /// Kills all processes; what they have written stays.
    pub fn kill_all(&self) {
        let mut state = self.state();
        state.running.clear();
        state.locks.clear();
    }

    /// The machine loses its power: all processes are gone, and of what was not synced a part survives that `seed` draws
    /// (with every fourth seed or so nothing, and with every fourth all of it).
    pub fn power_cut(&self, seed: u64) {
        self.kill_all();
        let mut random = Random::new(seed);
        let survival = Survival::draw(&mut random);
        for node in &mut self.state().nodes {
            match node {
                Node::Directory(names) => names.power_cut(survival, &mut random),
                Node::File(contents) => contents.power_cut(survival, &mut random),
            }
        }
    }

    /// The operating system drops pages from memory that it takes for written: where a sync has failed, what is read turns back
    /// into what the disk has, in a part that `seed` draws.
    pub fn forget_pages(&self, seed: u64) {
        let mut random = Random::new(seed);
        for node in &mut self.state().nodes {
            if let Node::File(contents) = node {
                contents.forget_pages(&mut random);
            }
        }
    }

    /// How many bytes all files together may have; `None` for no limit. What does not fit is not written, and that is an error.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity_bytes = bytes;
    }

    /// How many bytes all files together have that have a name.
    pub fn used_bytes(&self) -> u64 {
        self.paths().iter().filter_map(|path| self.read(path)).map(|bytes| bytes.len() as u64).sum()
    }

    /// Every file, in order.
    pub fn paths(&self) -> Vec<PathBuf> {
        let state = self.state();
        let (mut found, mut below) = (Vec::new(), vec![(PathBuf::from("/"), 0)]);
        while let Some((path, node)) = below.pop() {
            match &state.nodes[node] {
                Node::File(_) => found.push(path),
                Node::Directory(names) => below.extend(names.iter().map(|(name, node)| (path.join(name), node))),
            }
        }
        found.sort();
        found
    }

    /// What a process would read in a file; `None` if there is none.
    pub fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        let node = state.find(path).ok()?;
        state.file(node).ok().map(|contents| contents.seen().to_vec())
    }

    /// Puts a file on the disk, durably: to set a scene, or to damage one. Its directory must be there.
    pub fn write(&self, path: &Path, bytes: Vec<u8>) -> io::Result<()> {
        let mut state = self.state();
        let (parent, name) = state.parent_of(path)?;
        let node = state.add(Node::File(Contents::durable(bytes)));
        state.paths.insert(node, path.to_owned());
        let names = state.names(parent)?;
        names.set(&name, Some(node));
        names.sync();
        Ok(())
    }
}

impl State {
    /// The file or directory of this name.
    pub fn find(&self, path: &Path) -> io::Result<NodeId> {
        let mut node = 0;
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let Node::Directory(names) = &self.nodes[node] else { return Err(io::ErrorKind::NotADirectory.into()) };
            node = name.to_str().and_then(|name| names.get(name)).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    /// The directory in which a path's last name is, and that name.
    pub fn parent_of(&self, path: &Path) -> io::Result<(NodeId, String)> {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
        let parent = self.find(path.parent().unwrap_or(Path::new("/")))?;
        match self.nodes[parent] {
            Node::Directory(_) => Ok((parent, name.to_owned())),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    pub fn node(&self, node: NodeId) -> &Node {
        &self.nodes[node]
    }

    pub fn names(&mut self, directory: NodeId) -> io::Result<&mut Names> {
        match &mut self.nodes[directory] {
            Node::Directory(names) => Ok(names),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub fn file(&self, node: NodeId) -> io::Result<&Contents> {
        match &self.nodes[node] {
            Node::File(contents) => Ok(contents),
            Node::Directory(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub fn file_mut(&mut self, node: NodeId) -> io::Result<&mut Contents> {
        match &mut self.nodes[node] {
            Node::File(contents) => Ok(contents),
            Node::Directory(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// Creates the missing directories of a path: all of them, or at most so many.
    pub fn create_dirs(&mut self, path: &Path, most: usize) -> io::Result<()> {
        let (mut at, mut made) = (PathBuf::from("/"), 0);
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            at.push(name);
            match self.find(&at) {
                Ok(node) => _ = self.names(node)?,
                Err(_) if made == most => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let (parent, name) = self.parent_of(&at)?;
                    let node = self.add(Node::Directory(Names::default()));
                    self.names(parent)?.set(&name, Some(node));
                    made += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How many more bytes fit on the disk.
    fn room_bytes(&self) -> u64 {
        let Some(capacity) = self.capacity_bytes else { return u64::MAX };
        let (mut used, mut below) = (0, vec![0]);
        while let Some(node) = below.pop() {
            match &self.nodes[node] {
                Node::File(contents) => used += contents.seen().len() as u64,
                Node::Directory(names) => below.extend(names.iter().map(|(_, node)| node)),
            }
        }
        capacity.saturating_sub(used)
    }

    /// Writes what fits on the disk; returns how much.
    pub fn write(&mut self, node: NodeId, bytes: &[u8], at: u64) -> io::Result<usize> {
        let inside = (self.file(node)?.seen().len() as u64).saturating_sub(at);
        let fits = self.room_bytes().saturating_add(inside).min(bytes.len() as u64) as usize;
        if fits == 0 && !bytes.is_empty() {
            return Err(io::Error::from_raw_os_error(28));
        }
        self.file_mut(node)?.write(&bytes[..fits], at as usize);
        Ok(fits)
    }

    pub fn next_handle(&mut self) -> u64 {
        self.handles += 1;
        self.handles
    }

    pub fn kill(&mut self, process: u32) {
        self.running.remove(&process);
        self.locks.retain(|lock| lock.process != process);
    }

    /// Takes a file's lock, if nobody holds it otherwise. Returns whether it could.
    pub fn lock(&mut self, wanted: Lock) -> bool {
        let others = |lock: &&Lock| lock.node == wanted.node && lock.handle != wanted.handle;
        if self.locks.iter().filter(others).any(|lock| !(lock.shared && wanted.shared)) {
            return false;
        }
        self.unlock(wanted.handle);
        self.locks.push(wanted);
        true
    }

    pub fn unlock(&mut self, handle: u64) {
        self.locks.retain(|lock| lock.handle != handle);
    }

    pub fn listed(&self, directory: NodeId) -> io::Result<Vec<String>> {
        match &self.nodes[directory] {
            Node::Directory(names) => Ok(names.iter().map(|(name, _)| name.clone()).collect()),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }
}
