//! However the records are cut into runs, the answer is that of one run over everything.

use proptest::prelude::*;

use super::*;

fn event() -> impl Strategy<Value = Event> {
    let n = prop_oneof![4 => 1u8..4, 1 => Just(0u8), 1 => Just(9u8)];
    (0u8..7, 0u16..(3 * 1440), -500i16..3000, n)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn incremental_runs_give_what_one_run_gives(
        steps in prop::collection::vec((prop::collection::vec(event(), 0..60), any::<bool>(), any::<bool>()), 1..6),
    ) {
        let project = Project::new();
        for (events, tiny, archive) in &steps {
            project.append(events);
            project.epoch().unwrap();
            let memory_bytes_max = if *tiny { 0 } else { 1 << 30 };
            let threads = Some(if *archive { 2 } else { 1 });
            project.run_with(&BatchOptions { memory_bytes_max, archive: *archive, threads, ..project.options() }).unwrap();
        }
        let answer = project.answer();
        prop_assert_eq!(&answer, &project.at_once());
        // And a full run agrees.
        let report = project.run_with(&BatchOptions { full: true, ..project.options() }).unwrap();
        prop_assert!(report.repaired.is_empty());
        prop_assert_eq!(&answer, &project.answer());
    }
}

#[test]
fn runs_in_the_scratch_directory_change_nothing() {
    let (spilling, roomy) = (Project::new(), Project::new());
    // More than one item for each partition, so that builders are flushed in between.
    let events = events(120_000, 1);
    for project in [&spilling, &roomy] {
        project.append(&events);
        project.epoch().unwrap();
    }
    let report = spilling.run_with(&BatchOptions { memory_bytes_max: 0, ..spilling.options() }).unwrap();
    assert!(report.spilled_runs > 20, "{}", report.spilled_runs);
    assert_eq!(roomy.run().unwrap().spilled_runs, 0);
    assert_eq!(spilling.answer(), roomy.answer());
    assert_eq!(std::fs::read_dir(spilling.scratch.path()).unwrap().count(), 0, "the scratch directory is empty again");
}

#[test]
fn reading_by_key_gives_what_reading_all_and_selecting_gives() {
    use watershed_pipelines::{key::KeyBound, types::Value};
    let project = Project::new();
    project.append(&events(3000, 2));
    project.run().unwrap();
    let reader = ViewReader::pin(&project.store).unwrap().expect("a manifest");
    let day = |day: i64| Value::Timestamp((1_772_323_200 + day * 86_400) * 1_000_000);
    let card = KeyBound::In(vec![Value::Text("card-3".to_owned())]);
    let from = KeyBound::Range { lower: Some((day(1), true)), upper: Some((day(2), false)) };
    for (view, columns) in [
        ("card_half_hour", vec![card.clone()]),
        ("card_half_hour", vec![card, from.clone()]),
        ("hopping", vec![from]),
        ("by_n", vec![KeyBound::In(vec![Value::Int(2)])]),
        ("kept", vec![KeyBound::In(vec![Value::Int(1)])]),
    ] {
        let (kernel, filter) = (project.kernel(view), KeyFilter { columns });
        let all = reader.read(view, &project.fingerprint(view), &kernel, &KeyFilter::all()).unwrap();
        let some = reader.read(view, &project.fingerprint(view), &kernel, &filter).unwrap();
        assert!(some.len() < all.len() && !some.is_empty(), "{view}: {} of {}", some.len(), all.len());
        let (all, some) = (kernel.finish_within(&all, &filter).unwrap(), kernel.finish_within(&some, &filter).unwrap());
        assert!(all.equals_missing(&some), "{view}");
        assert!(all.height() > 0, "{view}");
    }
}
