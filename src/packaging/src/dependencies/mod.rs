//! What ukivm is made of: each package with a reason, under a licence that allows
//! it, and once.

mod list;
mod sbom;
mod tree;

use spdx::{Expression, ParseMode};

pub use list::{List, Why};
pub use sbom::sbom;
pub use tree::{Package, Tree, TreeError};

/// Licences that allow a program to be given on under the Apache License 2.0 or the
/// MIT licence, and ask for no more than to be named.
const LICENCES: [&str; 10] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
];

/// All that is wrong with `tree` by `list`, a line each; nothing if all is well.
#[must_use]
pub fn problems(tree: &Tree, list: &List) -> Vec<String> {
    let mut problems: Vec<_> =
        tree.packages.iter().filter_map(|package| problem(tree, list, package)).collect();
    let unknown = |name: &&String| !tree.packages.iter().any(|package| package.name == **name);
    for name in list.names().filter(unknown) {
        problems.push(format!("{name} is on the list, but nothing needs it any more"));
    }
    problems.extend(twice(tree, list));
    problems
}

fn problem(tree: &Tree, list: &List, package: &Package) -> Option<String> {
    let name = &package.name;
    if !is_allowed(&package.licence) {
        return Some(format!("{name} is under {:?}, which is not allowed here", package.licence));
    }
    let parents = tree.parents(name);
    match list.why(name) {
        None if package.is_ours => None,
        None => Some(format!(
            "{name} is new, by {}: say why in src/packaging/dependencies.txt, or do without",
            parents.join(" and ")
        )),
        Some(Why::By(parent)) if !parents.contains(&parent.as_str()) => {
            Some(format!("{name} is not needed by {parent} but by {}", parents.join(", ")))
        }
        Some(Why::By(_)) if parents.iter().any(|parent| tree.is_ours(parent)) => {
            Some(format!("{name} is asked for by us, and so needs a reason of its own"))
        }
        Some(_) => None,
    }
}

/// Packages that are there in several versions without a reason, and reasons
/// without such packages.
fn twice(tree: &Tree, list: &List) -> Vec<String> {
    let mut problems = Vec::new();
    let several = tree.several();
    for name in &several {
        if !list.twice.contains_key(*name) {
            problems.push(format!("{name} is there in several versions; say why, behind `twice`"));
        }
    }
    for name in list.twice.keys().filter(|name| !several.contains(&name.as_str())) {
        problems.push(format!("{name} is there once; its line with `twice` can go"));
    }
    problems
}

fn is_allowed(licence: &str) -> bool {
    Expression::parse_mode(licence, ParseMode::LAX).is_ok_and(|expression| {
        expression
            .evaluate(|wanted| wanted.license.id().is_some_and(|id| LICENCES.contains(&id.name)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "\
0|ukivm v0.1.0 (/somewhere)|Apache-2.0 OR MIT
1|firmware-less v0.1.0 (/somewhere/firmware-less)|Apache-2.0 OR MIT
2|ring v0.17.14|Apache-2.0 AND ISC
3|untrusted v0.9.0|ISC
1|libc v0.2.1|MIT OR Apache-2.0
1|ring v0.17.14|Apache-2.0 AND ISC (*)
";
    const LIST: &str = "ring  signatures\nuntrusted  < ring\nlibc  what the host calls things\n";

    fn found(tree: &str, list: &str) -> Vec<String> {
        problems(&Tree::parse(tree).expect("a tree"), &List::parse(list).expect("a list"))
    }

    #[test]
    fn a_tree_that_is_as_listed_has_no_problem() {
        assert_eq!(found(TREE, LIST), [""; 0]);
    }

    #[test]
    fn a_package_that_is_new_or_gone_is_named() {
        let new = format!("{TREE}1|left-pad v1.0.0|MIT\n");
        assert_eq!(
            found(&new, LIST),
            ["left-pad is new, by ukivm: say why in src/packaging/dependencies.txt, or do without"]
        );
        let gone = format!("{LIST}left-pad  pads\n");
        assert_eq!(found(TREE, &gone), ["left-pad is on the list, but nothing needs it any more"]);
    }

    #[test]
    fn a_licence_has_to_allow_it_in_all_its_parts() {
        for (licence, allowed) in [
            ("MIT", true),
            ("MIT/GPL-3.0", true),
            ("MIT AND GPL-3.0-only", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("LGPL-2.1-or-later", false),
            ("", false),
        ] {
            assert_eq!(is_allowed(licence), allowed, "{licence}");
        }
    }

    #[test]
    fn what_others_need_is_needed_by_them() {
        let list = LIST.replace("< ring", "< libc");
        assert_eq!(found(TREE, &list), ["untrusted is not needed by libc but by ring"]);
        let list = LIST.replace("signatures", "< firmware-less");
        assert_eq!(
            found(TREE, &list),
            ["ring is asked for by us, and so needs a reason of its own"]
        );
    }

    #[test]
    fn a_package_in_several_versions_needs_a_reason_too() {
        let two = format!("{TREE}1|untrusted v0.7.0|ISC\n");
        let list = LIST.replace("< ring", "input");
        assert_eq!(
            found(&two, &list),
            ["untrusted is there in several versions; say why, behind `twice`"]
        );
        let list = format!("{list}twice untrusted  an old one\n");
        assert_eq!(found(&two, &list), [""; 0]);
        assert_eq!(found(TREE, &list), ["untrusted is there once; its line with `twice` can go"]);
    }
}
