//! Functions of the user's own.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::types::{DataType, Value};

/// Body of a user's scalar function: a pure function of its arguments. An `Err` rejects the record.
pub type ScalarBody = Arc<dyn Fn(&[Value]) -> Result<Value, String> + Send + Sync>;

/// A user's scalar function.
#[derive(Clone)]
pub struct ScalarFunction {
    /// Name in SQL (lower case).
    pub name: String,
    /// Raise it when the meaning changes: views that call it are then built anew.
    pub version: u32,
    /// Argument types.
    pub arguments: Vec<DataType>,
    /// Result type.
    pub returns: DataType,
    /// The function. It is called for every row, NULL arguments included.
    pub body: ScalarBody,
}

impl fmt::Debug for ScalarFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

/// The functions that definitions may call besides the built-in ones.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    functions: BTreeMap<String, Arc<ScalarFunction>>,
}

impl Registry {
    /// No functions but the built-in ones.
    pub fn new() -> Registry {
        Registry::default()
    }

    /// Adds a scalar function; one of the same name is replaced.
    pub fn scalar(
        mut self,
        name: &str,
        version: u32,
        arguments: &[DataType],
        returns: DataType,
        body: impl Fn(&[Value]) -> Result<Value, String> + Send + Sync + 'static,
    ) -> Registry {
        let function = ScalarFunction {
            name: name.to_lowercase(),
            version,
            arguments: arguments.to_vec(),
            returns,
            body: Arc::new(body),
        };
        self.functions.insert(function.name.clone(), Arc::new(function));
        self
    }

    /// The function `name`.
    pub fn get(&self, name: &str) -> Option<&Arc<ScalarFunction>> {
        self.functions.get(&name.to_lowercase())
    }

    /// The names of all functions, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.functions.keys().map(String::as_str)
    }
}
