//! Python packages that tests compare with and serve from, installed once from the package registry.

use std::{
    env,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

const REQUIREMENTS: &str = include_str!("requirements.txt");

/// The folder `tests/support`.
pub fn support() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support")
}

/// The installed Python packages.
#[derive(Debug)]
pub struct Tools {
    packages: PathBuf,
}

impl Tools {
    /// The installed packages, installing them first if need be. `None`: `test` must be left out, which has been said.
    ///
    /// # Panics
    /// If they cannot be had although `WATERSHED_REQUIRE_SERVICES` is set.
    pub fn for_test(test: &str) -> Option<&'static Tools> {
        static TOOLS: OnceLock<Result<Tools, String>> = OnceLock::new();
        match TOOLS.get_or_init(install) {
            Ok(tools) => Some(tools),
            Err(why) => {
                leave_out(test, why);
                None
            }
        }
    }

    /// `python3` with the packages.
    pub fn python(&self) -> Command {
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", &self.packages).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// A program that came with the packages.
    pub fn program(&self, name: &str) -> PathBuf {
        self.packages.join("bin").join(name)
    }
}

/// Says that `test` is left out, where a test run shows it, or fails if services are required.
///
/// # Panics
/// If `WATERSHED_REQUIRE_SERVICES` is set.
pub fn leave_out(test: &str, why: &str) {
    let required = env::var("WATERSHED_REQUIRE_SERVICES").is_ok_and(|value| !value.is_empty() && value != "0");
    assert!(!required, "{test} needs a service, and WATERSHED_REQUIRE_SERVICES is set: {why}");
    // Not `eprintln!`: the test harness would keep it to itself.
    let _ = writeln!(std::io::stderr(), "LEFT OUT: {test}: {why}");
}

/// Where the packages are kept between runs: `WATERSHED_TEST_TOOLS`, else `.cache/test-tools` in the repository.
fn cache() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/test-tools");
    env::var_os("WATERSHED_TEST_TOOLS").map_or_else(default, PathBuf::from)
}

fn install() -> Result<Tools, String> {
    let cache = cache();
    let failed = |what: &str, error: std::io::Error| format!("{what}: {error}");
    fs::create_dir_all(&cache).map_err(|e| failed("cannot make the folder for test tools", e))?;
    // Test processes may run side by side: one installs, the others wait.
    let lock = File::create(cache.join("lock")).map_err(|e| failed("cannot make the lock file", e))?;
    lock.lock().map_err(|e| failed("cannot lock", e))?;

    // A folder for each list, so that one checkout does not take away what the tests of another are using.
    let list: u64 = REQUIREMENTS.bytes().fold(5381, |hash: u64, byte| hash.wrapping_mul(33) ^ u64::from(byte));
    let packages = cache.join(format!("packages-{list:016x}"));
    let installed = packages.join("installed.txt");
    if installed.exists() {
        return Ok(Tools { packages });
    }
    if packages.exists() {
        fs::remove_dir_all(&packages).map_err(|e| failed("cannot remove what was half installed", e))?;
    }
    let output = Command::new("python3")
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--root-user-action=ignore",
            "--target",
        ])
        .arg(&packages)
        .arg("--requirement")
        .arg(support().join("requirements.txt"))
        .stdin(Stdio::null())
        .output()
        .map_err(|e| failed("cannot run python3", e))?;
    if !output.status.success() {
        return Err(format!("pip could not install them: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    fs::write(&installed, REQUIREMENTS).map_err(|e| failed("cannot write the list of what is installed", e))?;
    Ok(Tools { packages })
}
