//! A new project that works as it is.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use crate::{config::CONFIG_FILE, error::Error};

const FILES: &[(&str, &str)] = &[
    (CONFIG_FILE, include_str!("../templates/watershed.toml")),
    ("definitions/payments.sql", include_str!("../templates/payments.sql")),
    ("definitions/views.sql", include_str!("../templates/views.sql")),
    ("README.md", include_str!("../templates/README.md")),
    (".gitignore", include_str!("../templates/gitignore")),
];

pub(super) fn init(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    if directory.join(CONFIG_FILE).exists() {
        return Err(Error::usage(format!("{} holds a project already", directory.display())));
    }
    let definitions = directory.join("definitions");
    fs::create_dir_all(&definitions).map_err(Error::io("create", &definitions))?;
    let mut written = Vec::new();
    for (name, text) in FILES {
        let path = directory.join(name);
        match fs::OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                file.write_all(text.as_bytes()).map_err(Error::io("write", &path))?;
                written.push(path);
            }
            // Someone's README.md or .gitignore stays as it is.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && !name.ends_with(".sql") => {}
            Err(error) => return Err(Error::io("create", path)(error)),
        }
    }
    Ok(written)
}
