//! [`Tree`]: the packages that the program is made of, as cargo tells.

use std::{collections::BTreeMap, io, path::Path, process::Command};

use thiserror::Error;

/// A package, in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence, as an SPDX expression.
    pub licence: String,
    /// Whether it is of this workspace.
    pub is_ours: bool,
    /// Whether it is in the program, not only needed to build it.
    pub is_linked: bool,
    /// Who needs it, by name.
    pub parents: Vec<String>,
}

/// All packages, each version once, by name and version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// They.
    pub packages: Vec<Package>,
}

/// Why there is no tree.
#[derive(Debug, Error)]
pub enum TreeError {
    /// cargo can't be run.
    #[error("cargo can't be run")]
    Cargo(#[from] io::Error),
    /// cargo says no.
    #[error("cargo tree: {0}")]
    Refused(String),
    /// A line of what it says is not as expected.
    #[error("cargo tree says {0:?}, which is not understood")]
    Line(String),
}

impl Tree {
    /// Asks cargo, for the workspace in `root`. Tests' packages are left out.
    ///
    /// # Errors
    ///
    /// cargo's, or that it says what is not understood.
    pub fn of(root: &Path) -> Result<Self, TreeError> {
        let mut tree = Self::parse(&cargo_tree(root, "normal,build")?)?;
        let linked = Self::parse(&cargo_tree(root, "normal,no-proc-macro")?)?;
        for package in &mut tree.packages {
            package.is_linked = linked
                .packages
                .iter()
                .any(|other| (&other.name, &other.version) == (&package.name, &package.version));
        }
        Ok(tree)
    }

    /// From what `cargo tree --prefix=depth` prints of each package: its name and
    /// version, a bar, its licence.
    pub(super) fn parse(text: &str) -> Result<Self, TreeError> {
        let mut packages: BTreeMap<(String, String), Package> = BTreeMap::new();
        let mut path: Vec<String> = Vec::new();
        for line in text.lines() {
            let wrong = || TreeError::Line(line.to_owned());
            let (depth, rest) = line.split_once('|').ok_or_else(wrong)?;
            let depth: usize = depth.parse().ok().ok_or_else(wrong)?;
            let (package, licence) = rest.split_once('|').ok_or_else(wrong)?;
            let mut words = package.split(' ');
            let name = words.next().ok_or_else(wrong)?.to_owned();
            let version = words.next().and_then(|word| word.strip_prefix('v')).ok_or_else(wrong)?;
            let is_ours = package.contains(" (/");
            path.truncate(depth);
            let parent = path.last().cloned();
            path.push(name.clone());
            let found = packages.entry((name.clone(), version.to_owned()));
            let found = found.or_insert_with(|| Package {
                name,
                version: version.to_owned(),
                licence: licence.trim_end_matches("(*)").trim().to_owned(),
                is_ours,
                is_linked: true,
                parents: Vec::new(),
            });
            found.parents.extend(parent.filter(|parent| !found.parents.contains(parent)));
        }
        Ok(Self { packages: packages.into_values().collect() })
    }

    pub(super) fn is_ours(&self, name: &str) -> bool {
        self.packages.iter().any(|package| package.name == name && package.is_ours)
    }

    /// Who needs any version of that package.
    pub(super) fn parents(&self, name: &str) -> Vec<&str> {
        let versions = self.packages.iter().filter(|package| package.name == name);
        versions.flat_map(|package| &package.parents).map(String::as_str).collect()
    }

    /// The names of those that are there in several versions.
    pub(super) fn several(&self) -> Vec<&str> {
        let names = self.packages.windows(2).filter_map(|pair| match pair {
            [one, other] if one.name == other.name => Some(one.name.as_str()),
            _ => None,
        });
        let mut names: Vec<_> = names.collect();
        names.dedup();
        names
    }
}

fn cargo_tree(root: &Path, edges: &str) -> Result<String, TreeError> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["tree", "--locked", "--package=ukivm", "--target=x86_64-unknown-linux-gnu"])
        .args(["--prefix=depth", "--format=|{p}|{l}", "--edges", edges])
        .current_dir(root)
        .output()?;
    if !output.status.success() {
        return Err(TreeError::Refused(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
