//! `definitions/*.sql`.

use std::{fs, path::Path};

use watershed_pipelines::{catalog::Catalog, registry::Registry, sql::SqlFile};

use crate::error::{Error, Mistakes};

/// The folder of a project's definitions.
const DEFINITIONS: &str = "definitions";

/// Reads and plans all definitions, in the order of their names.
pub(super) fn load(project: &Path, registry: &Registry) -> Result<(Vec<SqlFile>, Catalog), Error> {
    let folder = project.join(DEFINITIONS);
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(Error::io("read the folder", &folder))? {
        let entry = entry.map_err(Error::io("read the folder", &folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".sql") && !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    let mut files = Vec::with_capacity(names.len());
    for name in names {
        let path = folder.join(&name);
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        files.push(SqlFile::new(format!("{DEFINITIONS}/{name}"), text));
    }
    match Catalog::from_sql(&files, registry) {
        Ok(catalog) => Ok((files, catalog)),
        Err(diagnostics) => {
            let texts = files.into_iter().map(|file| (file.name, file.text)).collect();
            Err(Error::Definitions(Mistakes { texts, diagnostics }))
        }
    }
}
