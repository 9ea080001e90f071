//! `definitions/*.sql`.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use watershed_pipelines::{
    catalog::Catalog,
    registry::Registry,
    sql::{SqlFile, TEXT_BYTES_MAX},
};

use super::inside;
use crate::error::{Error, Mistakes};

/// The folder of a project's definitions.
const DEFINITIONS: &str = "definitions";
/// Files and their bytes, at most.
const FILES_MAX: usize = 4096;
const BYTES_MAX: usize = 16 << 20;

/// Reads and plans all definitions, in the order of their names.
pub(super) fn load(project: &Path, registry: &Registry) -> Result<(Vec<SqlFile>, Catalog), Error> {
    let folder = project.join(DEFINITIONS);
    let mut files = Vec::new();
    let mut bytes = 0;
    for name in names(&folder)? {
        let text = read(project, &folder.join(&name))?;
        bytes += text.len();
        if bytes > BYTES_MAX {
            return Err(Error::usage(format!("the files in {} have more than {BYTES_MAX} bytes", folder.display())));
        }
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

fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read the folder", folder))? {
        let entry = entry.map_err(Error::io("read the folder", folder))?;
        let name = entry.file_name();
        if !name.as_encoded_bytes().ends_with(b".sql") || name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let name = name.into_string().map_err(|name| {
            Error::usage(format!("{} has a file whose name is not UTF-8: {}", folder.display(), name.to_string_lossy()))
        })?;
        names.push(name);
        if names.len() > FILES_MAX {
            return Err(Error::usage(format!("{} has more than {FILES_MAX} files", folder.display())));
        }
    }
    names.sort();
    Ok(names)
}

/// A file's text. A link that leads out of the project is not followed: a mistake in what it leads to would be shown, and somebody
/// else than the project's owner may have put it there.
fn read(project: &Path, path: &Path) -> Result<String, Error> {
    let target: PathBuf = inside(project, path)?;
    // A pipe would be waited for, a device read for ever.
    if !fs::metadata(&target).map_err(Error::io("read", path))?.is_file() {
        return Err(Error::usage(format!("{} is not a file", path.display())));
    }
    let file = fs::File::open(&target).map_err(Error::io("read", path))?;
    let mut bytes = Vec::new();
    file.take(TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(Error::usage(format!(
            "{} has more than {TEXT_BYTES_MAX} bytes; split it: a project has any number of {DEFINITIONS}/*.sql",
            path.display()
        )));
    }
    String::from_utf8(bytes).map_err(|_| Error::usage(format!("{} is not UTF-8", path.display())))
}
