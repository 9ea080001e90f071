//! The guided tour: New York's flights of 2013 as a log, a nightly batch load, a live day, and the proof.

mod directory;
pub mod flights;
mod progress;
mod screen;
mod tour;

pub use self::{
    screen::{Screen, Style},
    tour::Tour,
};

/// The demo's definitions: (file name, text). They also make an example project.
pub const DEFINITIONS: &[(&str, &str)] = &[
    ("sources.sql", include_str!("definitions/sources.sql")),
    ("departures.sql", include_str!("definitions/departures.sql")),
    ("arrivals.sql", include_str!("definitions/arrivals.sql")),
    ("weather.sql", include_str!("definitions/weather.sql")),
    ("blizzard.sql", include_str!("definitions/blizzard.sql")),
];
