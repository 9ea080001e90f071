//! A directory: the names that processes see, those that the disk has, and what lies between.

use std::collections::BTreeMap;

use super::random::{Random, Survival};

/// The number of a file or directory on its disk.
pub(super) type NodeId = usize;

#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    seen: BTreeMap<String, NodeId>,
    stored: BTreeMap<String, NodeId>,
    /// What each name has meant since the directory was last synced, newest last.
    unsynced: BTreeMap<String, Vec<Option<NodeId>>>,
}

impl Names {
    pub fn get(&self, name: &str) -> Option<NodeId> {
        self.seen.get(name).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, NodeId)> {
        self.seen.iter().map(|(name, &node)| (name, node))
    }

    pub fn set(&mut self, name: &str, node: Option<NodeId>) {
        self.unsynced.entry(name.to_owned()).or_default().push(node);
        match node {
            Some(node) => _ = self.seen.insert(name.to_owned(), node),
            None => _ = self.seen.remove(name),
        }
    }

    pub fn sync(&mut self) {
        self.stored.clone_from(&self.seen);
        self.unsynced.clear();
    }

    /// The power fails: of what was not synced, each name is kept or lost by itself.
    pub fn power_cut(&mut self, survival: Survival, random: &mut Random) {
        for (name, versions) in std::mem::take(&mut self.unsynced) {
            match survival.pick(versions.len(), random).map(|picked| versions[picked]) {
                Some(Some(node)) => _ = self.stored.insert(name, node),
                Some(None) => _ = self.stored.remove(&name),
                None => {}
            }
        }
        self.seen.clone_from(&self.stored);
    }
}
