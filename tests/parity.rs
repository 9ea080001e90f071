//! Batch = speed = merged, for random records, splits and cuts, through the public API, with a real log and store.

use proptest::{collection::vec, prelude::*};

use crate::support::{
    records,
    system::{Answers, System},
};

/// What happens to a project.
#[derive(Clone, Debug)]
enum Step {
    /// A producer appends these, one call; time goes on by so many microseconds first.
    Append(Vec<Vec<u8>>, i64),
    /// An epoch is recorded.
    Epoch,
    /// A batch run moves the cut.
    Batch,
    /// The process ends, another begins.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let append = (vec(records::payload(), 1..25), prop_oneof![Just(0), 0..120_000_000_i64, Just(3_600_000_000)])
        .prop_map(|(payloads, micros)| Step::Append(payloads, micros));
    vec(prop_oneof![6 => append, 1 => Just(Step::Epoch), 2 => Just(Step::Batch), 1 => Just(Step::Restart)], 1..14)
}

fn differences(left: &Answers, right: &Answers) -> Option<String> {
    left.iter().find_map(|(view, rows)| {
        let other = right.get(view);
        (other != Some(rows)).then(|| format!("{view}:\n{rows:#?}\n{other:#?}"))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn batch_speed_and_merged_answers_are_the_same(steps in steps(), micro_batch in 4096..40_000_usize) {
        let mut system = System::new(&[("samples.sql", records::DEFINITIONS)], records::BEGIN_MICROS);
        for step in &steps {
            match step {
                Step::Append(payloads, micros) => {
                    system.advance(*micros);
                    system.append("samples", payloads.clone());
                }
                Step::Epoch => drop(system.epoch()),
                Step::Batch => drop(system.batch()),
                Step::Restart => system.restart(),
            }
        }
        let merged = system.answers();
        // The same log and no store: everything is above the cut, and arrives in other micro-batches.
        let speed = system.copy_of_log(micro_batch).answers();
        prop_assert!(differences(&merged, &speed).is_none(), "merged, speed: {}", differences(&merged, &speed).unwrap_or_default());
        // Verification moves the cut by itself, over every view.
        system.verify();
        system.batch();
        let batch = system.answers();
        prop_assert!(differences(&batch, &merged).is_none(), "batch, merged: {}", differences(&batch, &merged).unwrap_or_default());
        system.batch_in_full();
        let full = system.answers();
        prop_assert!(differences(&full, &batch).is_none(), "in full, batch: {}", differences(&full, &batch).unwrap_or_default());
        system.numbers_add_up();
    }
}
