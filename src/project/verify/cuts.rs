//! Which cuts are tried.

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
}

/// The newest recorded epochs, the manifest's cut, and pseudo-random positions between them: a chain, ascending
/// from where the log begins.
pub(super) fn chain(
    store: &Store,
    (start, head): (&Position, &Position),
    manifest: Option<&Manifest>,
    options: &VerifyOptions,
) -> Result<Vec<Cut>, Error> {
    let mut chain = Vec::new();
    let numbers = store.epoch_numbers()?;
    for number in numbers[numbers.len().saturating_sub(options.epochs)..].iter().copied() {
        if let Some(epoch) = store.epoch(number)?.filter(|e| start.le(&e.position) && e.position.le(head)) {
            chain.push(Cut { name: format!("epoch {number}"), position: epoch.position });
        }
    }
    if let Some(manifest) = manifest
        && !chain.iter().any(|cut| cut.position == manifest.cut)
    {
        let at = chain.iter().take_while(|cut| cut.position.le(&manifest.cut)).count();
        chain.insert(at, Cut { name: format!("epoch {}", manifest.epoch), position: manifest.cut.clone() });
    }
    if !start.is_zero() {
        chain.insert(0, Cut { name: "the log's start".to_owned(), position: start.clone() });
    }
    add_random(&mut chain, (start, head), options);
    Ok(chain)
}

fn add_random(chain: &mut Vec<Cut>, (start, head): (&Position, &Position), options: &VerifyOptions) {
    let mut rng = StdRng::seed_from_u64(options.seed);
    for number in 1..=options.random_cuts {
        // Between two neighbours, so that the chain stays one.
        let at = rng.random_range(0..=chain.len());
        let low = if at == 0 { start } else { &chain[at - 1].position };
        let high = chain.get(at).map_or(head, |cut| &cut.position);
        let mut position = Position::new();
        for (source, partition, top) in high.iter() {
            let bottom = low.partition(source, partition).min(top);
            position.set(source, partition, rng.random_range(bottom..=top));
        }
        chain.insert(at, Cut { name: format!("random cut {number}"), position });
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
            let mut chain = vec![Cut { name: "epoch 1".to_owned(), position: middle.clone() }];
            let options = VerifyOptions { seed, random_cuts: 9, ..VerifyOptions::default() };
            add_random(&mut chain, (&start, &head), &options);
            assert_eq!(chain.len(), 10);
            assert!(chain.windows(2).all(|pair| pair[0].position.le(&pair[1].position)), "seed {seed}: {chain:?}");
            assert!(chain.iter().all(|c| start.le(&c.position) && c.position.le(&head)), "seed {seed}");
        }
    }
}
