//! What random definitions have found, each as a small case of its own.

use crate::support::{records::BEGIN_MICROS, system::System};

/// A system with one file of definitions and some records in table `t`.
fn system(definitions: &str, payloads: &[&str]) -> System {
    let system = System::new(&[("all.sql", definitions)], BEGIN_MICROS);
    system.append("t", payloads.iter().map(|payload| payload.as_bytes().to_vec()).collect());
    system
}

fn rejected(system: &System, view: &str) -> usize {
    system.run(system.project().rejected(view, usize::MAX)).len()
}

#[test]
fn records_whose_windows_reach_beyond_the_calendar_are_rejected_hopping_or_not() {
    let definitions = "CREATE TABLE t (at TIMESTAMP NOT NULL) WITH (event_time = 'at', max_ahead = '4000000 days');
        CREATE MATERIALIZED VIEW hops AS SELECT window_start, COUNT(*) AS n FROM HOP(t, at, INTERVAL '1 month', INTERVAL '3 months') GROUP BY window_start;
        CREATE MATERIALIZED VIEW tumbles AS SELECT window_end, COUNT(*) AS n FROM TUMBLE(t, at, INTERVAL '7 days') GROUP BY window_end;
        CREATE MATERIALIZED VIEW rows AS SELECT window_end FROM TUMBLE(t, at, INTERVAL '7 days');";
    let payloads =
        [r#"{"at":"0001-01-02"}"#, r#"{"at":"0001-03-01"}"#, r#"{"at":"2024-01-01"}"#, r#"{"at":"9999-12-31"}"#];
    let system = system(definitions, &payloads);
    // Windows of three months that begin in November and December of the year 0, or end in January and February of the year 10000.
    assert_eq!(rejected(&system, "hops"), 2);
    for row in system.rows("hops").1 {
        let start: i64 = row[0].as_ref().expect("a start").parse().expect("microseconds");
        assert!((super::values::FIRST_MICROS..super::values::LAST_MICROS).contains(&start), "{row:?}");
    }
    // A view of rows and one of groups reject the same record.
    assert_eq!((rejected(&system, "tumbles"), rejected(&system, "rows")), (2, 2));
    system.numbers_add_up();
}

#[test]
fn the_last_day_of_the_calendar_ends_in_a_zone_too() {
    let definitions = "CREATE TABLE t (at TIMESTAMP NOT NULL) WITH (event_time = 'at', max_ahead = '4000000 days');
        CREATE MATERIALIZED VIEW rows AS SELECT window_end FROM TUMBLE(t, at, INTERVAL '1 day', 'Europe/Berlin');
        CREATE MATERIALIZED VIEW groups AS SELECT window_end FROM TUMBLE(t, at, INTERVAL '1 day', 'Europe/Berlin') GROUP BY window_end;";
    let system = system(definitions, &[r#"{"at":"9999-12-31T12:00:00Z"}"#]);
    // Midnight in Berlin.
    let end = vec![vec![Some("253402297200000000".to_owned())]];
    assert_eq!((system.rows("rows").1, system.rows("groups").1), (end.clone(), end));
}
