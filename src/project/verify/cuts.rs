//! Which cuts are tried.

use std::sync::Arc;

use rand::{Rng, SeedableRng, rngs::StdRng};
use watershed_batch::{Manifest, Store};
use watershed_log::Position;

use super::VerifyOptions;
use crate::error::Error;

/// A position that is tried as the cut.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Cut {
    pub name: String,
    pub position: Position,
    /// A manifest whose cut it is.
    pub manifest: Option<Arc<Manifest>>,
}

/// The records from a position up to another.
pub(super) type Stretch = (Position, Position);

/// The stretches that a chain of cuts divides the records into; one more than there are cuts.
pub(super) fn stretches(from: &Position, chain: &[Cut], head: &Position) -> Vec<Stretch> {
    let edges = || chain.iter().map(|cut| &cut.position);
    std::iter::once(from).chain(edges()).cloned().zip(edges().chain([head]).cloned()).collect()
}

/// The newest recorded epochs, the manifests' cuts, and pseudo-random positions between them: a chain, ascending from `from`; with
/// `log_start` first, if the log begins above that.
pub(super) fn chain(
    store: &Store,
    (from, log_start, head): (&Position, &Position, &Position),
    manifests: &[Arc<Manifest>],
    options: &VerifyOptions,
) -> Result<Vec<Cut>, Error> {
    let low = from.max(log_start);
    let inside = |position: &Position| low.le(position) && position.le(head);
    let mut chain: Vec<Cut> = Vec::new();
    let numbers = store.epoch_numbers()?;
    for number in numbers[numbers.len().saturating_sub(options.epochs)..].iter().copied() {
        // One that was forgotten since the listing is not tried.
        if let Some(epoch) = store.epoch(number)?.filter(|epoch| inside(&epoch.position)) {
            chain.push(Cut { name: format!("epoch {number}"), position: epoch.position, manifest: None });
        }
    }
    for manifest in manifests.iter().filter(|manifest| inside(&manifest.cut)) {
        let name = format!("epoch {}", manifest.epoch);
        let cut = Cut { name, position: manifest.cut.clone(), manifest: Some(Arc::clone(manifest)) };
        match chain.iter().position(|known| known.position == cut.position && known.manifest.is_none()) {
            Some(known) => chain[known] = cut,
            None => {
                let at = chain.iter().take_while(|known| known.position.le(&cut.position)).count();
                chain.insert(at, cut);
            }
        }
    }
    if !log_start.le(from) {
        chain.insert(0, Cut { name: "the log's start".to_owned(), position: low.clone(), manifest: None });
    }
    add_random(&mut chain, (&low, head), options);
    Ok(chain)
}

fn add_random(chain: &mut Vec<Cut>, (start, head): (&Position, &Position), options: &VerifyOptions) {
    let mut rng = StdRng::seed_from_u64(options.seed);
    for number in 1..=options.random_cuts {
        // Between two neighbours, so that the chain stays one; never below the log's start, if that is a cut.
        let first = usize::from(chain.first().is_some_and(|cut| cut.position == *start));
        let at = rng.random_range(first..=chain.len());
        let low = if at == 0 { start } else { &chain[at - 1].position };
        let high = chain.get(at).map_or(head, |cut| &cut.position);
        let mut position = Position::new();
        for (source, partition, top) in high.iter() {
            let bottom = low.partition(source, partition).min(top);
            position.set(source, partition, rng.random_range(bottom..=top));
        }
        chain.insert(at, Cut { name: format!("random cut {number}"), position, manifest: None });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_ascend_whatever_the_seed() {
        let head: Position = [("a".to_owned(), vec![100, 7, 0]), ("b".to_owned(), vec![1])].into_iter().collect();
        let middle: Position = [("a".to_owned(), vec![50, 7])].into_iter().collect();
        let start: Position = [("a".to_owned(), vec![10, 1])].into_iter().collect();
        for seed in 0..50 {
            let mut chain = vec![Cut { name: "epoch 1".to_owned(), position: middle.clone(), manifest: None }];
            let options = VerifyOptions { seed, random_cuts: 9, ..VerifyOptions::default() };
            add_random(&mut chain, (&start, &head), &options);
            assert_eq!(chain.len(), 10);
            assert!(chain.windows(2).all(|pair| pair[0].position.le(&pair[1].position)), "seed {seed}: {chain:?}");
            assert!(chain.iter().all(|c| start.le(&c.position) && c.position.le(&head)), "seed {seed}");
            let stretches = stretches(&start, &chain, &head);
            let records: u64 = stretches.iter().map(|(low, high)| Position::records_between(low, high)).sum();
            assert_eq!(records, Position::records_between(&start, &head), "seed {seed}");
        }
    }
}
