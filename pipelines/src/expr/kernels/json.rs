//! `JSON_VALUE`.

use std::fmt;

use polars::prelude as pl;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::{
    error::PipelineError,
    expr::{
        Evaluated,
        lanes::{Lanes, text_rows},
    },
};

/// The scalar at `path`, as text; of members with one name the last counts.
pub(crate) fn evaluate(path: &[String], argument: &pl::Column, height: usize) -> Result<Evaluated, PipelineError> {
    let texts = Lanes::<str>::new(argument)?;
    Ok(text_rows(height, |i, out| Ok(texts.get(i).is_some_and(|json| json_value(json, path, out)))))
}

/// Appends the scalar at `path` of the text `json`; `false` if there is none, or `json` is not JSON.
pub(crate) fn json_value(json: &str, path: &[String], out: &mut String) -> bool {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let found = Step(path).deserialize(&mut deserializer);
    let Ok(Some(raw)) = found else { return false };
    if deserializer.end().is_err() {
        return false;
    }
    match raw.as_bytes().first() {
        Some(b'"') => match serde_json::from_str::<String>(raw) {
            Ok(text) => out.push_str(&text),
            Err(_) => return false,
        },
        Some(b'{' | b'[' | b'n') | None => return false,
        Some(_) => out.push_str(raw),
    }
    true
}

/// Finds the raw text at a path.
struct Step<'p>(&'p [String]);

impl<'de> DeserializeSeed<'de> for Step<'_> {
    type Value = Option<&'de str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        if self.0.is_empty() {
            let raw: &'de RawValue = serde::Deserialize::deserialize(deserializer)?;
            return Ok(Some(raw.get()));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Step<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(here) = map.next_key_seed(IsName(&self.0[0]))? {
            if here {
                found = map.next_value_seed(Step(&self.0[1..]))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        if let Ok(index) = self.0[0].parse::<usize>() {
            for _ in 0..index {
                if items.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(None);
                }
            }
            found = items.next_element_seed(Step(&self.0[1..]))?.flatten();
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Whether a member has this name.
struct IsName<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for IsName<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsName<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}
